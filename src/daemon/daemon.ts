/**
 * The service: watches ports, decides which are touched, and backs up what is plugged in. Everything that it needs
 * comes in with {@link DaemonParts}, so that simulated boards can be plugged in. What happens is told as events.
 */

import type { Archive } from '../archive/types.ts';
import { type Clock, withTimeout } from '../clock.ts';
import { EspdError } from '../errors.ts';
import type { Logger } from '../log.ts';
import type { Mac } from '../mac.ts';
import { type PlugIn, lastReset } from '../plugs/job.ts';
import type { Retry } from '../plugs/retry.ts';
import { Slots, isOwnUsb } from '../plugs/slots.ts';
import type { PortEvent, PortInfo } from '../serial/ports.ts';
import type { ExistingPolicy, PortRules } from '../serial/rules.ts';
import type { EspdCall } from '../transfer/finish-command.ts';
import { type LineMemories, lineMemories } from '../transfer/line-memory.ts';
import { readerMemories } from '../transfer/reader-memory.ts';
import type { LinkOpener, Progress } from '../transfer/session.ts';
import { VERSION } from '../version.ts';
import { Admission } from './admission.ts';
import { AttachedPorts } from './attached.ts';
import { type BackupRequest, type BoardJob, BoardJobs, type JobSettings, type Visit } from './board-jobs.ts';
import { Custody } from './custody.ts';
import type { EventBody } from './event-types.ts';
import type { EventBus } from './events.ts';
import type { Hold, HoldRequest, TakeRequest, TakenPort } from './holds.ts';
import { JobNumbers } from './job-numbers.ts';
import { heldBy, stopping, unplugged } from './port-errors.ts';
import { PortFailures } from './port-failures.ts';
import { Rests } from './rests.ts';
import { Returns } from './returns.ts';

/** What of the config the daemon acts by; may change while it runs. */
export interface DaemonSettings extends JobSettings {
  readonly rules: PortRules;
  readonly existing: ExistingPolicy;
  readonly cooldownMs: number;
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
  readonly events: EventBus;
  readonly settings: DaemonSettings;
  /** Default: the real ports and network links. */
  readonly openLink?: LinkOpener;
  /** How espd was called, for commands that messages print. */
  readonly call?: EspdCall;
  /** Default: its own. */
  readonly numbers?: JobNumbers;
}

/** A stop waits so long, first for boards to be released, then for disks; the contract is 5 s in all. */
const STOP_LIMIT_MS = 4500;

export class Daemon {
  readonly #parts: DaemonParts;
  readonly #slots: Slots;
  readonly #ports: PortSource;
  readonly #jobs: BoardJobs;
  readonly #custody: Custody;
  readonly #lines: LineMemories;
  readonly #attached = new AttachedPorts();
  /** Plugged in again while the job of the plug-in before was still ending. */
  readonly #replugged = new Map<string, Visit>();
  readonly #admission: Admission;
  /** Ports, by key, whose link ended when their board was let go, and whose going the listing has not shown yet. */
  readonly #wentAway = new Set<string>();
  readonly #failures: PortFailures;
  readonly #returns: Returns;
  readonly #rests: Rests;
  #settings: DaemonSettings;
  #stopping: Promise<void> | undefined;

  constructor(parts: DaemonParts) {
    const { archive, call, clock, events, log, numbers = new JobNumbers(), openLink } = parts;
    const emit = (event: EventBody) => events.emit(event);
    this.#parts = parts;
    this.#settings = parts.settings;
    this.#slots = new Slots(parts.settings.cooldownMs);
    this.#lines = lineMemories(archive.cache, parts);
    this.#jobs = new BoardJobs({
      ...{ archive, call, clock, emit, log, numbers, openLink },
      lines: this.#lines,
      readers: readerMemories(archive.cache, parts),
      slots: this.#slots,
      settings: () => this.#settings,
      mayStart: (visit) => this.#mayStart(visit),
      onError: (job, error) => this.#onJobError(job, error),
      onProgress: (job, progress) => this.#onProgress(job, progress),
      onDone: ({ port }) => this.#failures.forget(port.address),
      onEnd: ({ port }) => this.#onJobEnd(port.address),
    });
    this.#custody = new Custody({
      ...{ attached: this.#attached, clock, emit, jobs: this.#jobs, slots: this.#slots },
      forgetFailure: (address) => this.#failures.forget(address),
      consider: (plugIn) => this.#consider(plugIn),
    });
    this.#admission = new Admission({
      archive,
      settings: () => this.#settings,
      onFailure: (port, error) => this.#failures.tell(port, null, undefined, error),
      onLeftAlone: ({ port: { address: port }, isExisting: existing, reason, by }) =>
        emit({ type: 'port-left-alone', port, reason, by, existing }),
    });
    this.#failures = new PortFailures({
      ...{ clock, events, log },
      rules: () => this.#settings.rules,
      isThere: (port) => this.#attached.has(port),
      again: (port, retry) => this.#retry(port, retry),
    });
    this.#rests = new Rests(clock, (key) => this.#onRested(key));
    this.#returns = new Returns(clock, (port, into) =>
      this.#failures.missing(port, this.#slots.macAt(port), into, this.#settings.cooldownMs),
    );
    this.#ports = parts.watch((event) => this.#onPortEvent(event));
  }

  async start(): Promise<void> {
    await this.#ports.start();
    if (this.#stopping !== undefined) return;
    this.#parts.events.emit({ type: 'service-started', version: VERSION, archive: this.#parts.archive.root });
  }

  /** A board is being worked on. */
  get isBusy(): boolean {
    return this.#jobs.running.length > 0;
  }

  get jobs(): readonly BoardJob[] {
    return this.#jobs.all;
  }

  get holds(): readonly Hold[] {
    return this.#custody.all;
  }

  /** Takes new settings over; jobs that run keep theirs. Ports that are there are judged anew. */
  apply(settings: DaemonSettings): void {
    this.#settings = settings;
    this.#slots.cooldownMs = settings.cooldownMs;
    this.#jobs.parallel = settings.parallel;
    if (this.#stopping !== undefined) return;
    for (const { port, isExisting } of this.#admission.leftAlone) {
      if (isExisting) void this.#onPresent(port);
      else this.#consider({ port, inDownloadMode: false });
    }
  }

  /**
   * A backup now. Where a job waits or runs at the port already, it is that one.
   * @throws EspdError `port-missing`, `board-not-found` where no attached port is known to have this board, `port-busy`
   *   where somebody holds the port, `interrupted` while the service stops
   */
  requestBackup(target: { readonly port: string } | { readonly mac: Mac }, request: BackupRequest): BoardJob {
    const port =
      'port' in target ? this.#attached.named(target.port) : this.#attached.withBoard(target.mac, this.#slots);
    const hold = this.#custody.at(port);
    if (hold !== undefined) throw heldBy(hold);
    const job = this.#jobs.at(port.address) ?? this.#jobs.add({ port, inDownloadMode: false, request });
    if (job === undefined || this.#stopping !== undefined) throw stopping();
    return job;
  }

  /** See {@link Custody.hold}. */
  hold(name: string, request: HoldRequest): Hold {
    return this.#custody.hold(name, request);
  }

  /** See {@link Custody.release}. */
  release(name: string): boolean {
    return this.#custody.release(name);
  }

  /** See {@link Custody.take}. */
  take(name: string, request: TakeRequest): Promise<TakenPort> {
    return this.#custody.take(name, request);
  }

  /** Ends a job, whether it runs or waits. @returns false where there is no such job */
  cancel(id: number): boolean {
    const job = this.#jobs.all.find((each) => each.id === id);
    if (job !== undefined) this.#jobs.cancel(job, new EspdError('interrupted', 'The job was cancelled'));
    return job !== undefined;
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
    this.#failures.close();
    this.#returns.close();
    this.#rests.close();
    const done = Promise.allSettled([this.#ports.close(), this.#jobs.close()]);
    this.#custody.close();
    try {
      await withTimeout(clock, STOP_LIMIT_MS, done, () => new Error('too slow'));
    } catch {
      const held = this.#jobs.running.filter(({ trace }) => !trace.isReleased);
      if (held.length > 0) log.warn('Some jobs did not stop in time', { ports: held.map(({ port }) => port.address) });
      else log.warn('Not waiting for the disk of the archive any longer: the next backup goes on from what is there');
    }
  }

  #onPortEvent({ kind, port, existing }: PortEvent): void {
    if (this.#stopping !== undefined) return;
    const { address, usb } = port;
    const { events } = this.#parts;
    if (kind === 'detached') {
      events.emit({ type: 'port-detached', port: address });
      this.#onDetached(port);
      return;
    }
    events.emit({ type: 'port-attached', port: address, usb, existing: existing === true });
    if (existing === true) void this.#onPresent(port);
    else this.#onAttached(port);
  }

  #onDetached(port: PortInfo): void {
    const { address, key } = port;
    this.#attached.went(address);
    this.#replugged.delete(address);
    this.#custody.forget(address);
    this.#admission.forget(address);
    this.#failures.forget(address);
    this.#jobs.drop(address);
    // Whoever holds it resets its board as they like.
    if (this.#custody.at(port) !== undefined && !this.#jobs.at(address)?.isRunning) return;
    const into = this.#slots.detached(port, this.#parts.clock.now());
    const job = this.#jobs.at(address);
    // After its job it may be in a person's hand as well, unless its link has told.
    const isHeld = job !== undefined && !job.trace.isReleased;
    const isSure = isHeld || into === 'download-mode' || this.#wentAway.delete(key);
    if (into !== 'nothing' && isSure) this.#returns.expect(port, into, this.#settings.cooldownMs);
    // A board that was released may go: what was read of it is being kept.
    if (!isHeld) return;
    // A device that is gone does not always fail its reads and writes. But a port of which more is known by now is
    // reported as gone and come, both in one step: then it is still the same.
    queueMicrotask(() => {
      if (!this.#attached.has(port)) job.abort.abort(unplugged(address));
    });
  }

  #onAttached(port: PortInfo): void {
    const { clock, events, log } = this.#parts;
    this.#attached.came(port);
    this.#returns.came(port);
    if (this.#custody.at(port) !== undefined) {
      // A chip's own USB comes back after each reset; behind a bridge it was a person.
      if (!isOwnUsb(port)) this.#custody.owe({ port, inDownloadMode: false });
      return;
    }
    const verdict = this.#slots.attached(port, clock.now());
    switch (verdict) {
      case 'real':
      case 'in-download-mode':
        this.#consider({ port, inDownloadMode: verdict === 'in-download-mode' });
        return;
      case 'loop':
        events.emit({ type: 'port-flapping', port: port.address, restMs: this.#rests.begin(port) });
        return;
      case 'resting':
        log.debug('Left alone: its rest is not over', { port: port.address });
        return;
      case 'own-reset':
        log.debug("Came back after espd's own reset", { port: port.address });
    }
  }

  /** The rest of a slot is over: a port that is there gets one try. */
  #onRested(key: string): void {
    const port = this.#attached.inSlot(key);
    if (port === undefined) return;
    this.#slots.rested(port);
    this.#consider({ port, inDownloadMode: false });
  }

  async #onPresent(port: PortInfo): Promise<void> {
    this.#attached.came(port);
    const isAdmitted = await this.#admission.mayTouchExisting(port);
    // It may have gone while the archive was asked.
    if (isAdmitted && this.#attached.get(port.address) === port) this.#consider({ port, inDownloadMode: false });
  }

  #consider(plugIn: PlugIn): void {
    const { port } = plugIn;
    const { address } = port;
    if (this.#stopping !== undefined || !this.#admission.mayTouch(port)) return;
    if (this.#custody.at(port) !== undefined) {
      this.#custody.owe(plugIn);
      return;
    }
    const job = this.#jobs.at(address);
    if (job === undefined) this.#jobs.add(plugIn);
    else if (!job.isRunning || job.port.key !== port.key) this.#replugged.set(address, plugIn);
  }

  /** A port whose failure may have passed. */
  #retry(port: PortInfo, retry: Retry): void {
    if (this.#stopping !== undefined || !this.#attached.has(port)) return;
    this.#jobs.add({ port, inDownloadMode: false, retry });
  }

  #mayStart({ port, request }: Visit): boolean {
    if (!this.#attached.has(port)) return false;
    if (request !== undefined || this.#admission.mayTouch(port)) return true;
    this.#failures.forget(port.address);
    return false;
  }

  #onProgress({ port }: BoardJob, { phase, wentAway }: Progress): void {
    if (phase === 'released' && wentAway === true && this.#attached.has(port)) this.#wentAway.add(port.key);
  }

  #onJobError(job: BoardJob, error: EspdError): void {
    const { id, port, trace, resets, visit } = job;
    const { events } = this.#parts;
    const isThere = this.#attached.has(port);
    if (lastReset(trace, resets, error) === 'download-mode' && isOwnUsb(port)) {
      events.emit({ type: 'board-away', port: port.address });
      // The listing may be late.
      if (isThere) this.#returns.expect(port, 'download-mode', this.#settings.cooldownMs);
      return;
    }
    const isFinal = this.#stopping !== undefined || !isThere || visit.request !== undefined || job.abort.signal.aborted;
    if (isFinal) this.#failures.tell(port, id, trace.mac, error);
    else this.#failures.mayPass(port, id, trace, error);
  }

  #onJobEnd(address: string): void {
    const again = this.#replugged.get(address);
    this.#replugged.delete(address);
    if (again !== undefined) this.#consider(again);
  }
}
