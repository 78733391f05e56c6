/**
 * A clock whose time passes only when nothing else is left to do, so that a timeout of ten seconds costs nothing and
 * always ends the same way.
 *
 * While timers are pending the clock watches turns of the event loop (setImmediate). After {@link QUIET_TURNS} turns in
 * which nobody scheduled or cancelled anything, it jumps to the next timer and runs it: one at a time, in order of time,
 * then of scheduling. With no timer pending it does nothing at all and does not keep the process alive.
 *
 * Requests to the file system in flight are seen and waited for, and so is a worker thread for which the process is kept
 * alive. Other work outside the program (sockets, child processes, zlib and crypto on other threads) does not show:
 * before a jump of a second and more the clock waits {@link FAR_JUMP_QUIET_MS} of real time for it; what may take longer
 * must {@link VirtualClock.hold} the clock.
 */

import type { Clock } from '../clock.ts';

const QUIET_TURNS = 2;
const FAR_JUMP_MS = 1000;
const FAR_JUMP_QUIET_MS = 5;

/** Resources of Node whose presence means that the program still waits for real work (process.getActiveResourcesInfo). */
const REAL_WORK = new Set(['FSReqCallback', 'FSReqPromise', 'CloseReq', 'MessagePort']);

interface Timer {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
  cancelled: boolean;
}

export interface VirtualClockOptions {
  /** What {@link VirtualClock.date} gives at the start. */
  readonly startDate?: Date;
  /** False: time moves only by {@link VirtualClock.advance}. */
  readonly automatic?: boolean;
}

export class VirtualClock implements Clock {
  readonly #startDateMs: number;
  readonly #automatic: boolean;
  readonly #timers: Timer[] = [];
  #nowMs = 0;
  #nextOrder = 0;
  #holds = 0;
  #activity = 0;
  #pumping = false;

  constructor(options: VirtualClockOptions = {}) {
    this.#startDateMs = (options.startDate ?? new Date('2026-11-23T10:00:00.000Z')).getTime();
    this.#automatic = options.automatic ?? true;
  }

  now(): number {
    return this.#nowMs;
  }

  date(): Date {
    return new Date(this.#startDateMs + Math.floor(this.#nowMs));
  }

  /** How many timers are waiting. */
  get pendingTimers(): number {
    return this.#timers.reduce((count, timer) => count + (timer.cancelled ? 0 : 1), 0);
  }

  schedule(delayMs: number, callback: () => void): () => void {
    const timer: Timer = {
      at: this.#nowMs + (delayMs > 0 ? delayMs : 0),
      order: this.#nextOrder++,
      run: callback,
      cancelled: false,
    };
    heapPush(this.#timers, timer);
    this.#activity++;
    this.#pump();
    return () => {
      timer.cancelled = true;
      this.#activity++;
    };
  }

  /** Keeps time still until the function returned is called (once; further calls do nothing). */
  hold(): () => void {
    this.#holds++;
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#holds--;
      this.#activity++;
      this.#pump();
    };
  }

  /** Keeps time still while `work` is under way. */
  async holdDuring<T>(work: Promise<T>): Promise<T> {
    const release = this.hold();
    try {
      return await work;
    } finally {
      release();
    }
  }

  /** Moves time on by `durationMs`, running every timer that falls due on the way, each after the loop is quiet. */
  async advance(durationMs: number): Promise<void> {
    const until = this.#nowMs + durationMs;
    for (;;) {
      await quietTurns();
      const next = this.#peek();
      if (next === undefined || next.at > until) break;
      this.#runNext();
    }
    this.#nowMs = Math.max(this.#nowMs, until);
  }

  /** Forgets all timers, so that a forgotten periodic one cannot keep a test process alive. */
  clear(): void {
    this.#timers.length = 0;
  }

  #pump(): void {
    if (!this.#automatic || this.#pumping || this.#holds > 0 || this.#peek() === undefined) return;
    this.#pumping = true;
    let seen = this.#activity;
    let quiet = 0;
    let quietSince = performance.now();
    const turn = () => {
      if (this.#holds > 0 || this.#peek() === undefined) {
        this.#pumping = false; // hold's release, or the next schedule, starts again
        return;
      }
      if (seen !== this.#activity) {
        seen = this.#activity;
        quiet = 0;
        quietSince = performance.now();
      } else if (++quiet >= QUIET_TURNS && !realWorkUnderWay() && this.#mayJump(quietSince)) {
        quiet = 0;
        quietSince = performance.now();
        // Before the timer runs, the next turn is booked: a callback that throws must not stop time for the others.
        setImmediate(turn);
        this.#runNext();
        return;
      }
      setImmediate(turn);
    };
    setImmediate(turn);
  }

  #mayJump(quietSince: number): boolean {
    const next = this.#peek();
    if (next === undefined || next.at - this.#nowMs < FAR_JUMP_MS) return true;
    return performance.now() - quietSince >= FAR_JUMP_QUIET_MS;
  }

  #runNext(): void {
    const timer = heapPop(this.#timers);
    if (timer === undefined) return;
    this.#nowMs = Math.max(this.#nowMs, timer.at);
    timer.run();
  }

  #peek(): Timer | undefined {
    while (this.#timers[0]?.cancelled === true) heapPop(this.#timers);
    return this.#timers[0];
  }
}

function realWorkUnderWay(): boolean {
  return process.getActiveResourcesInfo().some((name) => REAL_WORK.has(name));
}

async function quietTurns(): Promise<void> {
  for (let turn = 0; turn <= QUIET_TURNS || realWorkUnderWay(); turn++) {
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

function before(a: Timer, b: Timer): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

function heapPush(heap: Timer[], timer: Timer): void {
  let index = heap.length;
  heap.push(timer);
  while (index > 0) {
    const parent = (index - 1) >> 1;
    const above = heap[parent];
    if (above === undefined || !before(timer, above)) break;
    heap[index] = above;
    index = parent;
  }
  heap[index] = timer;
}

function heapPop(heap: Timer[]): Timer | undefined {
  const first = heap[0];
  const last = heap.pop();
  if (first === undefined || last === undefined || heap.length === 0) return first;
  let index = 0;
  for (;;) {
    let child = 2 * index + 1;
    let smaller = heap[child];
    if (smaller === undefined) break;
    const right = heap[child + 1];
    if (right !== undefined && before(right, smaller)) {
      smaller = right;
      child++;
    }
    if (!before(smaller, last)) break;
    heap[index] = smaller;
    index = child;
  }
  heap[index] = last;
  return first;
}
