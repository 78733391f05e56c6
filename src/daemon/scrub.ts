/**
 * The service hashes the archive again, bit by bit: at most a share of the time, and not while boards are worked on. A
 * pass that was broken off (the service was restarted, the machine switched off) goes on with what was not reached.
 */

import type { Archive } from '../archive/types.ts';
import { type Clock, sleep } from '../clock.ts';
import type { Logger } from '../log.ts';
import type { EventBody } from './event-types.ts';

/** Boards go first, but where there is always one at work, the archive has its turn all the same. */
const LONGEST_WAIT_MS = 10 * 60 * 1000;
/** Between two looks whether the boards are done. */
const LOOK_MS = 5000;
/** Of a huge image, or a disk that was asleep: no rest is longer. */
const LONGEST_REST_MS = 60 * 60 * 1000;

export interface ScrubParts {
  readonly archive: Pick<Archive, 'verify' | 'unfinishedPass'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly emit: (event: EventBody) => void;
  /** Percent of the time that hashing may take, 1 to 100; asked again after each backup. */
  readonly sharePercent: () => number;
  /** Boards are being worked on. */
  readonly isBusy: () => boolean;
}

export class Scrub {
  readonly #parts: ScrubParts;
  #running: Promise<void> | undefined;

  constructor(parts: ScrubParts) {
    this.#parts = parts;
  }

  /**
   * Goes on with the pass that was broken off, or through the whole archive. While it is at it, another call waits for
   * the same. Rejects with the signal's reason, and as {@link Archive.verify}.
   */
  run(signal: AbortSignal): Promise<void> {
    this.#running ??= this.#run(signal).finally(() => (this.#running = undefined));
    return this.#running;
  }

  /** The same, where there is something to go on with. */
  async resume(signal: AbortSignal): Promise<void> {
    const sinceMs = await this.#parts.archive.unfinishedPass();
    if (sinceMs === null || signal.aborted) return;
    this.#parts.log.info('Verifying what was not reached', { since: new Date(sinceMs).toISOString() });
    await this.run(signal);
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { archive, emit } = this.#parts;
    await this.#letBoardsGoFirst(signal);
    const { checked, damaged, unreadable, foreign } = await archive.verify({
      ...{ pass: true, signal },
      onProblem: ({ file, problem, error }) =>
        // At once: a pass takes hours.
        emit({
          ...{ type: 'archive-damaged', file, problem, error: error.toJSON() },
          isDamage: error.code === 'archive-damaged',
        }),
      between: (tookMs) => this.#rest(tookMs, signal),
    });
    signal.throwIfAborted();
    emit({
      ...{ type: 'archive-verified', checked, damaged: damaged.length, unreadable: unreadable.length },
      foreign: foreign.length,
      foreignFiles: foreign.slice(0, 5).map(({ file }) => file),
    });
  }

  async #rest(tookMs: number, signal: AbortSignal): Promise<void> {
    const { clock, sharePercent } = this.#parts;
    const restMs = Math.min(LONGEST_REST_MS, tookMs * (100 / sharePercent() - 1));
    if (restMs > 0) await sleep(clock, restMs, signal);
    await this.#letBoardsGoFirst(signal);
  }

  async #letBoardsGoFirst(signal: AbortSignal): Promise<void> {
    const { clock, isBusy } = this.#parts;
    const startMs = clock.now();
    while (isBusy() && clock.now() - startMs < LONGEST_WAIT_MS) await sleep(clock, LOOK_MS, signal);
  }
}
