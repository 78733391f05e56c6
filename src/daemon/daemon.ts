/**
 * The service: watches ports, decides which are touched, and backs up what is plugged in. Everything that it needs
 * comes in with {@link DaemonParts}, so that simulated boards can be plugged in.
 */

import type { Archive } from '../archive/types.ts';
import { type Clock, unlessAborted, withTimeout } from '../clock.ts';
import { EspdError } from '../errors.ts';
import type { ReaderMode } from '../esp/reader/trust.ts';
import type { ResetMode } from '../esp/reset.ts';
import type { Logger } from '../log.ts';
import type { Mac } from '../mac.ts';
import { type JobTrace, type PlugIn, lastReset, newTrace } from '../plugs/job.ts';
import { type Retry, approachOf } from '../plugs/retry.ts';
import { LOOP_REST_MS, type ResetInto, Slots, isOwnUsb, slotKey } from '../plugs/slots.ts';
import type { PortEvent, PortInfo } from '../serial/ports.ts';
import type { ExistingPolicy, PortRules } from '../serial/rules.ts';
import type { EspdCall } from '../transfer/finish-command.ts';
import { type LineMemories, lineMemories } from '../transfer/line-memory.ts';
import { type ReaderMemories, readerMemories } from '../transfer/reader-memory.ts';
import type { LinkOpener, Progress } from '../transfer/session.ts';
import { Admission } from './admission.ts';
import { runBackupJob } from './job.ts';
import { JobQueue } from './queue.ts';
import { Report } from './report.ts';
import { Retries } from './retries.ts';
import { Returns } from './returns.ts';

/** What of the config the daemon acts by; may change while it runs. */
export interface DaemonSettings {
  readonly rules: PortRules;
  readonly existing: ExistingPolicy;
  readonly parallel: number;
  readonly connectAttempts: number;
  readonly cooldownMs: number;
  readonly baudRate: number;
  readonly reset: ResetMode;
  readonly full: boolean;
  /** Whether a reader of our own may be put on the chip; never where it is left out. */
  readonly reader?: ReaderMode;
}

/** The watcher as the daemon uses it. */
export interface PortSource {
  /** When it resolves, the ports that are there already have been reported, marked `existing`. */
  start(): Promise<void>;
  close(): Promise<void>;
}

export interface DaemonParts {
  readonly archive: Archive;
  readonly watch: (onEvent: (event: PortEvent) => void) => PortSource;
  readonly clock: Clock;
  readonly log: Logger;
  readonly settings: DaemonSettings;
  /** One line for people, whenever it changes: systemd's status text. */
  readonly onStatus?: (status: string) => void;
  /** Default: the real ports and network links. */
  readonly openLink?: LinkOpener;
  /** How espd was called, for commands that messages print. */
  readonly call?: EspdCall;
}

/** A port that is to be worked on: because it was plugged in, or once more. */
interface Visit extends PlugIn {
  readonly retry?: Retry;
}

/** A job that runs. */
interface RunningJob {
  readonly port: PortInfo;
  readonly abort: AbortController;
  readonly trace: JobTrace;
  /** Whether the lines may be moved at all. */
  resets: boolean;
}

/** A stop waits so long, first for boards to be released, then for disks; the contract is 5 s in all. */
const STOP_LIMIT_MS = 4500;

export class Daemon {
  readonly #parts: DaemonParts;
  readonly #report: Report;
  readonly #queue: JobQueue;
  readonly #slots: Slots;
  readonly #busyMacs = new Set<Mac>();
  readonly #ports: PortSource;
  readonly #lines: LineMemories;
  readonly #readers: ReaderMemories;
  /** The ports that are there, by address. */
  readonly #attached = new Map<string, PortInfo>();
  readonly #running = new Map<string, RunningJob>();
  /** Plugged in again while the job of the plug-in before was still ending. */
  readonly #replugged = new Map<string, Visit>();
  readonly #admission: Admission;
  /** Ports, by key, whose link ended when their board was let go, and whose going the listing has not shown yet. */
  readonly #wentAway = new Set<string>();
  readonly #retries: Retries;
  readonly #returns: Returns;
  /** Ends of the rests of ports that come and go by themselves, by slot. */
  readonly #rests = new Map<string, () => void>();
  #settings: DaemonSettings;
  #stopping: Promise<void> | undefined;

  constructor(parts: DaemonParts) {
    this.#parts = parts;
    this.#settings = parts.settings;
    this.#report = new Report(parts.log, parts.onStatus);
    this.#queue = new JobQueue(parts.settings.parallel);
    this.#slots = new Slots(parts.settings.cooldownMs);
    this.#lines = lineMemories(parts.archive.cache, parts);
    this.#readers = readerMemories(parts.archive.cache, parts);
    this.#admission = new Admission({
      archive: parts.archive,
      log: parts.log,
      settings: () => this.#settings,
      onFailure: (port, error) => this.#onFailure(port, undefined, error),
    });
    this.#retries = new Retries(parts.clock, (port, retry) => this.#retry(port, retry));
    this.#returns = new Returns(parts.clock, (port, into) => this.#onMissing(port, into));
    this.#ports = parts.watch((event) => this.#onPortEvent(event));
  }

  async start(): Promise<void> {
    await this.#ports.start();
    if (this.#stopping !== undefined) return;
    this.#parts.log.info('Watching for boards', { archive: this.#parts.archive.root });
    this.#reportStatus();
  }

  /** A board is being worked on. */
  get isBusy(): boolean {
    return this.#running.size > 0;
  }

  /** Takes new settings over; jobs that run keep theirs. Ports that are there are judged anew. */
  apply(settings: DaemonSettings): void {
    this.#settings = settings;
    this.#slots.cooldownMs = settings.cooldownMs;
    this.#queue.parallel = settings.parallel;
    if (this.#stopping !== undefined) return;
    for (const { port, isExisting } of this.#admission.leftAlone) {
      if (isExisting) void this.#onPresent(port);
      else this.#consider({ port, inDownloadMode: false });
    }
  }

  /**
   * Ends all jobs: their boards are reset, whatever the disk does, and what was read is kept where the disk is fast
   * enough. At most {@link STOP_LIMIT_MS} long. Never rejects.
   */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    const { clock, log } = this.#parts;
    this.#retries.close();
    this.#returns.close();
    for (const cancel of this.#rests.values()) cancel();
    const done = Promise.allSettled([this.#ports.close(), this.#queue.close()]);
    for (const { abort } of this.#running.values()) abort.abort();
    try {
      await withTimeout(clock, STOP_LIMIT_MS, done, () => new Error('too slow'));
    } catch {
      const held = [...this.#running.values()].filter(({ trace }) => !trace.isReleased);
      if (held.length > 0) log.warn('Some jobs did not stop in time', { ports: held.map(({ port }) => port.address) });
      else log.warn('Not waiting for the disk of the archive any longer: the next backup goes on from what is there');
    }
  }

  #onPortEvent({ kind, port, existing }: PortEvent): void {
    if (this.#stopping !== undefined) return;
    if (kind === 'detached') this.#onDetached(port);
    else if (existing === true) void this.#onPresent(port);
    else this.#onAttached(port);
    this.#reportStatus();
  }

  #onDetached(port: PortInfo): void {
    const { address, key } = port;
    this.#attached.delete(address);
    this.#replugged.delete(address);
    this.#admission.forget(address);
    this.#retries.forget(address);
    this.#queue.cancel(address);
    const into = this.#slots.detached(port, this.#parts.clock.now());
    const job = this.#running.get(address);
    // After its job it may be in a person's hand as well, unless its link has told.
    const isHeld = job !== undefined && !job.trace.isReleased;
    const isSure = isHeld || into === 'download-mode' || this.#wentAway.delete(key);
    if (into !== 'nothing' && isSure) this.#returns.expect(port, into, this.#settings.cooldownMs);
    // A board that was released may go: what was read of it is being kept.
    if (!isHeld) return;
    // A device that is gone does not always fail its reads and writes. But a port of which more is known by now is
    // reported as gone and come, both in one step: then it is still the same.
    queueMicrotask(() => {
      if (!this.#isThere(port)) job.abort.abort(unplugged(address));
    });
  }

  #onAttached(port: PortInfo): void {
    const { clock, log } = this.#parts;
    this.#attached.set(port.address, port);
    this.#returns.came(port);
    const verdict = this.#slots.attached(port, clock.now());
    switch (verdict) {
      case 'real':
      case 'in-download-mode':
        this.#consider({ port, inDownloadMode: verdict === 'in-download-mode' });
        return;
      case 'loop':
        log.warn('Left alone for some minutes: it comes and goes by itself', { port: port.address });
        this.#rest(port);
        return;
      case 'resting':
        log.debug('Left alone: its rest is not over', { port: port.address });
        return;
      case 'own-reset':
        log.debug("Came back after espd's own reset", { port: port.address });
    }
  }

  /** After its rest a port that is there gets one try. */
  #rest(port: PortInfo): void {
    const { clock } = this.#parts;
    const key = slotKey(port);
    this.#rests.get(key)?.();
    const cancel = clock.schedule(LOOP_REST_MS, () => {
      this.#rests.delete(key);
      const present = [...this.#attached.values()].find((each) => slotKey(each) === key);
      if (present === undefined) return;
      this.#slots.rested(present);
      this.#consider({ port: present, inDownloadMode: false });
    });
    this.#rests.set(key, cancel);
  }

  async #onPresent(port: PortInfo): Promise<void> {
    this.#attached.set(port.address, port);
    const isAdmitted = await this.#admission.mayTouchExisting(port);
    // It may have gone while the archive was asked.
    if (isAdmitted && this.#attached.get(port.address) === port) this.#consider({ port, inDownloadMode: false });
  }

  #consider(plugIn: PlugIn): void {
    const { port } = plugIn;
    const { address } = port;
    if (this.#stopping !== undefined || !this.#admission.mayTouch(port)) return;
    if (this.#running.get(address)?.port.key === port.key) return;
    if (this.#queue.has(address)) {
      this.#replugged.set(address, plugIn);
      return;
    }
    this.#parts.log.info('Plugged in', { port: address, product: port.usb?.product ?? undefined });
    this.#visit(plugIn);
  }

  /** A port whose failure may have passed. */
  #retry(port: PortInfo, retry: Retry): void {
    const { address } = port;
    if (this.#stopping !== undefined || !this.#isThere(port) || this.#queue.has(address)) return;
    this.#parts.log.debug('Trying again', { port: address, way: retry.way });
    this.#visit({ port, inDownloadMode: false, retry });
  }

  #visit(visit: Visit): void {
    const { port } = visit;
    const { address } = port;
    const job: RunningJob = { port, abort: new AbortController(), trace: newTrace(), resets: true };
    this.#queue.add({
      key: address,
      work: () => this.#backUp(job, visit),
      onError: (error) => this.#onJobError(job, error),
      onEnd: () => this.#onJobEnd(address),
    });
  }

  async #backUp(job: RunningJob, { port, inDownloadMode, retry }: Visit): Promise<void> {
    const { archive, call, clock, log, openLink } = this.#parts;
    const { baudRate, connectAttempts, full, reader, reset } = this.#settings;
    // It may have gone while it waited, and the rules may have changed.
    if (!this.#isThere(port)) return;
    if (!this.#admission.mayTouch(port)) {
      this.#retries.forget(port.address);
      return;
    }
    job.resets = reset !== 'none';
    this.#running.set(port.address, job);
    this.#reportStatus();
    try {
      // A board is not reset for a backup that could not be kept. A disk that hangs must not keep a job from its end.
      await unlessAborted(archive.checkWritable(), job.abort.signal);
      const result = await runBackupJob(port, {
        archive,
        baudRate,
        busyMacs: this.#busyMacs,
        ...(call && { call }),
        clock,
        connectAttempts,
        full,
        inDownloadMode,
        lines: this.#lines,
        log: log.child({ port: port.address }),
        openLink,
        ...(reader && { reader }),
        readers: this.#readers,
        reset,
        signal: job.abort.signal,
        slots: this.#slots,
        trace: job.trace,
        ...(retry === undefined ? {} : approachOf(retry.way)),
        onProgress: (progress) => this.#onProgress(job, progress),
      });
      this.#retries.forget(port.address);
      this.#report.success(port, result);
    } finally {
      this.#running.delete(port.address);
    }
  }

  #onProgress({ port }: RunningJob, { phase, identity, wentAway }: Progress): void {
    if (phase === 'released' && wentAway === true && this.#isThere(port)) this.#wentAway.add(port.key);
    if (phase !== 'identified' || identity === undefined) return;
    this.#parts.log.info('Identified', { port: port.address, mac: identity.mac, chip: identity.chipName });
  }

  #onJobError(job: RunningJob, error: EspdError): void {
    const { port, trace, resets } = job;
    const { log } = this.#parts;
    const isThere = this.#isThere(port);
    if (lastReset(trace, resets, error) === 'download-mode' && isOwnUsb(port)) {
      log.info('Went away when it was reset, as boards on their own USB do; waiting for its return', {
        port: port.address,
      });
      // The listing may be late.
      if (isThere) this.#returns.expect(port, 'download-mode', this.#settings.cooldownMs);
      return;
    }
    if (this.#stopping !== undefined || !isThere) this.#onFailure(port, trace.mac, error);
    else this.#onPassing(job, error);
  }

  /** A failure at a port that is still there: it may pass, and is told when it is news. */
  #onPassing({ port, trace }: Pick<RunningJob, 'port' | 'trace'>, error: EspdError): void {
    const { isNews, retry } = this.#retries.failed(port, trace, error);
    const { address } = port;
    const fields = { port: address, code: error.code };
    // Where a USB port vanished, the listing will most likely say so, too.
    const isLikely = error.code !== 'port-vanished' || port.usb === null;
    if (isNews) this.#onFailure(port, trace.mac, error, isLikely ? retry : undefined);
    else if (retry === undefined) this.#parts.log.info('Left alone until it is plugged in again', fields);
    else this.#parts.log.debug('Still the same', { ...fields, reason: error.message });
  }

  /** A board that went away when it was reset, and has not come back. */
  #onMissing(port: PortInfo, into: ResetInto): void {
    if (this.#isThere(port)) this.#onPassing({ port, trace: { ...newTrace(), wasOpened: true } }, linkBroke(port));
    else this.#report.missing(port, this.#slots.macAt(port), into, this.#settings.cooldownMs);
    this.#reportStatus();
  }

  #onFailure(port: PortInfo, mac: Mac | undefined, error: EspdError, retry?: Retry): void {
    this.#report.failure({ port, mac, rules: this.#settings.rules, retry }, error);
  }

  /** The same plug-in, as far as the listing knows. */
  #isThere({ address, key }: PortInfo): boolean {
    return this.#attached.get(address)?.key === key;
  }

  #onJobEnd(address: string): void {
    const again = this.#replugged.get(address);
    this.#replugged.delete(address);
    if (again !== undefined) this.#consider(again);
    this.#reportStatus();
  }

  #reportStatus(): void {
    this.#report.status(this.#queue.activeCount, this.#queue.waitingCount);
  }
}

function unplugged(address: string): EspdError {
  return new EspdError('port-vanished', `${address} was unplugged in the middle of a job`, {
    hint: 'Nothing incomplete was kept; plug the board in again',
  });
}

function linkBroke({ address }: PortInfo): EspdError {
  return new EspdError(
    'port-vanished',
    `The link to ${address} broke when its board was reset; the port is still there`,
    {
      hint: 'Unplug the board and plug it in again',
    },
  );
}
