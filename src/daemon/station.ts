/**
 * The station as it is now: its ports, what is done there, and what became of it. Made of events alone, so that whoever
 * has followed the events since the start has the same picture.
 */

import type { Mac } from '../mac.ts';
import type { UsbFacts } from '../serial/link.ts';
import { type Attention, AttentionList } from './attention.ts';
import type { EventError, EventOf, FailureKind, JobCause, JobKind, ServiceEvent } from './event-types.ts';

/**
 * `left-alone`: not ours; `waiting`, `working`: a job; `done`: it may be unplugged; `failed`: see `error`; `held`: somebody
 * else has it; `idle`: nothing has happened there yet.
 */
export type PortState = 'idle' | 'left-alone' | 'waiting' | 'working' | 'done' | 'failed' | 'held';

export interface PortView {
  readonly port: string;
  /** Of a remote, as the config has it. */
  readonly name: string | null;
  readonly usb: UsbFacts | null;
  readonly state: PortState;
  /** Since when it is in this state. ISO 8601 UTC. */
  readonly since: string;
  /** The board that was last found there. */
  readonly mac: Mac | null;
  readonly chip: string | null;
  readonly job: number | null;
  readonly phase: string | null;
  /** Bytes of flash of this phase; null where it has none. */
  readonly doneBytes: number | null;
  readonly totalBytes: number | null;
  readonly heldBy: string | null;
  readonly heldUntil: string | null;
  /** Why it is left alone, or for what it waits. */
  readonly reason: string | null;
  readonly error: EventError | null;
  /** When it is tried again by itself. ISO 8601 UTC. */
  readonly retryAt: string | null;
  /** What its last job came to. */
  readonly result: JobOutcome | null;
}

/** What a backup came to. */
export interface JobOutcome {
  readonly id: string;
  readonly unchanged: boolean;
  readonly seconds: number;
  readonly wireBytes: number;
  readonly flashBytesRead: number;
}

export interface JobView {
  readonly job: number;
  readonly kind: JobKind;
  readonly cause: JobCause;
  readonly state: 'waiting' | 'running' | 'done' | 'failed' | 'dropped';
  readonly port: string | null;
  readonly mac: Mac | null;
  readonly phase: string | null;
  readonly doneBytes: number | null;
  readonly totalBytes: number | null;
  readonly queuedAt: string;
  readonly startedAt: string | null;
  readonly endedAt: string | null;
  readonly result: JobOutcome | null;
  readonly error: EventError | null;
  readonly failure: FailureKind | null;
}

export interface StationView {
  readonly startedAt: string | null;
  readonly isStopping: boolean;
  readonly ports: readonly PortView[];
  /** The newest last; at most {@link MOST_JOBS}, those that wait or run among them. */
  readonly jobs: readonly JobView[];
  readonly attention: readonly Attention[];
  readonly counters: { readonly backups: number; readonly unchanged: number; readonly failures: number };
}

/** Jobs that have ended are forgotten beyond so many. */
export const MOST_JOBS = 200;
/** A hub full of boards that are reset at once. */
const MOST_GONE = 256;
/** Ports that are gone: their last state is kept for none. */
const NOTHING = {
  ...{ job: null, phase: null, doneBytes: null, totalBytes: null, heldBy: null, heldUntil: null },
  ...{ reason: null, error: null, retryAt: null },
};

export class Station {
  readonly #ports = new Map<string, PortView>();
  readonly #jobs = new Map<number, JobView>();
  /** Boards that have gone, by MAC: one that its own reset took away comes back as it was. */
  readonly #gone = new Map<Mac, PortView>();
  readonly #attention: AttentionList;
  #startedAt: string | null = null;
  #isStopping = false;
  #backups = 0;
  #unchanged = 0;
  #failures = 0;

  /** @param view of a station elsewhere, to follow its events from there on; absent = before the first event */
  constructor(view?: StationView) {
    // What is told of ports is made of them.
    this.#attention = new AttentionList(view?.attention.filter(({ about }) => about !== 'port'));
    if (view === undefined) return;
    for (const port of view.ports) this.#ports.set(port.port, port);
    for (const job of view.jobs) this.#jobs.set(job.job, job);
    this.#startedAt = view.startedAt;
    this.#isStopping = view.isStopping;
    this.#backups = view.counters.backups;
    this.#unchanged = view.counters.unchanged;
    this.#failures = view.counters.failures;
  }

  get view(): StationView {
    return {
      startedAt: this.#startedAt,
      isStopping: this.#isStopping,
      ports: [...this.#ports.values()],
      jobs: [...this.#jobs.values()],
      attention: this.#allAttention,
      counters: { backups: this.#backups, unchanged: this.#unchanged, failures: this.#failures },
    };
  }

  /** What a port says of its board is told once. */
  get #allAttention(): readonly Attention[] {
    const ofPorts = [...this.#ports.values()].flatMap(attentionOf);
    const isAtPort = ({ port, error }: Attention) =>
      ofPorts.some((other) => other.port === port && other.error.message === error.message);
    return [...this.#attention.all.filter((one) => !isAtPort(one)), ...ofPorts];
  }

  job(id: number): JobView | undefined {
    return this.#jobs.get(id);
  }

  /** To be subscribed. */
  readonly onEvent = (event: ServiceEvent): void => {
    this.#onPort(event);
    this.#onJob(event);
    this.#onRest(event);
  };

  #onPort(event: ServiceEvent): void {
    const { at } = event;
    switch (event.type) {
      case 'port-attached': {
        const { port, usb, name = null } = event;
        const held = this.#ports.get(port);
        const board = { mac: null, chip: null, result: null };
        const view: PortView = { port, name, usb, state: 'idle', since: at, ...board, ...NOTHING };
        const isHeld = held?.state === 'held';
        this.#ports.set(
          port,
          isHeld ? { ...view, state: 'held', heldBy: held.heldBy, heldUntil: held.heldUntil } : view,
        );
        return;
      }
      case 'port-detached':
        // A hold outlives the board.
        {
          const view = this.#ports.get(event.port);
          if (view?.mac) this.#remember(view.mac, view);
          if (view?.state !== 'held') this.#ports.delete(event.port);
        }
        return;
      case 'port-renamed': {
        this.#change(event.port, { name: event.name });
        return;
      }
      case 'board-back': {
        const view = event.mac === null ? undefined : this.#gone.get(event.mac);
        if (view !== undefined) this.#comeBack(event.port, view);
        return;
      }
      case 'port-left-alone': {
        this.#change(event.port, { ...NOTHING, state: 'left-alone', since: at, reason: event.reason });
        return;
      }
      case 'port-postponed': {
        const reason = event.why === 'grace' ? 'grace' : 'quiet hours';
        this.#change(event.port, { ...NOTHING, state: 'idle', since: at, reason, retryAt: event.until });
        return;
      }
      case 'port-flapping': {
        const reason = 'It comes and goes by itself';
        this.#change(event.port, { ...NOTHING, state: 'left-alone', since: at, reason });
        return;
      }
      case 'port-held': {
        const { port, by, until } = event;
        const before = this.#ports.get(port);
        const view = before ?? {
          ...{ port, name: null, usb: null, state: 'held', since: at, mac: null, chip: null, result: null },
          ...NOTHING,
        };
        this.#ports.set(port, { ...view, ...NOTHING, state: 'held', since: at, heldBy: by, heldUntil: until });
        return;
      }
      case 'port-released': {
        const before = this.#ports.get(event.port);
        const half = this.#attention.all.find(
          ({ mac, error }) => error.code === 'half-restored' && mac !== null && mac === before?.mac,
        );
        const state = half !== undefined ? 'failed' : before?.result === null || before === undefined ? 'idle' : 'done';
        this.#change(event.port, { ...NOTHING, state, since: at, error: half?.error ?? null });
        return;
      }
      case 'identified': {
        const { mac, chip, port } = event;
        const isSame = this.#ports.get(port)?.mac === mac;
        this.#change(port, chip !== null || !isSame ? { mac, chip } : { mac });
        return;
      }
      case 'half-restored':
        this.#changeIdle(event.port, { state: 'failed', since: at, error: event.error, retryAt: null });
        return;
      case 'board-restored': {
        const { port, mac } = event;
        this.#changeIdle(port, { state: 'done', since: at, error: null, retryAt: null, mac, result: null });
        return;
      }
      default:
    }
  }

  #onJob(event: ServiceEvent): void {
    const { at } = event;
    switch (event.type) {
      case 'job-queued': {
        const { job, kind, cause, port, mac } = event;
        this.#jobs.set(job, {
          ...{ job, kind, cause, state: 'waiting', port, mac, phase: null, doneBytes: null, totalBytes: null },
          ...{ queuedAt: at, startedAt: null, endedAt: null, result: null, error: null, failure: null },
        });
        this.#forgetOld();
        if (port !== null) this.#change(port, { ...NOTHING, state: 'waiting', since: at, job });
        return;
      }
      case 'job-started':
        this.#changeJob(event.job, { state: 'running', startedAt: at });
        {
          this.#changeAt(event, { state: 'working', since: at });
          return;
        }
      case 'identified': {
        this.#changeJob(event.job, { mac: event.mac });
        return;
      }
      case 'job-progress': {
        const { phase, doneBytes, totalBytes } = event;
        this.#changeJob(event.job, { phase, doneBytes, totalBytes });
        this.#changeAt(event, { phase, doneBytes, totalBytes });
        return;
      }
      case 'backup-kept':
      case 'backup-unchanged': {
        const unchanged = event.type === 'backup-unchanged';
        if (unchanged) this.#unchanged++;
        else this.#backups++;
        const { id, seconds, wireBytes, flashBytesRead } = event;
        const result = { id, unchanged, seconds, wireBytes, flashBytesRead };
        const board = { result, mac: event.mac, chip: event.chip };
        if (event.job === null) {
          this.#changeIdle(event.port, { ...board, state: 'done', since: at, error: null, retryAt: null });
          return;
        }
        this.#changeJob(event.job, { result, mac: event.mac });
        this.#changeAt({ port: event.port, job: event.job }, board);
        return;
      }
      case 'job-failed': {
        this.#onFailed(event);
        return;
      }
      case 'job-ended': {
        const { job, port, result: state } = event;
        this.#changeJob(job, { state, endedAt: at, phase: null });
        const view = port === null ? undefined : this.#ports.get(port);
        if (port === null || view?.job !== job || view.state === 'held') return;
        const error = state === 'failed' ? view.error : null;
        const { retryAt } = view;
        const next: PortState = state === 'done' ? 'done' : error === null ? 'idle' : 'failed';
        this.#change(port, { ...NOTHING, state: next, since: at, error, retryAt });
        return;
      }
      default:
    }
  }

  #onFailed({ at, job, port, mac, error, failure, isNews, retryInMs }: EventOf<'job-failed'>): void {
    if (isNews && (failure === 'fault' || error.code === 'half-restored')) this.#failures++;
    if (job !== null) this.#changeJob(job, { error, failure, ...(mac !== null && { mac }) });
    if (port === null) return;
    const retryAt = retryInMs === null ? null : new Date(Date.parse(at) + retryInMs).toISOString();
    if (failure === 'stopped' || failure === 'silent') this.#change(port, { error: null, retryAt });
    else this.#change(port, { error, retryAt, ...(job === null && { state: 'failed', since: at }) });
  }

  #onRest(event: ServiceEvent): void {
    this.#attention.onEvent(event);
    switch (event.type) {
      case 'service-started':
        this.#startedAt = event.at;
        return;
      case 'service-stopping':
        this.#isStopping = true;
        return;
      case 'board-stuck':
        this.#failures++;
        return;
      case 'board-missing':
        if (event.into === 'download-mode') this.#failures++;
        return;
      default:
    }
  }

  /** Its job may have ended while the board was away. */
  #comeBack(port: string, { chip, job: id, mac, phase, result, state }: PortView): void {
    const job = id === null ? undefined : this.#jobs.get(id);
    if (job === undefined || job.endedAt === null) this.#change(port, { chip, mac, job: id, phase, result, state });
    else this.#change(port, { chip, mac, result: job.result, state: job.state === 'done' ? 'done' : 'idle' });
  }

  #remember(mac: Mac, view: PortView): void {
    this.#gone.delete(mac);
    this.#gone.set(mac, view);
    const [oldest] = this.#gone.keys();
    if (this.#gone.size > MOST_GONE && oldest !== undefined) this.#gone.delete(oldest);
  }

  #change(port: string, change: Partial<PortView>): void {
    const view = this.#ports.get(port);
    if (view !== undefined) this.#ports.set(port, { ...view, ...change });
  }

  /** Not where the port is somebody else's by now, or has another job. */
  #changeAt({ port, job }: { readonly port: string | null; readonly job: number }, change: Partial<PortView>): void {
    if (port === null) return;
    const view = this.#ports.get(port);
    if (view?.job === job && view.state !== 'held') this.#change(port, change);
  }

  /** What a command has done there; not where a job works, or somebody has it. */
  #changeIdle(port: string, change: Partial<PortView>): void {
    const view = this.#ports.get(port);
    if (view?.job === null && view.state !== 'held') this.#change(port, change);
  }

  #changeJob(id: number, change: Partial<JobView>): void {
    const job = this.#jobs.get(id);
    if (job !== undefined) this.#jobs.set(id, { ...job, ...change });
  }

  #forgetOld(): void {
    for (const [id, { endedAt }] of this.#jobs) {
      if (this.#jobs.size <= MOST_JOBS) return;
      if (endedAt !== null) this.#jobs.delete(id);
    }
  }
}

function attentionOf({ port, mac, since, state, error }: PortView): Attention[] {
  if (state !== 'failed' || error === null) return [];
  return [{ at: since, about: 'port', port, mac, error }];
}
