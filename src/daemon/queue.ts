/** Runs jobs side by side: at most so many at once, one a port. The only place where every error is caught. */

import { type EspdError, toEspdError } from '../errors.ts';

/** What to do, and whom to tell. The callbacks must not throw. */
export interface Job {
  /** At most one job with the same key waits or runs. */
  readonly key: string;
  /** Nobody stands beside it: those that do not yield have their turn first. */
  readonly yields?: boolean;
  readonly work: () => Promise<void>;
  /** Called in the moment in which the job gets its place; `work` is called one step later. */
  readonly onBegin?: () => void;
  /** Gets whatever `work` throws or rejects with. */
  readonly onError: (error: EspdError) => void;
  /** Called when the job has ended and its key is free again; not for a job that never started. */
  readonly onEnd?: () => void;
}

export class JobQueue {
  #parallel: number;
  readonly #active = new Map<string, Promise<void>>();
  #waiting: Job[] = [];
  #closed = false;

  constructor(parallel: number) {
    this.#parallel = parallel;
  }

  /** Fewer than run now: those that run go on, and nothing starts until there is room. */
  set parallel(value: number) {
    this.#parallel = value;
    this.#pump();
  }

  get activeCount(): number {
    return this.#active.size;
  }

  get waitingCount(): number {
    return this.#waiting.length;
  }

  /** Whether a job with this key waits or runs. */
  has(key: string): boolean {
    return this.#active.has(key) || this.#waiting.some((waiting) => waiting.key === key);
  }

  /** Runs `job` as soon as there is room; false when its key is taken or the queue is closed. */
  add(job: Job): boolean {
    if (this.#closed || this.has(job.key)) return false;
    this.#waiting.push(job);
    this.#pump();
    return true;
  }

  /** Forgets a job that has not started; false where none waits. */
  cancel(key: string): boolean {
    const before = this.#waiting.length;
    this.#waiting = this.#waiting.filter((waiting) => waiting.key !== key);
    return this.#waiting.length < before;
  }

  /** Starts nothing any more; resolves when all that runs has ended. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#waiting = [];
    await Promise.all(this.#active.values());
  }

  #pump(): void {
    while (this.#active.size < this.#parallel) {
      const next = this.#waiting.find(({ yields }) => yields !== true) ?? this.#waiting[0];
      if (next === undefined) return;
      this.#waiting = this.#waiting.filter((waiting) => waiting !== next);
      // Begins one step later: only so it counts as active from its first moment on.
      this.#active.set(
        next.key,
        Promise.resolve().then(() => this.#run(next)),
      );
      next.onBegin?.();
    }
  }

  async #run({ key, work, onError, onEnd }: Job): Promise<void> {
    try {
      if (!this.#closed) await work();
    } catch (error) {
      onError(toEspdError(error));
    } finally {
      this.#active.delete(key);
      onEnd?.();
      this.#pump();
    }
  }
}
