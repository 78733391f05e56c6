/**
 * How good the line at each USB socket is: a score of the last jobs there, by retries, losses of the port, and its coming
 * and going by itself. A cable has no name of its own, so who is to blame is said by what else is known: other boards at
 * the same socket, the same board at others.
 */

import { type Mac, parseMac } from '../mac.ts';
import type { CacheStore } from './remembered-document.ts';

/** What a job, or a port that came and went by itself, says of the line. */
export interface LineResult {
  /** Null where no board had answered. */
  readonly mac: Mac | null;
  /** Blocks that were asked for again. */
  readonly retries: number;
  /** The port was lost in the middle, or keeps coming and going. */
  readonly isLost: boolean;
}

/** By the place to plug in: `usb 1-1.4:1.0` of plugs/slots.ts. */
export type LineResults = ReadonlyMap<string, readonly LineResult[]>;

export interface LineScore {
  readonly socket: string;
  /** 0 (lost each time) to 100 (never a retry). */
  readonly score: number;
  readonly jobs: number;
  readonly retries: number;
  readonly losses: number;
  readonly isBad: boolean;
  /**
   * `socket`: other boards have trouble here, too, or the same board has none elsewhere; the cable that hangs there is
   * meant as well. `board`: it has trouble at other sockets, too: it, or the cable that it has with it.
   */
  readonly blame: 'socket' | 'board' | 'unknown';
}

/** Of each socket the last so many results count. */
export const MOST_RESULTS = 10;
const MOST_SOCKETS = 256;
/** Fewer say nothing. */
const FEWEST_RESULTS = 3;
const BAD_BELOW = 60;
/** A job with more retries than this was no better than one that failed. */
const MANY_RETRIES = 3;

export function addResult(results: LineResults, socket: string, result: LineResult): LineResults {
  const all = new Map([...results].map(([key, list]) => [key, [...list]]));
  const list = [...(all.get(socket) ?? []), result].slice(-MOST_RESULTS);
  // The sockets that were used last stay.
  all.delete(socket);
  all.set(socket, list);
  return new Map([...all].slice(-MOST_SOCKETS));
}

/** Undefined where nothing is known of the socket. */
export function scoreOf(results: LineResults, socket: string): LineScore | undefined {
  const list = results.get(socket) ?? [];
  if (list.length === 0) return undefined;
  const score = Math.round((100 * list.reduce((sum, result) => sum + goodness(result), 0)) / list.length);
  return {
    ...{ socket, score, jobs: list.length },
    retries: list.reduce((sum, { retries }) => sum + retries, 0),
    losses: list.filter(({ isLost }) => isLost).length,
    isBad: list.length >= FEWEST_RESULTS && score < BAD_BELOW,
    blame: blameOf(results, socket),
  };
}

export function allScores(results: LineResults): LineScore[] {
  return [...results.keys()].flatMap((socket) => scoreOf(results, socket) ?? []);
}

function goodness({ isLost, retries }: LineResult): number {
  if (isLost || retries > MANY_RETRIES) return 0;
  return retries === 0 ? 1 : 0.5;
}

function blameOf(results: LineResults, socket: string): LineScore['blame'] {
  const here = results.get(socket) ?? [];
  const troubled = new Set(here.flatMap((result) => (result.mac !== null && goodness(result) < 1 ? [result.mac] : [])));
  const elsewhere = [...results].filter(([other]) => other !== socket).flatMap(([, list]) => list);
  const ofThem = elsewhere.filter(({ mac }) => mac !== null && troubled.has(mac));
  if (ofThem.some((result) => goodness(result) < 1)) return 'board';
  return troubled.size > 1 || ofThem.length > 0 ? 'socket' : 'unknown';
}

/** `usb 1-1.4:1.0` as people find it: `USB 1-1.4`. */
export function socketText(socket: string): string {
  return socket.replace(/^usb /, 'USB ').replace(/:\d+\.\d+$/, '');
}

/** What is wrong, in one sentence. */
export function scoreText({ jobs, losses, retries, score, socket }: LineScore): string {
  const what = [
    losses === 0 ? '' : `was lost ${losses} ${losses === 1 ? 'time' : 'times'}`,
    retries === 0 ? '' : `needed ${retries} ${retries === 1 ? 'retry' : 'retries'}`,
  ];
  return `The line at ${socketText(socket)} ${what.filter(Boolean).join(' and ')} in its last ${jobs} jobs: score ${score} of 100`;
}

export function adviceFor({ blame }: LineScore): string {
  switch (blame) {
    case 'socket':
      return 'The board is not the cause: try another cable, then another socket, without a hub between';
    case 'board':
      return 'The board has trouble at other sockets, too: give it another cable, and look at its plug';
    case 'unknown':
      return 'Try another cable first, then another socket; where the trouble goes along tells which it is';
  }
}

const DOCUMENT = 'line-scores.json';
const VERSION = 1;
const MAX_BYTES = 1024 * 1024;

/** Never rejects: a cache may be lost, broken or hostile. */
export async function readLineResults(store: Pick<CacheStore, 'read'>): Promise<LineResults> {
  try {
    return parse(await store.read(DOCUMENT));
  } catch {
    return new Map();
  }
}

export function writeLineResults(store: Pick<CacheStore, 'write'>, results: LineResults): Promise<void> {
  const document = { version: VERSION, sockets: Object.fromEntries(results) };
  return store.write(DOCUMENT, Buffer.from(`${JSON.stringify(document)}\n`));
}

function parse(bytes: Buffer | undefined): LineResults {
  if (bytes === undefined || bytes.length > MAX_BYTES) return new Map();
  const document: unknown = JSON.parse(bytes.toString('utf8'));
  const { version, sockets } = (document ?? {}) as { readonly version?: unknown; readonly sockets?: unknown };
  if (version !== VERSION || typeof sockets !== 'object' || sockets === null) return new Map();
  const entries = Object.entries(sockets).flatMap(([socket, list]): [string, LineResult[]][] => {
    if (!/^usb [\w.:-]{1,64}$/.test(socket) || !Array.isArray(list)) return [];
    return [[socket, (list as unknown[]).flatMap(soundResult).slice(-MOST_RESULTS)]];
  });
  return new Map(entries.slice(-MOST_SOCKETS));
}

function soundResult(value: unknown): LineResult[] {
  if (typeof value !== 'object' || value === null) return [];
  const { isLost, mac, retries } = value as Readonly<Record<string, unknown>>;
  const board = typeof mac === 'string' ? parseMac(mac) : null;
  if (typeof isLost !== 'boolean' || board === undefined) return [];
  if (typeof retries !== 'number' || !Number.isSafeInteger(retries) || retries < 0 || retries > 1e6) return [];
  return [{ mac: board, retries, isLost }];
}
