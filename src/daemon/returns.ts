/** Boards that went away because they were reset, and are to come back: whoever stays away is told of. */

import type { Clock } from '../clock.ts';
import { type ResetInto, slotKey } from '../plugs/slots.ts';
import type { PortInfo } from '../serial/ports.ts';

export class Returns {
  readonly #clock: Clock;
  readonly #onMissing: (port: PortInfo, into: ResetInto) => void;
  readonly #awaited = new Map<string, () => void>();

  /** @param onMissing called once for a board that has not come back in time */
  constructor(clock: Clock, onMissing: (port: PortInfo, into: ResetInto) => void) {
    this.#clock = clock;
    this.#onMissing = onMissing;
  }

  /** `port` has gone, or is going; its board is waited for from now on, `waitMs` long. */
  expect(port: PortInfo, into: ResetInto, waitMs: number): void {
    const key = slotKey(port);
    this.#awaited.get(key)?.();
    const cancel = this.#clock.schedule(waitMs, () => {
      this.#awaited.delete(key);
      this.#onMissing(port, into);
    });
    this.#awaited.set(key, cancel);
  }

  /** Something is there again, at the place of `port`. */
  came(port: PortInfo): void {
    const key = slotKey(port);
    this.#awaited.get(key)?.();
    this.#awaited.delete(key);
  }

  close(): void {
    for (const cancel of this.#awaited.values()) cancel();
    this.#awaited.clear();
  }
}
