/**
 * `npm run bench:load`: 8 boards read at full rate by the built daemon, alone and beside so many questions a second to its
 * API, in turn. The ratio counts: what the machine does otherwise is the same for both, more or less.
 */

import { Agent, request } from 'node:http';
import { loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { Daemon, withBoards } from './daemon.ts';

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '3' }, rate: { type: 'string', default: '1000' } },
});
const [rounds, rate] = [Number(values.rounds), Number(values.rate)];
const BOARDS = { count: 8, sizeMib: 2, appBytes: 1_150_000 };
/** What USB bridges are run at, and what 8 of them at a time ask of a machine. */
const BAUD_RATE = 921_600;
/** Questions that wait for an answer at most; more are not asked, and the rate is missed. */
const MOST_OPEN = 64;
const TICK_MS = 5;

/** Asks for the status at a steady rate until it is stopped. */
class Asker {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: MOST_OPEN });
  readonly #socketPath: string;
  readonly #startMs = performance.now();
  readonly #timer: NodeJS.Timeout;
  readonly #waitedMs: number[] = [];
  #open = 0;
  #asked = 0;
  #failed = 0;

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  /** Answers a second, how long the slowest hundredth waited, and how many were no answer. */
  stop(): { readonly perSecond: number; readonly p99Ms: number; readonly failed: number } {
    clearInterval(this.#timer);
    const seconds = (performance.now() - this.#startMs) / 1000;
    this.#agent.destroy();
    const sorted = this.#waitedMs.toSorted((a, b) => a - b);
    return {
      perSecond: sorted.length / seconds,
      p99Ms: sorted[Math.floor(sorted.length * 0.99)] ?? NaN,
      failed: this.#failed,
    };
  }

  #tick(): void {
    const due = ((performance.now() - this.#startMs) / 1000) * rate;
    while (this.#asked < due && this.#open < MOST_OPEN) this.#ask();
    // What could not be asked in time is not asked later in a burst.
    this.#asked = Math.max(this.#asked, Math.floor(due));
  }

  #ask(): void {
    this.#asked++;
    this.#open++;
    const sinceMs = performance.now();
    let isOver = false;
    const end = (isAnswer: boolean) => {
      if (isOver) return;
      isOver = true;
      this.#open--;
      if (isAnswer) this.#waitedMs.push(performance.now() - sinceMs);
      else this.#failed++;
    };
    const asking = request({ socketPath: this.#socketPath, path: '/v1/status', agent: this.#agent }, (response) => {
      response.resume();
      response.once('end', () => end(response.statusCode === 200));
      response.once('error', () => end(false));
    });
    asking.once('error', () => end(false));
    asking.end();
  }
}

interface Round {
  /** Of each board, from the open to the close. */
  readonly seconds: readonly number[];
  /** Of a core that the daemon took. */
  readonly cores: number;
  readonly answers?: ReturnType<Asker['stop']>;
}

async function round(isAsked: boolean): Promise<Round> {
  return withBoards(BOARDS, async (addresses) => {
    const daemon = await Daemon.start({ full: true, reader: 'never', baudRate: BAUD_RATE });
    try {
      const asker = isAsked ? new Asker(daemon.socketPath) : undefined;
      const [before, startMs] = [daemon.usage(), performance.now()];
      const seconds = await daemon.backUp(addresses);
      const cores = (daemon.usage().cpuSeconds - before.cpuSeconds) / ((performance.now() - startMs) / 1000);
      return { seconds, cores, ...(asker && { answers: asker.stop() }) };
    } finally {
      await daemon.stop();
    }
  });
}

const mean = (numbers: readonly number[]) => numbers.reduce((sum, one) => sum + one, 0) / numbers.length;
const median = (numbers: readonly number[]) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? NaN;
const load = () => loadavg()[0]?.toFixed(1) ?? '';
const say = (text: string) => void process.stdout.write(`${text}\n`);

const { count, sizeMib } = BOARDS;
say(`${count} boards, ${sizeMib} MB each, --full by the stub at ${BAUD_RATE} baud; ${rate} times a second /v1/status`);
say(`load: ${load()} before`);
const means: Record<'alone' | 'asked', number[]> = { alone: [], asked: [] };
for (let number = 1; number <= rounds; number++) {
  for (const how of ['alone', 'asked'] as const) {
    const { seconds, cores, answers } = await round(how === 'asked');
    means[how].push(mean(seconds));
    const asked =
      answers === undefined
        ? ''
        : `; ${answers.perSecond.toFixed(0)} answers a second, 99 % within ${answers.p99Ms.toFixed(0)} ms, ${answers.failed} failed`;
    const each = `${mean(seconds).toFixed(2)} s a board (slowest ${Math.max(...seconds).toFixed(2)} s)`;
    say(`round ${number}, ${how}: ${each}, daemon ${(cores * 100).toFixed(0)} % of a core${asked}; load ${load()}`);
  }
}
const ratio = median(means.alone) / median(means.asked);
say(`rate beside the questions over rate alone, medians of ${rounds} rounds: ${(ratio * 100).toFixed(1)} %`);
