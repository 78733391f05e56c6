/**
 * The state as a daemon tells it, read with care: it may be of another version than this espd. What it tells beyond is
 * left as it is; what it does not tell is null; what is no state at all is none.
 */

import type { JobView, PortView, StationView } from '../daemon/station.ts';

/** Other stations of the object store, as of the last look at what they said. */
export interface FleetView {
  /** ISO 8601 UTC; null = never. */
  readonly lookedAt: string | null;
  readonly stations: readonly {
    readonly name: string;
    readonly heardAt: string | null;
    /** Set where it is overdue. */
    readonly silentDays: number | null;
  }[];
  readonly troubles: readonly { readonly message: string }[];
}

/** The document of `/v1/status`. */
export interface StatusDocument extends StationView {
  readonly version: string;
  readonly instance: string;
  readonly lastSeq: number;
  /** The daemon's time. ISO 8601 UTC. */
  readonly now: string;
  readonly archive: string;
  /** Null where there is no store. */
  readonly fleet: FleetView | null;
}

type Fields = Readonly<Record<string, unknown>>;

const PORT: Omit<PortView, 'port' | 'state' | 'since'> = {
  ...{ name: null, usb: null, mac: null, chip: null, job: null, phase: null, doneBytes: null, totalBytes: null },
  ...{ heldBy: null, heldUntil: null, reason: null, error: null, retryAt: null, result: null },
};
const JOB: Omit<JobView, 'job' | 'kind' | 'state' | 'queuedAt'> = {
  ...{ cause: 'request', port: null, mac: null, phase: null, doneBytes: null, totalBytes: null },
  ...{ startedAt: null, endedAt: null, result: null, error: null, failure: null },
};
const COUNTERS = { backups: 0, unchanged: 0, failures: 0 };

/** @returns undefined where it is not the document of `/v1/status` */
export function readStatus(document: unknown): StatusDocument | undefined {
  if (!isFields(document)) return undefined;
  const { ports, jobs, attention, counters } = document;
  if (!hasTexts(document, 'version', 'instance', 'now', 'archive')) return undefined;
  if (!Number.isSafeInteger(document['lastSeq'])) return undefined;
  if (!isListOf(ports, isPort) || !isListOf(jobs, isJob) || !isListOf(attention, isAttention)) return undefined;
  return {
    startedAt: null,
    isStopping: false,
    ...document,
    ports: ports.map((port) => ({ ...PORT, ...port })),
    jobs: jobs.map((job) => ({ ...JOB, ...job })),
    attention,
    counters: { ...COUNTERS, ...(isFields(counters) ? counters : {}) },
    fleet: isFleet(document['fleet']) ? document['fleet'] : null,
  } as unknown as StatusDocument;
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function hasTexts(fields: Fields, ...names: readonly string[]): boolean {
  return names.every((name) => typeof fields[name] === 'string');
}

function isListOf(value: unknown, isOne: (fields: Fields) => boolean): value is readonly Fields[] {
  return Array.isArray(value) && value.every((one) => isFields(one) && isOne(one));
}

function isFleet(fleet: unknown): boolean {
  if (!isFields(fleet) || !areTextsOrNone(fleet, ['lookedAt'])) return false;
  const isStation = (one: Fields) => hasTexts(one, 'name') && areTextsOrNone(one, ['heardAt']);
  return isListOf(fleet['stations'], isStation) && isListOf(fleet['troubles'], (one) => hasTexts(one, 'message'));
}

function isPort(port: Fields): boolean {
  return hasTexts(port, 'port', 'state', 'since') && areTextsOrNone(port, PORT_TEXTS) && areParts(port);
}

function isJob(job: Fields): boolean {
  const isWhole = hasTexts(job, 'kind', 'state', 'queuedAt') && Number.isSafeInteger(job['job']);
  return isWhole && areTextsOrNone(job, JOB_TEXTS) && areParts(job);
}

function isAttention(one: Fields): boolean {
  return hasTexts(one, 'at', 'about') && areTextsOrNone(one, ['port', 'mac']) && isError(one['error']);
}

const PORT_TEXTS = ['name', 'mac', 'chip', 'phase', 'heldBy', 'heldUntil', 'reason', 'retryAt'];
const JOB_TEXTS = ['cause', 'port', 'mac', 'phase', 'startedAt', 'endedAt', 'failure'];

const isNone = (value: unknown) => value === undefined || value === null;

function areTextsOrNone(fields: Fields, names: readonly string[]): boolean {
  return names.every((name) => isNone(fields[name]) || typeof fields[name] === 'string');
}

/** Numbers, results and errors that ports and jobs have alike. */
function areParts({ doneBytes, totalBytes, error, result }: Fields): boolean {
  const areNumbers = [doneBytes, totalBytes].every((value) => isNone(value) || typeof value === 'number');
  return areNumbers && (isNone(error) || isError(error)) && (isNone(result) || isResult(result));
}

function isError(error: unknown): boolean {
  return isFields(error) && hasTexts(error, 'code', 'message', 'hint');
}

function isResult(result: unknown): boolean {
  return isFields(result) && hasTexts(result, 'id') && typeof result['seconds'] === 'number';
}
