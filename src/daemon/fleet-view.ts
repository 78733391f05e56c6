/**
 * The service knows what the fleet holds before a board asks: the archive is looked around when the service has started,
 * and now and then, since other programs add to it as well. So no plug-in waits for the number of boards.
 */

import type { Archive } from '../archive/types.ts';
import { type Clock, unlessAborted } from '../clock.ts';
import type { Logger } from '../log.ts';

/** Sooner than what was seen counts as old (`Archive.lookAround`). */
const PERIOD_MS = 15 * 60 * 1000;

export interface FleetViewParts {
  readonly archive: Pick<Archive, 'lookAround'>;
  readonly clock: Clock;
  readonly log: Logger;
}

export class FleetView {
  readonly #parts: FleetViewParts;
  readonly #stopping = new AbortController();
  #cancel: (() => void) | undefined;

  constructor(parts: FleetViewParts) {
    this.#parts = parts;
  }

  /** The first look begins at once, and nobody waits for it. */
  start(): void {
    if (this.#stopping.signal.aborted) return;
    void this.#look();
  }

  /** Waits for no disk. */
  stop(): void {
    this.#stopping.abort();
    this.#cancel?.();
  }

  async #look(): Promise<void> {
    const { archive, clock, log } = this.#parts;
    const startMs = clock.now();
    try {
      const { signal } = this.#stopping;
      await unlessAborted(archive.lookAround(signal), signal);
      log.debug('Looked around in the archive', { tookMs: Math.round(clock.now() - startMs) });
    } catch (error) {
      if (!this.#stopping.signal.aborted) log.debug('The archive cannot be looked at', { error: String(error) });
    }
    if (!this.#stopping.signal.aborted) this.#cancel = clock.schedule(PERIOD_MS, () => this.start());
  }
}
