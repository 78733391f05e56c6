/** How long a job was in each of its phases. */

import type { Clock } from '../clock.ts';

/** `connecting` is everything before the flash is looked at: reset, identification, start of the stub. */
export const PHASES = ['connecting', 'comparing', 'reading', 'verifying'] as const;
export type Phase = (typeof PHASES)[number];

export class Phases {
  readonly #clock: Clock;
  readonly #ms: Record<Phase, number> = { connecting: 0, comparing: 0, reading: 0, verifying: 0 };
  #current: Phase = 'connecting';
  #sinceMs: number;

  constructor(clock: Clock, startedAtMs: number) {
    this.#clock = clock;
    this.#sinceMs = startedAtMs;
  }

  /** @returns the phase that ends with this */
  begin(phase: Phase): Phase {
    const before = this.#current;
    this.#count();
    this.#current = phase;
    return before;
  }

  /** Up to now, in seconds to the millisecond. */
  seconds(): Record<Phase, number> {
    this.#count();
    const seconds = (phase: Phase) => Math.round(this.#ms[phase]) / 1000;
    return {
      connecting: seconds('connecting'),
      comparing: seconds('comparing'),
      reading: seconds('reading'),
      verifying: seconds('verifying'),
    };
  }

  #count(): void {
    const now = this.#clock.now();
    this.#ms[this.#current] += now - this.#sinceMs;
    this.#sinceMs = now;
  }
}
