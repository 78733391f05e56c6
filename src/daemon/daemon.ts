/**
 * The service: watches ports, decides which are touched, and backs up what is plugged in. Everything that it needs
 * comes in with {@link DaemonParts}, so that simulated boards can be plugged in.
 */

import type { Archive } from '../archive/types.ts';
import { type Clock, withTimeout } from '../clock.ts';
import { EspdError, hasCode, toEspdError } from '../errors.ts';
import type { ResetMode } from '../esp/reset.ts';
import type { Logger } from '../log.ts';
import type { Mac } from '../mac.ts';
import type { PortEvent, PortInfo } from '../serial/ports.ts';
import { type ExistingPolicy, type PortRules, decide, touchExisting } from '../serial/rules.ts';
import type { EspdCall } from '../transfer/finish-command.ts';
import { type LineMemories, lineMemories } from '../transfer/line-memory.ts';
import type { LinkOpener, Progress } from '../transfer/session.ts';
import { runBackupJob } from './job.ts';
import { JobQueue } from './queue.ts';
import { Report } from './report.ts';
import { type ResetInto, Slots, isOwnUsb, ownUsbMac } from './slots.ts';

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

/** A port that is to be worked on, and how its board is expected to be found. */
interface PlugIn {
  readonly port: PortInfo;
  readonly inDownloadMode: boolean;
}

/** A job that runs. */
interface RunningJob {
  readonly port: PortInfo;
  readonly abort: AbortController;
  /** Undefined until the board has answered. */
  mac: Mac | undefined;
  /** Whether the lines may be moved at all. */
  resets: boolean;
  /** The board was reset into its app. */
  hasLeft: boolean;
  /** The link is closed: from then on the job is only about the disk. */
  isReleased: boolean;
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
  /** The ports that are there, by address. */
  readonly #attached = new Map<string, PortInfo>();
  readonly #running = new Map<string, RunningJob>();
  /** Plugged in again while the job of the plug-in before was still ending. */
  readonly #replugged = new Map<string, PlugIn>();
  #settings: DaemonSettings;
  #stopping: Promise<void> | undefined;

  constructor(parts: DaemonParts) {
    this.#parts = parts;
    this.#settings = parts.settings;
    this.#report = new Report(parts.log, parts.onStatus);
    this.#queue = new JobQueue(parts.settings.parallel);
    this.#slots = new Slots(parts.settings.cooldownMs);
    this.#lines = lineMemories(parts.archive.cache, parts);
    this.#ports = parts.watch((event) => this.#onPortEvent(event));
  }

  async start(): Promise<void> {
    await this.#ports.start();
    if (this.#stopping !== undefined) return;
    this.#parts.log.info('Watching for boards', { archive: this.#parts.archive.root });
    this.#reportStatus();
  }

  /** Takes new settings over; jobs that run keep theirs. */
  apply(settings: DaemonSettings): void {
    this.#settings = settings;
    this.#slots.cooldownMs = settings.cooldownMs;
    this.#queue.parallel = settings.parallel;
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
    const done = Promise.allSettled([this.#ports.close(), this.#queue.close()]);
    for (const { abort } of this.#running.values()) abort.abort();
    try {
      await withTimeout(clock, STOP_LIMIT_MS, done, () => new Error('too slow'));
    } catch {
      const held = [...this.#running.values()].filter(({ isReleased }) => !isReleased);
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
    this.#queue.cancel(address);
    this.#slots.detached(port, this.#parts.clock.now());
    const job = this.#running.get(address);
    // A board that was released may go: what was read of it is being kept.
    if (job === undefined || job.isReleased) return;
    // A device that is gone does not always fail its reads and writes. But a port of which more is known by now is
    // reported as gone and come, both in one step: then it is still the same.
    queueMicrotask(() => {
      if (this.#attached.get(address)?.key !== key) job.abort.abort(unplugged(address));
    });
  }

  #onAttached(port: PortInfo): void {
    const { clock, log } = this.#parts;
    this.#attached.set(port.address, port);
    const verdict = this.#slots.attached(port, clock.now());
    switch (verdict) {
      case 'real':
      case 'in-download-mode':
        this.#consider({ port, inDownloadMode: verdict === 'in-download-mode' });
        return;
      case 'loop':
        log.warn('Left alone for some minutes: it comes and goes by itself', { port: port.address });
        return;
      case 'own-reset':
        log.debug("Came back after espd's own reset", { port: port.address });
    }
  }

  /** A port that was there before the daemon: touched only as `watch.existing` says. */
  async #onPresent(port: PortInfo): Promise<void> {
    const { log } = this.#parts;
    const { existing, rules } = this.#settings;
    const decision = decide(port, rules);
    this.#attached.set(port.address, port);
    if (!decision.touch || existing === 'none') {
      log.debug('Left alone', { port: port.address, reason: decision.reason, existing });
      return;
    }
    if (!touchExisting(decision, existing) && !(await this.#isArchived(port))) {
      log.info('Left alone: it was there before the start and is not known to be a board', { port: port.address });
      return;
    }
    // It may have gone while the archive was asked.
    if (this.#attached.get(port.address) === port) this.#consider({ port, inDownloadMode: false });
  }

  /** Whether the board says by its USB serial number that the archive knows it. */
  async #isArchived(port: PortInfo): Promise<boolean> {
    const mac = ownUsbMac(port);
    if (mac === undefined) return false;
    try {
      return (await this.#parts.archive.boards()).macs.includes(mac);
    } catch (error) {
      this.#onFailure(port, undefined, toEspdError(error));
      return false;
    }
  }

  #consider(plugIn: PlugIn): void {
    const { port } = plugIn;
    const { address } = port;
    if (this.#stopping !== undefined || !this.#mayTouch(port)) return;
    if (this.#running.get(address)?.port.key === port.key) return;
    if (this.#queue.has(address)) {
      this.#replugged.set(address, plugIn);
      return;
    }
    this.#parts.log.info('Plugged in', { port: address, product: port.usb?.product ?? undefined });
    const abort = new AbortController();
    const job: RunningJob = { port, abort, mac: undefined, resets: true, hasLeft: false, isReleased: false };
    this.#queue.add({
      key: address,
      work: () => this.#backUp(job, plugIn),
      onError: (error) => this.#onJobError(job, error),
      onEnd: () => this.#onJobEnd(address),
    });
  }

  #mayTouch(port: PortInfo): boolean {
    const { touch, reason } = decide(port, this.#settings.rules);
    if (!touch) this.#parts.log.info('Left alone', { port: port.address, reason });
    return touch;
  }

  async #backUp(job: RunningJob, { port, inDownloadMode }: PlugIn): Promise<void> {
    const { archive, call, clock, log, openLink } = this.#parts;
    const { baudRate, connectAttempts, full, reset } = this.#settings;
    // The rules may have changed while it waited.
    if (!this.#mayTouch(port)) return;
    job.resets = reset !== 'none';
    this.#running.set(port.address, job);
    this.#slots.started(port);
    this.#reportStatus();
    let failure: unknown;
    try {
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
        reset,
        signal: job.abort.signal,
        onProgress: (progress) => this.#onProgress(job, progress),
      });
      this.#report.success(port, result);
    } catch (error) {
      failure = error;
      throw error;
    } finally {
      this.#running.delete(port.address);
      if (!job.hasLeft || !job.isReleased) this.#slots.released(port, clock.now(), lastReset(job, failure));
    }
  }

  #onProgress(job: RunningJob, { phase, identity }: Progress): void {
    const { port } = job;
    if (phase === 'connecting') {
      Object.assign(job, { hasLeft: false, isReleased: false });
    } else if (phase === 'leaving') {
      job.hasLeft = true;
      this.#slots.leaving(port);
    } else if (phase === 'released') {
      job.isReleased = true;
      if (job.hasLeft) this.#slots.released(port, this.#parts.clock.now(), lastReset(job, undefined));
    }
    if (phase !== 'identified' || identity === undefined) return;
    job.mac = identity.mac;
    this.#slots.identified(port, identity.mac);
    this.#parts.log.info('Identified', { port: port.address, mac: identity.mac, chip: identity.chipName });
  }

  #onJobError(job: RunningJob, error: EspdError): void {
    const { port, mac } = job;
    if (lastReset(job, error) === 'download-mode' && isOwnUsb(port)) {
      this.#parts.log.info('Went away when it was reset, as boards on their own USB do; waiting for its return', {
        port: port.address,
      });
      return;
    }
    this.#onFailure(port, mac, error);
  }

  #onFailure(port: PortInfo, mac: Mac | undefined, error: EspdError): void {
    this.#report.failure({ port, mac, rules: this.#settings.rules }, error);
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

/**
 * What the last reset in a job that is over leads to.
 * @param job `mac` is undefined when no board had answered; `resets` = the lines may be moved
 */
export function lastReset({ mac, resets }: Pick<RunningJob, 'mac' | 'resets'>, failure: unknown): ResetInto {
  if (!resets) return 'nothing';
  if (hasCode(failure, 'port-vanished')) return mac === undefined ? 'download-mode' : 'nothing';
  const wasOpened = mac !== undefined || !hasCode(failure, 'port-denied', 'port-missing', 'port-busy', 'port-failed');
  return wasOpened ? 'app' : 'nothing';
}

function unplugged(address: string): EspdError {
  return new EspdError('port-vanished', `${address} was unplugged in the middle of a job`, {
    hint: 'Nothing incomplete was kept; plug the board in again',
  });
}
