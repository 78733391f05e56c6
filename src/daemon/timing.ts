/** When a port that may be touched is worked on: after its grace, outside of quiet hours, and where its board is due. */

import type { Archive } from '../archive/types.ts';
import { idToDate } from '../archive/ids.ts';
import type { Clock } from '../clock.ts';
import { type QuietHours, quietMs } from '../config/quiet-hours.ts';
import type { Mac } from '../mac.ts';
import { ownUsbMac } from '../plugs/slots.ts';
import type { PortInfo } from '../serial/ports.ts';
import type { Visit } from './board-jobs.ts';
import type { EventBody } from './event-types.ts';

export interface TimingSettings {
  /** From a plug-in until the board is touched, in milliseconds. */
  readonly graceMs: number;
  readonly quietHours: QuietHours | null;
  /** Of the quiet hours; null = that of the machine. */
  readonly timezone: string | null;
  /** A board whose last look is younger is left alone; null = none is. */
  readonly dueMs: number | null;
}

export const AT_ONCE: TimingSettings = { graceMs: 0, quietHours: null, timezone: null, dueMs: null };

export interface TimingParts {
  readonly archive: Pick<Archive, 'history'>;
  readonly clock: Clock;
  readonly emit: (event: EventBody) => void;
  readonly settings: () => TimingSettings;
  readonly isThere: (port: PortInfo) => boolean;
  /** The time has come. */
  readonly start: (visit: Visit) => void;
}

interface Waiting {
  readonly visit: Visit;
  readonly sinceMs: number;
  cancel: () => void;
}

/** What a timer counts to, and after which it is looked at the clock of the day again: that may have been set. */
const LONGEST_WAIT_MS = 15 * 60_000;

export class Timing {
  readonly #parts: TimingParts;
  /** By the address of their port. */
  readonly #waiting = new Map<string, Waiting>();

  constructor(parts: TimingParts) {
    this.#parts = parts;
  }

  /** A port that may be touched; a plug-in that waits there already stays, also one that is not due. */
  admit(visit: Visit): void {
    const { address } = visit.port;
    const before = this.#waiting.get(address);
    const hasNews = visit.isAfterRelease === true || visit.isRound === true || visit.retry !== undefined;
    if (before?.visit.port.key === visit.port.key && !hasNews) return;
    before?.cancel();
    const waiting: Waiting = { visit, sinceMs: this.#parts.clock.now(), cancel: () => undefined };
    this.#waiting.set(address, waiting);
    this.#look(waiting, undefined);
  }

  /** It is gone, or somebody else has it. @returns what waited there */
  forget(address: string): Visit | undefined {
    const waiting = this.#waiting.get(address);
    waiting?.cancel();
    this.#waiting.delete(address);
    return waiting?.visit;
  }

  /** The settings are others: what waits is judged anew. */
  applied(): void {
    for (const waiting of [...this.#waiting.values()]) {
      waiting.cancel();
      this.#look(waiting, undefined);
    }
  }

  close(): void {
    for (const address of [...this.#waiting.keys()]) this.forget(address);
  }

  #look(waiting: Waiting, told: string | undefined): void {
    const { clock, emit } = this.#parts;
    const { port } = waiting.visit;
    const { why, waitMs } = this.#waitOf(waiting);
    if (waitMs <= 0) {
      this.#startIfDue(waiting);
      return;
    }
    const until = new Date(clock.date().getTime() + waitMs).toISOString();
    if (told !== why) emit({ type: 'port-postponed', port: port.address, why, until });
    waiting.cancel = clock.schedule(Math.min(waitMs, LONGEST_WAIT_MS), () => this.#look(waiting, why));
  }

  #waitOf({ sinceMs, visit }: Waiting): { readonly why: 'grace' | 'quiet-hours'; readonly waitMs: number } {
    const { clock, settings } = this.#parts;
    const { graceMs, quietHours, timezone } = settings();
    const quiet = quietHours === null ? 0 : quietMs(clock.date(), quietHours, timezone);
    if (quiet > 0) return { why: 'quiet-hours', waitMs: quiet };
    // A board that our own reset has sent away is in download mode, and waits for us.
    const hasGrace = !visit.inDownloadMode && visit.isRound !== true && visit.retry === undefined;
    return { why: 'grace', waitMs: hasGrace ? sinceMs + graceMs - clock.now() : 0 };
  }

  #startIfDue(waiting: Waiting): void {
    const { port, inDownloadMode, retry } = waiting.visit;
    const mac = ownUsbMac(port);
    const isKnown = mac !== undefined && !inDownloadMode && retry === undefined;
    // Who cannot be known without a reset is asked, and let go if it is not due.
    if (isKnown && this.#dueMsFor(waiting.visit) !== null) void this.#startUnlessSeen(waiting, mac);
    else this.#start(waiting);
  }

  async #startUnlessSeen(waiting: Waiting, mac: Mac): Promise<void> {
    const { emit, isThere } = this.#parts;
    const { port } = waiting.visit;
    const reason = await this.whyNotDue(waiting.visit, mac);
    if (this.#waiting.get(port.address) !== waiting || !isThere(port)) return;
    if (reason === null) this.#start(waiting);
    else emit({ type: 'port-left-alone', port: port.address, reason, by: 'due', existing: false });
  }

  /** Why this board is left alone at this visit; null = it is due. Never rejects. */
  async whyNotDue(visit: Visit, mac: Mac): Promise<string | null> {
    const { archive, clock } = this.#parts;
    const dueMs = this.#dueMsFor(visit);
    if (dueMs === null) return null;
    // An archive that cannot be read is told of by the job.
    const seenAtMs = await archive.history(mac).then(lastSeenMs, () => -Infinity);
    const ageMs = clock.date().getTime() - seenAtMs;
    // From the future: a clock was wrong.
    if (ageMs < 0 || ageMs >= dueMs) return null;
    return `Its last backup or look is younger than ${spanText(dueMs)} (watch.due)`;
  }

  /** Null = whoever asks is not kept waiting. */
  #dueMsFor({ isAfterRelease, isRound, request }: Visit): number | null {
    return isAfterRelease === true || isRound === true || request !== undefined ? null : this.#parts.settings().dueMs;
  }

  #start(waiting: Waiting): void {
    this.forget(waiting.visit.port.address);
    this.#parts.start(waiting.visit);
  }
}

/** A board that a restore was broken off on is due at each plug-in: somebody has to be told. */
function lastSeenMs(history: Awaited<ReturnType<Archive['history']>>): number {
  if (history.halfRestored !== null) return -Infinity;
  const backups = history.backups.map(({ id }) => idToDate(id)?.getTime() ?? -Infinity);
  return Math.max(-Infinity, ...backups, ...history.sightings.map(({ at }) => Date.parse(at)));
}

/** As it is written in the config: `12 h`. */
function spanText(spanMs: number): string {
  const minutes = Math.round(spanMs / 60_000);
  if (minutes % 1440 === 0) return `${minutes / 1440} d`;
  return minutes % 60 === 0 ? `${minutes / 60} h` : `${minutes} min`;
}
