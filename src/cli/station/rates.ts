/** How fast each port goes: bytes of flash of the phase that runs, by the times of the daemon's own events. */

import type { ServiceEvent } from '../../daemon/event-types.ts';

/** Before a phase has lasted so long, its rate says nothing. */
const TELLING_MS = 1000;

export class Rates {
  readonly #since = new Map<string, { readonly phase: string; readonly atMs: number; readonly doneBytes: number }>();
  readonly #rates = new Map<string, number>();

  /** Bytes a second, by port. */
  get all(): ReadonlyMap<string, number> {
    return this.#rates;
  }

  onEvent(event: ServiceEvent): void {
    if (event.type === 'job-started' || event.type === 'job-ended') {
      if (event.port !== null) this.#forget(event.port);
      return;
    }
    if (event.type !== 'job-progress' || event.port === null) return;
    const { port, phase, doneBytes } = event;
    const atMs = Date.parse(event.at);
    const since = this.#since.get(port);
    if (doneBytes === null || since?.phase !== phase || doneBytes < since.doneBytes) {
      this.#forget(port);
      if (doneBytes !== null) this.#since.set(port, { phase, atMs, doneBytes });
      return;
    }
    const rate = ((doneBytes - since.doneBytes) / (atMs - since.atMs)) * 1000;
    if (atMs - since.atMs >= TELLING_MS && rate > 0) this.#rates.set(port, rate);
  }

  clear(): void {
    this.#since.clear();
    this.#rates.clear();
  }

  #forget(port: string): void {
    this.#since.delete(port);
    this.#rates.delete(port);
  }
}
