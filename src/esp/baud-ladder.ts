/**
 * Which baud rate to move bytes at: a policy, which asks nobody and changes nothing. A rate counts once a read at it
 * has been proven by the chip's digest, and no longer when errors count against it.
 */

import { type LineFacts, isRetryDue } from './line-memory.ts';

export const BAUD_RATES: readonly number[] = [115200, 230400, 460800, 921600, 1_500_000, 2_000_000, 3_000_000];

/** Every line holds it: boards are connected at it. */
const LOWEST = 115200;
/**
 * Where nothing is known of a line: what flashing tools have used for years with every common bridge; the trial of it
 * costs no more than that of a lower one.
 */
const FIRST_TRIAL = 921600;
/** What the trial of a rate may cost when it fails (two lost answers and a reconnect), times how often it does. */
const RISK_MS = 500;
/** Regions with errors at a rate that had been proven, before it is given up... */
const MAX_ERRORS = 3;
/** ... and so many good bytes make up for one: an error costs seconds, as long as these take. */
const BYTES_PER_ERROR = 4 * 1024 * 1024;

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

/** All that errors have changed, to be put back where the rate turns out not to be to blame. */
export interface LadderState {
  readonly ceiling: number;
  readonly top: number;
  readonly failed: number | null;
}

export class BaudLadder {
  /** The rate to go to first: the best one of earlier sessions, or the first trial. */
  readonly #start: number;
  readonly #remembered: number | null;
  readonly #errors = new Map<number, number>();
  /** Highest rate that may be used. */
  #ceiling: number;
  /** Highest rate that a read has proven in this session. */
  #top = LOWEST;
  /** Lowest rate that has failed in this session. */
  #failed: number | null = null;

  /** @param maxBaudRate by config, chip and bridge */
  constructor(maxBaudRate: number, facts: LineFacts | null, now: Date) {
    this.#ceiling = BAUD_RATES.findLast((rate) => rate <= maxBaudRate) ?? LOWEST;
    const failed = facts?.failedBaudRate ?? null;
    if (facts !== null && failed !== null && !isRetryDue(facts, now)) {
      this.#ceiling = Math.min(this.#ceiling, rungBelow(failed));
    }
    // A hostile or outdated memory names rates that are none.
    const best = facts?.bestBaudRate ?? 0;
    this.#remembered = best > LOWEST ? best : null;
    this.#start = BAUD_RATES.findLast((rate) => rate <= (this.#remembered ?? FIRST_TRIAL)) ?? LOWEST;
  }

  /** The rate that a large read will run at, as far as is known now. */
  get target(): number {
    return Math.min(this.#ceiling, this.#top > LOWEST ? this.#top : this.#start);
  }

  /** The rate that a large read may get to, if the line holds whatever is tried. */
  get ceiling(): number {
    return this.#ceiling;
  }

  /** Highest rate that this line is known to hold: see {@link isTrusted}. */
  get trusted(): number {
    return Math.min(this.#ceiling, Math.max(this.#top, rungAt(this.#remembered ?? LOWEST)));
  }

  /** Highest rate above the lowest that a read has proven in this session; null where none has. */
  get proven(): number | null {
    return this.#top > LOWEST ? this.#top : null;
  }

  /** Lowest rate that has failed in this session. */
  get failed(): number | null {
    return this.#failed;
  }

  /** Whether a read in this session has proven the rate. */
  isProven(baudRate: number): boolean {
    return baudRate <= this.#top;
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
    if (current > this.#ceiling) return this.#ceiling;
    // A trial is not changed before it is over; a rate of earlier sessions is none.
    if (!this.isTrusted(current)) return current;
    const wanted = this.#wanted(current, mayClimb);
    const savedMs = remainingBytes * 10_000 * (1 / current - 1 / wanted);
    return savedMs > stepMs + (this.isTrusted(wanted) ? 0 : RISK_MS) ? wanted : current;
  }

  #wanted(current: number, mayClimb: boolean): number {
    if (this.#top === LOWEST) return Math.max(current, Math.min(this.#start, this.#ceiling));
    if (current < this.#top) return this.#top;
    return mayClimb ? Math.min(rungAbove(current), this.#ceiling) : current;
  }

  /** A read of so many bytes was right. */
  proved(baudRate: number, sizeBytes: number): void {
    if (baudRate <= this.#ceiling) this.#top = Math.max(this.#top, rungAt(baudRate));
    const errors = this.#errors.get(baudRate) ?? 0;
    if (errors > 0) this.#errors.set(baudRate, Math.max(0, errors - sizeBytes / BYTES_PER_ERROR));
  }

  /** A region could not be read, or a command was not answered, at once: a rate that errs too often is given up. */
  erred(baudRate: number): void {
    const errors = (this.#errors.get(baudRate) ?? 0) + 1;
    this.#errors.set(baudRate, errors);
    if (this.isProven(baudRate) && errors >= MAX_ERRORS) this.fail(baudRate);
  }

  /** The rate is not tried again in this session. */
  fail(baudRate: number): void {
    if (baudRate <= LOWEST) return;
    this.#failed = Math.min(this.#failed ?? Infinity, baudRate);
    this.#ceiling = Math.min(this.#ceiling, rungBelow(baudRate));
    this.#top = Math.min(this.#top, this.#ceiling);
  }

  save(): LadderState {
    return { ceiling: this.#ceiling, top: this.#top, failed: this.#failed };
  }

  /** Lower rates did not help: what was said against the higher ones since {@link save} is taken back. */
  restore({ ceiling, top, failed }: LadderState): void {
    this.#ceiling = ceiling;
    this.#top = top;
    this.#failed = failed;
    this.#errors.clear();
  }
}

function rungAt(baudRate: number): number {
  return BAUD_RATES.findLast((rate) => rate <= baudRate) ?? LOWEST;
}

function rungBelow(baudRate: number): number {
  return BAUD_RATES.findLast((rate) => rate < baudRate) ?? LOWEST;
}

function rungAbove(baudRate: number): number {
  return BAUD_RATES.find((rate) => rate > baudRate) ?? baudRate;
}
