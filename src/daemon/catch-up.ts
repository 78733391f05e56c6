/**
 * Work whose time came while nobody was there: a machine that is switched off every night would else never prune.
 *
 * What is kept is when each task is due next, in a file of the archive's cache: a task that was due is missed until it has
 * run through. If the file is lost, or the schedule was changed, nothing counts as missed.
 */

import type { ArchiveCache } from '../archive/types.ts';
import type { Clock } from '../clock.ts';
import type { Logger } from '../log.ts';

const FILE = 'schedule.json';
/** After the start boards are plugged in and udev is at work: nobody waits for a prune then. */
const DELAY_MS = 5 * 60 * 1000;
/** Between two looks whether the boards are done. */
const LOOK_MS = 60 * 1000;

/** More than a few tasks are none of ours. */
const MAX_BYTES = 16 * 1024;

/** When a task is due next. */
interface Due {
  /** The schedule, as a text. */
  readonly by: string;
  /** ISO 8601 UTC. */
  readonly next: string;
}

function isDue(value: unknown): value is Due {
  if (typeof value !== 'object' || value === null) return false;
  return 'by' in value && typeof value.by === 'string' && 'next' in value && typeof value.next === 'string';
}

export interface CatchUpParts {
  readonly cache: ArchiveCache;
  readonly clock: Clock;
  readonly log: Logger;
  /** Boards are being worked on: what was missed can wait. */
  readonly isBusy: () => boolean;
}

/** When tasks are due next; one for all tasks of a process. No call rejects. */
export class CatchUp {
  readonly #parts: CatchUpParts;
  /** Reads and writes one after the other: the file is replaced as a whole. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(parts: CatchUpParts) {
    this.#parts = parts;
  }

  /** Notes when a task is due next. @param by the schedule, as a text */
  note(task: string, by: string, next: Date): Promise<void> {
    return this.#inTurn(async () => {
      const entries = (await this.#read()).set(task, { by, next: next.toISOString() });
      await this.#parts.cache.write(FILE, `${JSON.stringify(Object.fromEntries(entries))}\n`);
    });
  }

  /** Whether the task was due by this schedule, and has not run since. */
  wasMissed(task: string, by: string): Promise<boolean> {
    return this.#inTurn(async () => {
      const found = (await this.#read()).get(task);
      return found?.by === by && Date.parse(found.next) <= this.#parts.clock.date().getTime();
    });
  }

  /** Runs `work` in some minutes, and not before the boards are done. @returns cancels it */
  later(task: string, work: () => void): () => void {
    const { clock, isBusy, log } = this.#parts;
    let cancel: () => void;
    const look = () => {
      if (isBusy()) cancel = clock.schedule(LOOK_MS, look);
      else work();
    };
    log.info('Missed while nothing ran here: will be made up for in some minutes', { task });
    cancel = clock.schedule(DELAY_MS, look);
    return () => cancel();
  }

  /** The file is a hint: whatever else is in it means nothing. */
  async #read(): Promise<Map<string, Due>> {
    const bytes = await this.#parts.cache.read(FILE);
    if (bytes === undefined || bytes.length > MAX_BYTES) return new Map();
    try {
      const content: unknown = JSON.parse(bytes.toString('utf8'));
      return new Map(Object.entries(content ?? {}).flatMap(([task, due]) => (isDue(due) ? [[task, due]] : [])));
    } catch {
      return new Map();
    }
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => undefined);
    return result;
  }
}
