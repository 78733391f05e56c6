/**
 * The service: watches ports, decides which are touched, and backs up what is plugged in. Everything that it needs
 * comes in with {@link DaemonParts}, so that simulated boards can be plugged in. What happens is told as events.
 */

import type { Archive } from '../archive/types.ts';
import { type Clock, withTimeout } from '../clock.ts';
import { EspdError } from '../errors.ts';
import type { Logger } from '../log.ts';
import type { Mac } from '../mac.ts';
import { lastReset } from '../plugs/job.ts';
import type { Retry } from '../plugs/retry.ts';
import { Slots, isOwnUsb, ownUsbMac } from '../plugs/slots.ts';
import { type UseLook, createUseLook } from '../serial/port-use.ts';
import type { PortEvent, PortInfo } from '../serial/ports.ts';
import type { ExistingPolicy, PortRules } from '../serial/rules.ts';
import type { OtherStations } from '../transfer/elsewhere.ts';
import type { EspdCall } from '../transfer/finish-command.ts';
import { type LineMemories, lineMemories } from '../transfer/line-memory.ts';
import { readerMemories } from '../transfer/reader-memory.ts';
import type { LinkOpener, Progress } from '../transfer/session.ts';
import { VERSION } from '../version.ts';
import { Admission } from './admission.ts';
import { AfterRelease } from './after-release.ts';
import { Arrivals } from './arrivals.ts';
import { AttachedPorts } from './attached.ts';
import { type BackupRequest, type BoardJob, BoardJobs, type JobSettings, type Visit } from './board-jobs.ts';
import { Custody } from './custody.ts';
import type { EventBody } from './event-types.ts';
import type { EventBus } from './events.ts';
import type { Hold, HoldRequest, TakeRequest, TakenPort } from './holds.ts';
import { JobNumbers } from './job-numbers.ts';
import { heldBy, stopping } from './port-errors.ts';
import { PortFailures } from './port-failures.ts';
import { AT_ONCE, Timing, type TimingSettings } from './timing.ts';
import { Rounds } from './rounds.ts';
import { Unfinished } from './unfinished.ts';

/** What of the config the daemon acts by; may change while it runs. */
export interface DaemonSettings extends JobSettings {
  readonly rules: PortRules;
  readonly existing: ExistingPolicy;
  readonly cooldownMs: number;
  /** Default: at once. */
  readonly timing?: TimingSettings;
  /** Look at a board again when another program has closed its port. Default: no. */
  readonly afterRelease?: boolean;
  /** After which time a remote is looked at again, in milliseconds, by its address. Default: never by the clock. */
  readonly rounds?: ReadonlyMap<string, number>;
}

/** The watcher as the daemon uses it. */
export interface PortSource {
  /** When it resolves, the ports that are there already have been reported, marked `existing`. */
  start(): Promise<void>;
  /** Lists now: the config may name other ports. Never rejects. */
  rescan?(reason: string): Promise<void>;
  close(): Promise<void>;
}

export interface DaemonParts {
  readonly archive: Archive;
  readonly watch: (onEvent: (event: PortEvent) => void) => PortSource;
  readonly clock: Clock;
  readonly log: Logger;
  readonly events: EventBus;
  readonly settings: DaemonSettings;
  /** Backups of other stations; absent = there are none. */
  readonly stations?: OtherStations | undefined;
  /** Default: the real ports and network links. */
  readonly openLink?: LinkOpener;
  /** How espd was called, for commands that messages print. */
  readonly call?: EspdCall;
  /** Default: its own. */
  readonly numbers?: JobNumbers;
  /** Default: as the system tells it. */
  readonly portUse?: UseLook;
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
  readonly #failures: PortFailures;
  readonly #arrivals: Arrivals;
  readonly #timing: Timing;
  readonly #unfinished: Unfinished;
  readonly #afterRelease: AfterRelease;
  readonly #rounds: Rounds;
  #settings: DaemonSettings;
  #stopping: Promise<void> | undefined;

  constructor(parts: DaemonParts) {
    const { archive, call, clock, events, log, numbers = new JobNumbers(), openLink, portUse, stations } = parts;
    const emit = (event: EventBody) => events.emit(event);
    this.#parts = parts;
    this.#settings = parts.settings;
    this.#slots = new Slots(parts.settings.cooldownMs);
    this.#lines = lineMemories(archive.cache, parts);
    this.#jobs = new BoardJobs({
      ...{ archive, call, clock, emit, log, numbers, openLink, stations },
      lines: this.#lines,
      readers: readerMemories(archive.cache, parts),
      slots: this.#slots,
      settings: () => this.#settings,
      mayStart: (visit) => this.#mayStart(visit),
      whyNotDue: (visit, mac) => this.#timing.whyNotDue(visit, mac),
      onError: (job, error) => this.#onJobError(job, error),
      onProgress: (job, progress) => this.#onProgress(job, progress),
      onDone: ({ port }) => this.#failures.forget(port.address),
      onEnd: ({ port, trace }) => this.#onJobEnd(port, trace.mac !== undefined),
    });
    this.#custody = new Custody({
      ...{ attached: this.#attached, clock, emit, jobs: this.#jobs, slots: this.#slots },
      giveUp: (address) => this.#giveUp(address),
      consider: (plugIn) => this.#consider(plugIn),
    });
    this.#admission = new Admission({
      archive,
      settings: () => this.#settings,
      isUnfinished: (port) => this.#unfinished.isLeft(port),
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
    this.#timing = new Timing({
      ...{ archive, clock, emit },
      settings: () => this.#settings.timing ?? AT_ONCE,
      isThere: (port) => this.#attached.has(port),
      start: (visit) => this.#begin(visit),
    });
    this.#unfinished = new Unfinished(archive, log);
    this.#afterRelease = new AfterRelease({
      clock,
      isOn: () => this.#settings.afterRelease === true,
      ports: () => this.#attached.all.filter((port) => this.#isIdleBoard(port)),
      inUse: portUse ?? createUseLook(),
      onReleased: (port) => this.#consider({ port, inDownloadMode: false, isAfterRelease: true }),
    });
    this.#rounds = new Rounds({
      clock,
      everyMs: ({ address }) => this.#settings.rounds?.get(address),
      onDue: (port) => this.#consider({ port, inDownloadMode: false, isRound: true }),
    });
    this.#arrivals = new Arrivals({
      ...{ attached: this.#attached, clock, emit, log, slots: this.#slots },
      cooldownMs: () => this.#settings.cooldownMs,
      jobAt: (address) => this.#jobs.at(address),
      isHeld: (port) => this.#custody.at(port) !== undefined,
      onPlugIn: (plugIn) => this.#consider(plugIn),
      onPresent: (port) => void this.#onPresent(port),
      onPlugInWhileHeld: (plugIn) => this.#custody.owe(plugIn),
      onGone: (port) => this.#onGone(port),
      onRenamed: (port) => this.#judgeAgain(port),
      onMissing: (port, into, waitedMs) => this.#failures.missing(port, this.#slots.macAt(port), into, waitedMs),
    });
    this.#ports = parts.watch((event) => {
      if (this.#stopping !== undefined) return;
      this.#arrivals.onPortEvent(event);
      this.#rounds.onPortEvent(event);
    });
  }

  async start(): Promise<void> {
    await this.#unfinished.load();
    await this.#ports.start();
    if (this.#stopping !== undefined) return;
    this.#afterRelease.applied();
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
    this.#timing.applied();
    this.#afterRelease.applied();
    this.#rounds.applied();
    for (const { port } of this.#admission.leftAlone) this.#judgeAgain(port);
    // Judged by the new rules: what the config names anew, and what it names no more.
    void this.#ports.rescan?.('config');
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
    this.#timing.forget(port.address);
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
    this.#arrivals.close();
    this.#timing.close();
    this.#afterRelease.close();
    this.#rounds.close();
    const done = Promise.allSettled([this.#ports.close(), this.#unfinished.close(), this.#jobs.close()]);
    this.#custody.close();
    try {
      await withTimeout(clock, STOP_LIMIT_MS, done, () => new Error('too slow'));
    } catch {
      const held = this.#jobs.running.filter(({ trace }) => !trace.isReleased);
      if (held.length > 0) log.warn('Some jobs did not stop in time', { ports: held.map(({ port }) => port.address) });
      else log.warn('Not waiting for the disk of the archive any longer: the next backup goes on from what is there');
    }
  }

  #onGone(port: PortInfo): void {
    const { address } = port;
    this.#replugged.delete(address);
    this.#custody.forget(address);
    this.#timing.forget(address);
    this.#unfinished.ended(port);
    this.#admission.forget(address);
    this.#failures.forget(address);
    this.#jobs.drop(address);
  }

  async #onPresent(port: PortInfo): Promise<void> {
    this.#attached.came(port);
    const isAdmitted = await this.#admission.mayTouchExisting(port);
    // It may have gone while the archive was asked.
    if (isAdmitted && this.#attached.get(port.address) === port) this.#consider({ port, inDownloadMode: false });
  }

  /** Where it was left alone: the rules may be others, or mean it by its new name. */
  #judgeAgain(port: PortInfo): void {
    const left = this.#admission.leftAlone.find((each) => each.port.address === port.address);
    if (left === undefined) return;
    if (left.isExisting) void this.#onPresent(port);
    else this.#consider({ port, inDownloadMode: false });
  }

  #consider(visit: Visit): void {
    const { port } = visit;
    if (this.#stopping !== undefined || !this.#admission.mayTouch(port)) return;
    if (this.#custody.at(port) !== undefined) {
      this.#custody.owe(visit);
      return;
    }
    this.#unfinished.began(port);
    this.#timing.admit(visit);
  }

  /** Its time has come. */
  #begin(visit: Visit): void {
    const { address, key } = visit.port;
    if (this.#stopping !== undefined || !this.#attached.has(visit.port)) return;
    const job = this.#jobs.at(address);
    if (job === undefined) this.#jobs.add(visit);
    else if (!job.isRunning || job.port.key !== key) this.#replugged.set(address, visit);
  }

  /** Somebody else has the port from now on: nothing is tried there. @returns what was yet to come */
  #giveUp(address: string): Visit | undefined {
    this.#failures.forget(address);
    const job = this.#jobs.at(address);
    const visit = job !== undefined && !job.isRunning ? job.visit : undefined;
    this.#jobs.drop(address);
    return this.#timing.forget(address) ?? visit;
  }

  /** A board of ours, at which no job works, and which nobody holds. */
  #isIdleBoard(port: PortInfo): boolean {
    const isBoard = (ownUsbMac(port) ?? this.#slots.macAt(port)) !== undefined;
    return isBoard && this.#jobs.at(port.address) === undefined && this.#custody.at(port) === undefined;
  }

  /** A port whose failure may have passed. */
  #retry(port: PortInfo, retry: Retry): void {
    if (this.#stopping !== undefined || !this.#attached.has(port)) return;
    this.#timing.admit({ port, inDownloadMode: false, retry });
  }

  #mayStart({ port, request }: Visit): boolean {
    if (!this.#attached.has(port)) return false;
    // By the name that it has now.
    if (request !== undefined || this.#admission.mayTouch(this.#attached.get(port.address) ?? port)) return true;
    this.#failures.forget(port.address);
    return false;
  }

  #onProgress({ port }: BoardJob, { phase, wentAway }: Progress): void {
    if (phase === 'released' && wentAway === true) this.#arrivals.linkEnded(port);
  }

  #onJobError(job: BoardJob, error: EspdError): void {
    const { id, port, trace, resets, visit } = job;
    if (lastReset(trace, resets, error) === 'download-mode' && isOwnUsb(port)) {
      this.#arrivals.expectInDownloadMode(port);
      return;
    }
    const isThere = this.#attached.has(port);
    const isFinal = this.#stopping !== undefined || !isThere || visit.request !== undefined || job.abort.signal.aborted;
    if (isFinal) this.#failures.tell(port, id, trace.mac, error);
    else this.#failures.mayPass(port, id, trace, error);
  }

  #onJobEnd(port: PortInfo, hasFoundBoard: boolean): void {
    if (this.#stopping === undefined) this.#rounds.jobEnded(port, hasFoundBoard);
    const again = this.#replugged.get(port.address);
    this.#replugged.delete(port.address);
    // What a stop has ended is looked at by the next daemon.
    if (this.#stopping === undefined) this.#unfinished.ended(port);
    if (again !== undefined) this.#consider(again);
  }
}
