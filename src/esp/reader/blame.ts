/**
 * Who is to blame for a stream of the reader that came damaged: the reader, or the baud rate. The stub tells, which reads on
 * at the same rate. Pure.
 */

import { FIRST_TRIAL } from '../baud-ladder.ts';
import type { Damage } from './fault.ts';

/** `line`: neither; it errs at a rate that every line should hold, and rates are left by a count of their own. */
export type Verdict = 'reader' | 'rate' | 'line';

/**
 * The line has to carry so many times as much without an error as it did before the fault. An error that comes once in so
 * many bytes would be missed then one time in nine.
 */
const TELLING_SHARE = 8;

export class Blame {
  readonly baudRate: number;
  readonly #damage: Damage;
  #bytesBefore: number;
  #bytesSince = 0;
  #errors = 1;

  /**
   * @param baudRate at which it came damaged
   * @param bytesBefore that came right at it until then, from its last error on
   */
  constructor(baudRate: number, bytesBefore: number, damage: Damage) {
    this.baudRate = baudRate;
    this.#bytesBefore = bytesBefore;
    this.#damage = damage;
  }

  /** So many bytes of what came damaged were right all the same. */
  salvaged(sizeBytes: number): void {
    this.#bytesBefore += sizeBytes;
  }

  /** The stub has read so many bytes without an error. */
  carried(sizeBytes: number): void {
    this.#bytesSince += sizeBytes;
  }

  /** The stub has met an error. */
  erred(): void {
    this.#errors++;
  }

  /** Errors, that of the reader included, and the bytes between them. */
  get evidence(): { readonly errors: number; readonly bytes: number } {
    return { errors: this.#errors, bytes: this.#bytesBefore + this.#bytesSince };
  }

  /** Null while it is open. */
  get verdict(): Verdict | null {
    const isFast = this.baudRate > FIRST_TRIAL;
    if (this.#damage === 'none') return 'reader';
    // Hardly a byte goes to the chip in a read: it cannot tell whether that direction holds the rate.
    if (this.#damage === 'to-chip') return isFast ? 'rate' : 'reader';
    if (this.#errors > 1) return isFast ? 'rate' : 'line';
    const isTold = this.#bytesSince > 0 && this.#bytesSince >= TELLING_SHARE * this.#bytesBefore;
    return isTold ? 'reader' : null;
  }

  /** At the end of a session that has left it open: a rate that not every line holds is the likelier one. */
  get lastVerdict(): Verdict {
    return this.verdict ?? (this.baudRate > FIRST_TRIAL ? 'rate' : 'reader');
  }
}
