/** Ports that come and go by themselves: each is left alone for a while, and then gets one try if it is there. */

import type { Clock } from '../clock.ts';
import { LOOP_REST_MS, slotKey } from '../plugs/slots.ts';
import type { PortInfo } from '../serial/ports.ts';

export class Rests {
  readonly #clock: Clock;
  readonly #onOver: (key: string) => void;
  /** Ends of the rests, by slot. */
  readonly #rests = new Map<string, () => void>();

  /** @param onOver called with the slot whose rest is over */
  constructor(clock: Clock, onOver: (key: string) => void) {
    this.#clock = clock;
    this.#onOver = onOver;
  }

  /** @returns how long it rests, in milliseconds */
  begin(port: PortInfo): number {
    const key = slotKey(port);
    this.#rests.get(key)?.();
    const cancel = this.#clock.schedule(LOOP_REST_MS, () => {
      this.#rests.delete(key);
      this.#onOver(key);
    });
    this.#rests.set(key, cancel);
    return LOOP_REST_MS;
  }

  close(): void {
    for (const cancel of this.#rests.values()) cancel();
    this.#rests.clear();
  }
}
