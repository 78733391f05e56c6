/** Tells that the disk of the archive is nearly full, before a backup has to be refused. */

import { keptFree } from '../archive/free-space.ts';
import type { Clock } from '../clock.ts';
import type { Logger } from '../log.ts';
import type { EventBody, ServiceEvent } from './event-types.ts';

/** Between two looks where nothing is added. */
const PERIOD_MS = 15 * 60 * 1000;
/** Room for so many images of the largest usual flash, beyond what is to stay free: some days of work. */
const WARNED_IMAGES = 16;
const IMAGE_BYTES = 16 * 1024 * 1024;

export interface DiskWatchParts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly emit: (event: EventBody) => void;
  /** Folder of the archive. */
  readonly path: string;
  /** What the archive leaves free, in bytes; null = its default. */
  readonly minFreeBytes: number | null;
  readonly look: () => Promise<{ readonly freeBytes: number; readonly diskBytes: number }>;
}

export class DiskWatch {
  readonly #parts: DiskWatchParts;
  #isLow = false;
  #isStopped = false;
  #cancel: () => void = () => undefined;

  constructor(parts: DiskWatchParts) {
    this.#parts = parts;
  }

  /** Looks now, and now and then. */
  start(): void {
    void this.#look();
  }

  /** To be subscribed: a backup takes room, a removal gives some. */
  readonly onEvent = ({ type }: ServiceEvent): void => {
    if (type === 'backup-kept' || type === 'pruned') void this.#look();
  };

  stop(): void {
    this.#isStopped = true;
    this.#cancel();
  }

  async #look(): Promise<void> {
    const { clock, emit, log, look, minFreeBytes, path } = this.#parts;
    this.#cancel();
    try {
      const { freeBytes, diskBytes } = await look();
      const wantedBytes = keptFree(minFreeBytes, diskBytes) + WARNED_IMAGES * IMAGE_BYTES;
      const isLow = freeBytes < wantedBytes;
      // Once for each time that it becomes low.
      if (isLow && !this.#isLow && !this.#isStopped) emit({ type: 'disk-low', path, freeBytes, wantedBytes });
      this.#isLow = isLow;
    } catch (error) {
      log.debug('The disk of the archive cannot be looked at', { path, error: String(error) });
    }
    this.#cancel();
    if (!this.#isStopped) this.#cancel = clock.schedule(PERIOD_MS, () => void this.#look());
  }
}
