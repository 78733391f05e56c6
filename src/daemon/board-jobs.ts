/** The jobs at ports: they wait, run, are cancelled, and everything that becomes of them is told as an event. */

import type { Archive } from '../archive/types.ts';
import { type Clock, unlessAborted } from '../clock.ts';
import type { EspdError } from '../errors.ts';
import type { ReaderMode } from '../esp/reader/trust.ts';
import type { ResetMode } from '../esp/reset.ts';
import type { Logger } from '../log.ts';
import type { Mac } from '../mac.ts';
import { type JobTrace, type PlugIn, newTrace } from '../plugs/job.ts';
import { type Retry, approachOf } from '../plugs/retry.ts';
import type { Slots } from '../plugs/slots.ts';
import { looksLikeNetworkAddress } from '../serial/address.ts';
import type { PortInfo } from '../serial/ports.ts';
import type { BackupOutcome } from '../transfer/backup.ts';
import type { OtherStations } from '../transfer/elsewhere.ts';
import type { EspdCall } from '../transfer/finish-command.ts';
import type { LineMemories } from '../transfer/line-memory.ts';
import type { ReaderMemories } from '../transfer/reader-memory.ts';
import { type LinkOpener, type Progress, type SessionResult, stuckError } from '../transfer/session.ts';
import type { JobNumbers } from './job-numbers.ts';
import { backupEvents } from './backup-events.ts';
import type { EventBody, JobCause } from './event-types.ts';
import { runBackupJob } from './job.ts';
import { stopping } from './port-errors.ts';
import { JobQueue } from './queue.ts';

/** How jobs speak to boards; may change while some run, which keep theirs. */
export interface JobSettings {
  readonly parallel: number;
  readonly connectAttempts: number;
  readonly baudRate: number;
  readonly reset: ResetMode;
  readonly full: boolean;
  /** Whether a reader of our own may be put on the chip; never where it is left out. */
  readonly reader?: ReaderMode;
}

/** A backup that somebody asked for. */
export interface BackupRequest {
  /** Every byte crosses the wire. */
  readonly full: boolean;
  /** Back up a half restored board as it is. */
  readonly allowHalfRestored: boolean;
}

/** A port that is to be worked on: because it was plugged in, once more, or because somebody asked. */
export interface Visit extends PlugIn {
  readonly retry?: Retry;
  readonly request?: BackupRequest;
  /** Another program has had the port, and has closed it. */
  readonly isAfterRelease?: boolean;
  /** A remote is looked at again by the clock. */
  readonly isRound?: boolean;
}

/** What came of a job; undefined where it was dropped before it began. */
export type JobResult =
  | { readonly outcome: SessionResult<BackupOutcome>; readonly error?: undefined }
  | { readonly error: EspdError; readonly outcome?: undefined }
  | undefined;

/** A job that waits or runs. */
export interface BoardJob {
  readonly id: number;
  readonly visit: Visit;
  readonly port: PortInfo;
  readonly abort: AbortController;
  readonly trace: JobTrace;
  /** Whether the lines may be moved at all. */
  readonly resets: boolean;
  readonly isRunning: boolean;
  /** Resolves when it has ended and its port is free. */
  readonly ended: Promise<JobResult>;
}

interface OwnJob extends BoardJob {
  resets: boolean;
  isRunning: boolean;
  result: JobResult;
  readonly end: (result: JobResult) => void;
}

export interface BoardJobsParts {
  readonly archive: Archive;
  /** Backups of other stations. */
  readonly stations?: OtherStations | undefined;
  readonly call?: EspdCall | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  readonly openLink?: LinkOpener | undefined;
  readonly lines: LineMemories;
  readonly readers: ReaderMemories;
  readonly slots: Slots;
  readonly numbers: JobNumbers;
  readonly settings: () => JobSettings;
  readonly emit: (event: EventBody) => void;
  /** Asked when a job's turn comes: the port may have gone, and the rules may have changed. */
  readonly mayStart: (visit: Visit) => boolean;
  /** Asked when a board has said who it is: null = it is due, else why it is left alone. */
  readonly whyNotDue: (visit: Visit, mac: Mac) => Promise<string | null>;
  /** A job has failed; its port is not free yet. Whoever gets this tells of it. */
  readonly onError: (job: BoardJob, error: EspdError) => void;
  readonly onProgress: (job: BoardJob, progress: Progress) => void;
  /** A job has done what it was for. */
  readonly onDone: (job: BoardJob) => void;
  /** A job has ended, and its port is free. */
  readonly onEnd: (job: BoardJob) => void;
}

/** Between two events of progress in the same phase. */
const PROGRESS_MS = 500;

export class BoardJobs {
  readonly #parts: BoardJobsParts;
  readonly #queue: JobQueue;
  readonly #busyMacs = new Set<Mac>();
  /** By the address of their port. */
  readonly #jobs = new Map<string, OwnJob>();

  constructor(parts: BoardJobsParts) {
    this.#parts = parts;
    this.#queue = new JobQueue(parts.settings().parallel);
  }

  set parallel(value: number) {
    this.#queue.parallel = value;
  }

  /** The job that waits or runs at this port. */
  at(address: string): BoardJob | undefined {
    return this.#jobs.get(address);
  }

  /** All that wait or run. */
  get all(): readonly BoardJob[] {
    return [...this.#jobs.values()];
  }

  get running(): readonly BoardJob[] {
    return this.all.filter(({ isRunning }) => isRunning);
  }

  /** Undefined where the port has a job, or nothing begins any more. */
  add(visit: Visit): BoardJob | undefined {
    const { port } = visit;
    const { address } = port;
    const { emit, numbers, settings } = this.#parts;
    if (this.#jobs.has(address)) return undefined;
    const { promise: ended, resolve: end } = promiseWithResolver<JobResult>();
    const job: OwnJob = {
      ...{ id: numbers.next(), visit, port, abort: new AbortController(), trace: newTrace(), ended, end },
      resets: settings().reset !== 'none',
      isRunning: false,
      result: undefined,
    };
    this.#jobs.set(address, job);
    emit({
      ...{ type: 'job-queued', job: job.id, kind: 'backup', cause: causeOf(visit), port: address, mac: null },
      product: port.usb?.product ?? null,
      ...(port.name !== undefined && { name: port.name }),
    });
    const isTaken = this.#queue.add({
      key: address,
      // A server that is away takes seconds to show it, and there may be many: a board in somebody's hand comes first.
      yields: looksLikeNetworkAddress(address) && visit.request === undefined,
      onBegin: () => emit({ type: 'job-started', job: job.id, kind: 'backup', port: address }),
      work: () => this.#work(job),
      onError: (error) => {
        job.result = { error };
        this.#parts.onError(job, error);
      },
      onEnd: () => this.#end(job),
    });
    if (!isTaken) this.#end(job);
    return isTaken ? job : undefined;
  }

  /** Forgets a job that has not begun. */
  drop(address: string): void {
    const job = this.#jobs.get(address);
    if (job === undefined || job.isRunning || !this.#queue.cancel(address)) return;
    this.#end(job);
  }

  /** Ends a job, whether it runs or waits; a board that is held is released in order. */
  cancel(job: BoardJob, reason: EspdError): void {
    job.abort.abort(reason);
    this.drop(job.port.address);
  }

  /** Ends all jobs; resolves when they have ended. */
  async close(): Promise<void> {
    const closed = this.#queue.close();
    for (const job of this.#jobs.values()) job.abort.abort(stopping());
    await closed;
    for (const job of [...this.#jobs.values()]) this.#end(job);
  }

  async #work(job: OwnJob): Promise<void> {
    const { archive, clock, log, mayStart, slots, stations, lines, readers, call, openLink } = this.#parts;
    const { port, visit, abort } = job;
    const { request } = visit;
    if (abort.signal.aborted || !mayStart(visit)) return;
    const { baudRate, connectAttempts, full, reader, reset } = this.#parts.settings();
    job.resets = reset !== 'none';
    job.isRunning = true;
    // A board is not reset for a backup that could not be kept. A disk that hangs must not keep a job from its end.
    await unlessAborted(archive.checkWritable(), abort.signal);
    const tell = this.#progressTeller(job);
    const outcome = await runBackupJob(port, {
      archive,
      baudRate,
      busyMacs: this.#busyMacs,
      ...(call && { call }),
      clock,
      connectAttempts,
      full: full || request?.full === true,
      ...(reader && { reader }),
      allowHalfRestored: request?.allowHalfRestored === true,
      reason: request === undefined ? 'plug-in' : 'by-hand',
      inDownloadMode: visit.inDownloadMode,
      whyNotDue: (mac) => this.#parts.whyNotDue(visit, mac),
      lines,
      readers,
      log: log.child({ port: port.address }),
      openLink,
      stations,
      reset,
      signal: abort.signal,
      slots,
      trace: job.trace,
      ...(visit.retry === undefined ? {} : approachOf(visit.retry.way)),
      onProgress: (progress) => {
        tell(progress);
        this.#parts.onProgress(job, progress);
      },
    });
    const { value } = outcome;
    this.#parts.onDone(job);
    if ('notDue' in value) this.#tellNotDue(job, outcome, value.notDue);
    else {
      job.result = { outcome: { ...outcome, value } };
      this.#tellSuccess(job, { ...outcome, value });
    }
  }

  #progressTeller({ id, port }: OwnJob): (progress: Progress) => void {
    const { clock, emit } = this.#parts;
    let lastPhase = '';
    let lastMs = -Infinity;
    return ({ phase, identity, doneBytes, totalBytes }) => {
      if (phase === 'identified') {
        if (identity !== undefined) {
          const { mac, chipName } = identity;
          emit({ type: 'identified', job: id, port: port.address, mac, chip: chipName });
        }
        return;
      }
      const nowMs = clock.now();
      if (phase === lastPhase && nowMs - lastMs < PROGRESS_MS) return;
      [lastPhase, lastMs] = [phase, nowMs];
      emit({
        ...{ type: 'job-progress', job: id, port: port.address, phase },
        doneBytes: doneBytes ?? null,
        totalBytes: totalBytes ?? null,
      });
    };
  }

  #tellNotDue({ port, trace }: OwnJob, { left }: SessionResult<unknown>, reason: string): void {
    const { emit } = this.#parts;
    const { address } = port;
    emit({ type: 'port-left-alone', port: address, reason, by: 'due', existing: false });
    if (left === 'stuck' && trace.mac !== undefined) {
      emit({ type: 'board-stuck', port: address, mac: trace.mac, error: stuckError(port).toJSON() });
    }
  }

  #tellSuccess({ id: job, port }: OwnJob, result: SessionResult<BackupOutcome>): void {
    const { emit } = this.#parts;
    for (const event of backupEvents(port, job, result)) emit(event);
    emit({ type: 'job-done', job, kind: 'backup', port: port.address, mac: result.value.backup.mac });
  }

  #end(job: OwnJob): void {
    const { address } = job.port;
    if (this.#jobs.get(address) !== job) return;
    this.#jobs.delete(address);
    job.isRunning = false;
    const { result } = job;
    this.#parts.emit({
      ...{ type: 'job-ended', job: job.id, kind: 'backup', port: address },
      result: result === undefined ? 'dropped' : result.error === undefined ? 'done' : 'failed',
    });
    job.end(result);
    this.#parts.onEnd(job);
  }
}

function causeOf({ isAfterRelease, isRound, request, retry }: Visit): JobCause {
  if (request !== undefined) return 'request';
  if (isAfterRelease === true) return 'after-release';
  if (isRound === true) return 'round';
  return retry === undefined ? 'plug-in' : 'retry';
}

function promiseWithResolver<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((done) => (resolve = done));
  return { promise, resolve };
}
