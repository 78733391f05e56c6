/**
 * Which baud rate to move bytes at: a policy, which asks nobody and changes nothing. A rate counts once a read at it
 * has been proven by the chip's digest, and no longer when errors count against it.
 */

import { type LineFacts, isRetryDue } from './line-memory.ts';

export const BAUD_RATES: readonly number[] = [115200, 230400, 460800, 921600, 1_500_000, 2_000_000, 3_000_000];

/** Every line holds it: boards are connected at it. */
const LOWEST = 115200;
/**
 * No rung where nothing speaks for it: who holds it mostly holds the next rate too, and each change costs a fifth of a
 * second. Where the next rate has failed, it is tried in the session after that: one failed trial a job is enough.
 */
const LEAPT_OVER = 1_500_000;
/**
 * Where nothing is known of a line: what flashing tools have used for years with every common bridge; the trial of it
 * costs no more than that of a lower one.
 */
export const FIRST_TRIAL = 921600;
/** What the trial of a rate may cost when it fails (two lost answers and a reconnect), times how often it does. */
const RISK_MS = 500;
/** Errors at a rate that had been proven, before it is left... */
const MAX_ERRORS = 3;
/** ... unless the good bytes between them have made up for their cost: each takes so long, with what is read again. */
const ERROR_MS = 300;
/** Errors at a lower rate that say something of it. */
const TELLING_ERRORS = 2;
/** Errors per byte have fallen with the rate where the lower one has less than this share of them. */
const AS_MANY = 0.5;
/** Bytes without an error at a lower rate after which the upper one gets its second chance: noise may be over. */
const QUIET_BYTES = 128 * 1024;

export interface RateQuestion {
  /** The rate in force. */
  readonly current: number;
  /** Bytes that are still to be moved. */
  readonly remainingBytes: number;
  /** What a change of the rate costs. */
  readonly stepMs: number;
  /** Whether rates may be tried that no read on this line has ever proven, beyond the first. */
  readonly mayClimb: boolean;
}

/** What was seen at a rate. */
interface Evidence {
  readonly errors: number;
  readonly bytes: number;
}

/** A rate that was left. */
interface Fallen extends Evidence {
  readonly rate: number;
  /** The rate is to blame: it was tried twice, or failed at once. */
  readonly isSure: boolean;
  /** Seen since then, at lower rates. */
  readonly since: Evidence;
}

/** All that errors have changed, to be put back where the rate turns out not to be to blame. */
export interface LadderState {
  readonly top: number;
  readonly fallen: readonly Fallen[];
}

/** Errors in a row: those that good bytes have not made up for, and how it came to them. */
interface Spell extends Evidence {
  readonly level: number;
}

const NO_ERRORS: Spell = { level: 0, errors: 0, bytes: 0 };
/** No number of errors at a lower rate excuses it. */
const BEYOND_DOUBT: Evidence = { errors: Infinity, bytes: 1 };

export class BaudLadder {
  /** The rate to go to first: the best one of earlier sessions, or the first trial. */
  readonly #start: number;
  readonly #remembered: number | null;
  /** Highest rate that may be used at all. */
  readonly #limit: number;
  /** The rates that are gone to, upwards and downwards. */
  #rungs: readonly number[] = BAUD_RATES;
  readonly #spells = new Map<number, Spell>();
  /** Rates at which errors are no reason any more to leave them: lower ones have as many. */
  readonly #acquitted = new Set<number>();
  /** Rates that were left once for their errors. */
  readonly #warned = new Set<number>();
  /** Highest rate that a read has proven in this session. */
  #top = LOWEST;
  /** The rates that are not to be used now; the last one is the lowest. */
  #fallen: readonly Fallen[] = [];

  /** @param maxBaudRate by config, chip and bridge */
  constructor(maxBaudRate: number, facts: LineFacts | null, now: Date) {
    let limit = rungAt(maxBaudRate);
    const failed = facts?.failedBaudRate ?? null;
    if (facts !== null && failed !== null && !isRetryDue(facts, now)) limit = Math.min(limit, rateBelow(failed));
    this.#limit = limit;
    // A hostile or outdated memory names rates that are none.
    const best = facts?.bestBaudRate ?? 0;
    this.#remembered = best > LOWEST ? best : null;
    this.#start = rungAt(this.#remembered ?? FIRST_TRIAL);
    // The best of this line, its limit, or what is tried first where it failed long ago: else it is no rung.
    if (![limit, this.#start, failed].includes(LEAPT_OVER)) {
      this.#rungs = BAUD_RATES.filter((rate) => rate !== LEAPT_OVER);
    }
  }

  /** The rate that a large read will run at, as far as is known now. */
  get target(): number {
    return Math.min(this.ceiling, this.#usable > LOWEST ? this.#usable : this.#start);
  }

  /** The rate that a large read may get to, if the line holds whatever is tried. */
  get ceiling(): number {
    return Math.min(this.#limit, ...this.#fallen.map(({ rate }) => this.#rungBelow(rate)));
  }

  /** Highest rate that this line is known to hold: see {@link isTrusted}. */
  get trusted(): number {
    return Math.min(this.ceiling, Math.max(this.#top, rungAt(this.#remembered ?? LOWEST)));
  }

  /** Highest rate above the lowest that a read has proven in this session and that is not to blame; null where none is. */
  get proven(): number | null {
    const failed = this.failed;
    const best = failed === null ? this.#top : Math.min(this.#top, this.#rungBelow(failed));
    return best > LOWEST ? best : null;
  }

  /** Lowest rate that has failed in this session, and by its own fault. */
  get failed(): number | null {
    const rates = this.#fallen.filter(({ isSure }) => isSure).map(({ rate }) => rate);
    return rates.length === 0 ? null : Math.min(...rates);
  }

  /** The best proven rate that may be used now. */
  get #usable(): number {
    return Math.min(this.#top, this.ceiling);
  }

  /** Whether a read in this session has proven the rate. */
  isProven(baudRate: number): boolean {
    return baudRate <= this.#usable;
  }

  /** Whether this line is known to hold the rate, from this session or an earlier one. */
  isTrusted(baudRate: number): boolean {
    return this.isProven(baudRate) || (this.#remembered !== null && baudRate <= this.#remembered);
  }

  canLower(baudRate: number): boolean {
    return baudRate > LOWEST;
  }

  /** The rate to go to now: that in force where a change is not worth its cost. */
  next({ current, remainingBytes, stepMs, mayClimb }: RateQuestion): number {
    if (current > this.ceiling) return this.ceiling;
    // A trial is not changed before it is over; a rate of earlier sessions is none.
    if (!this.isTrusted(current)) return current;
    const wanted = this.#wanted(current, mayClimb);
    const savedMs = remainingBytes * 10_000 * (1 / current - 1 / wanted);
    return savedMs > stepMs + (this.isTrusted(wanted) ? 0 : RISK_MS) ? wanted : current;
  }

  #wanted(current: number, mayClimb: boolean): number {
    const best = this.#usable;
    if (best === LOWEST) return Math.max(current, Math.min(this.#start, this.ceiling));
    if (current < best) return best;
    return mayClimb ? Math.min(this.#rungs.find((rate) => rate > current) ?? current, this.ceiling) : current;
  }

  #rungBelow(baudRate: number): number {
    return this.#rungs.findLast((rate) => rate < baudRate) ?? LOWEST;
  }

  /** So many bytes save as much time, against the next lower rung, as an error costs. */
  #bytesWorthAnError(baudRate: number): number {
    return ERROR_MS / (10_000 * (1 / this.#rungBelow(baudRate) - 1 / baudRate));
  }

  /** A read of so many bytes was right. */
  proved(baudRate: number, sizeBytes: number): void {
    if (baudRate <= this.ceiling) this.#top = Math.max(this.#top, rungAt(baudRate));
    this.carried(baudRate, sizeBytes);
  }

  /** So many bytes came right, in a read that was not. */
  carried(baudRate: number, sizeBytes: number): void {
    const spell = this.#spells.get(baudRate);
    if (spell !== undefined) {
      const level = spell.level - sizeBytes / this.#bytesWorthAnError(baudRate);
      if (level > 0) this.#spells.set(baudRate, { ...spell, level, bytes: spell.bytes + sizeBytes });
      else this.#spells.delete(baudRate);
    }
    this.#seen(baudRate, { errors: 0, bytes: sizeBytes });
  }

  /**
   * A region could not be read, or a command was not answered, at once: a rate at which errors cost more than it saves
   * is left. It is not yet to blame: see {@link failed}.
   * @returns whether it is left
   */
  erred(baudRate: number): boolean {
    const { level, errors, bytes } = this.#spells.get(baudRate) ?? NO_ERRORS;
    const spell = { level: level + 1, errors: errors + 1, bytes };
    this.#spells.set(baudRate, spell);
    this.#seen(baudRate, { errors: 1, bytes: 0 });
    if (baudRate <= LOWEST || !this.isProven(baudRate) || this.#acquitted.has(baudRate)) return false;
    const isSecond = this.#warned.has(baudRate);
    if (spell.level < (isSecond ? MAX_ERRORS - 1 : MAX_ERRORS)) return false;
    this.#warned.add(baudRate);
    this.#leave(baudRate, spell, isSecond);
    return true;
  }

  /** The rate has failed at once, and is not tried again in this session unless lower ones fail as often. */
  fail(baudRate: number, evidence = BEYOND_DOUBT): void {
    if (baudRate > LOWEST) this.#leave(baudRate, evidence, true);
  }

  /** The host's own port cannot do the rate. Nothing was sent, so the one below may be tried at once. */
  exclude(baudRate: number): void {
    if (rateBelow(baudRate) === LEAPT_OVER) this.#rungs = BAUD_RATES;
    this.fail(baudRate);
  }

  save(): LadderState {
    return { top: this.#top, fallen: this.#fallen };
  }

  /** Lower rates did not help: what was said against the higher ones since {@link save} is taken back. */
  restore({ top, fallen }: LadderState): void {
    this.#top = top;
    this.#fallen = fallen;
    this.#spells.clear();
  }

  #leave(rate: number, { errors, bytes }: Evidence, isSure: boolean): void {
    const others = this.#fallen.filter((each) => each.rate !== rate);
    this.#fallen = [...others, { rate, errors, bytes, isSure, since: NO_ERRORS }].sort((a, b) => b.rate - a.rate);
    this.#spells.delete(rate);
  }

  /** Compares the lowest of the rates that were left with what is seen at the rates below it. */
  #seen(baudRate: number, { errors, bytes }: Evidence): void {
    this.#fallen = this.#fallen.map((each) => {
      if (baudRate >= each.rate) return each;
      return { ...each, since: { errors: each.since.errors + errors, bytes: each.since.bytes + bytes } };
    });
    const last = this.#fallen.at(-1);
    if (last === undefined) return;
    const { since } = last;
    const hasAsMany =
      since.errors >= TELLING_ERRORS && since.errors * last.bytes >= AS_MANY * last.errors * since.bytes;
    const isQuiet = !last.isSure && since.errors === 0 && since.bytes >= Math.max(QUIET_BYTES, 2 * last.bytes);
    if (hasAsMany) this.#acquitted.add(last.rate);
    if (!hasAsMany && !isQuiet) return;
    this.#fallen = this.#fallen.slice(0, -1);
    this.#spells.clear();
  }
}

function rungAt(baudRate: number): number {
  return BAUD_RATES.findLast((rate) => rate <= baudRate) ?? LOWEST;
}

function rateBelow(baudRate: number): number {
  return BAUD_RATES.findLast((rate) => rate < baudRate) ?? LOWEST;
}
