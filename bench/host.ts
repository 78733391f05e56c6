/**
 * `npm run bench:host`: what the daemon itself costs, in real time: the built espd in a process of its own, boards in
 * another, behind RFC 2217 on this machine. Ratios within one run are what counts; the machine's load spoils the rest.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { Daemon, withBoards } from './daemon.ts';

const IDLE_SECONDS = 30;
/** An idle daemon has come to rest: V8 has compiled what it will. */
const SETTLING_SECONDS = 15;

async function idle(): Promise<void> {
  const daemon = await Daemon.start({ full: false });
  await sleep(SETTLING_SECONDS * 1000);
  const before = daemon.usage();
  await sleep(IDLE_SECONDS * 1000);
  const after = daemon.usage();
  const share = (after.cpuSeconds - before.cpuSeconds) / IDLE_SECONDS;
  say('idle daemon', `${percent(share, 2)} CPU, ${after.residentMb.toFixed(0)} MB resident`);
  await daemon.stop();
}

/** @returns seconds of each board */
async function atOnce(name: string, boards: { count: number; sizeMib: number; appBytes: number }, full: boolean) {
  return withBoards(boards, async (addresses) => {
    const daemon = await Daemon.start({ full });
    await daemon.loopDelay();
    const [before, start] = [daemon.usage(), performance.now()];
    const seconds = await daemon.backUp(addresses);
    const [after, wallSeconds] = [daemon.usage(), (performance.now() - start) / 1000];
    const { longestMs, p99Ms } = await daemon.loopDelay();
    const cores = (after.cpuSeconds - before.cpuSeconds) / wallSeconds;
    const slowest = Math.max(...seconds);
    say(
      name,
      `${percent(cores)} of a core, ${after.peakMb.toFixed(0)} MB resident at most, ` +
        `event loop held up ${longestMs.toFixed(0)} ms at most (p99 ${p99Ms.toFixed(1)} ms), ` +
        `${slowest.toFixed(1)} s for the slowest board`,
    );
    await daemon.stop();
    return seconds;
  });
}

/** What the daemon's own work on a board costs through the stub alone and through the reader, the same boards each time. */
async function byReader(name: string, appBytes: number): Promise<void> {
  const boards = { count: 4, sizeMib: 4, appBytes };
  const seconds: Record<string, number> = {};
  for (const reader of ['never', 'auto'] as const) {
    seconds[reader] = await withBoards(boards, async (addresses) => {
      const daemon = await Daemon.start({ full: true, reader });
      const before = daemon.usage();
      await daemon.backUp(addresses);
      const after = daemon.usage();
      await daemon.stop();
      return after.cpuSeconds - before.cpuSeconds;
    });
  }
  const { never = NaN, auto = NaN } = seconds;
  const each = (cpuSeconds: number) => `${((cpuSeconds * 1000) / (boards.count * boards.sizeMib)).toFixed(0)} ms a MiB`;
  say(name, `CPU ${each(never)} by the stub, ${each(auto)} by the reader: ${(auto / never).toFixed(2)}`);
}

function say(name: string, text: string): void {
  process.stdout.write(`${name}: ${text}\n`);
}

function percent(share: number, digits = 1): string {
  return `${(share * 100).toFixed(digits)} %`;
}

await idle();
const one = { sizeMib: 4, appBytes: 1_150_000 };
const [single = NaN] = await atOnce('1 board, 4 MB, --full, 2000000 baud', { count: 1, ...one }, true);
const many = await atOnce('16 boards, 4 MB, --full, 2000000 baud', { count: 16, ...one }, true);
say('throughput of each of 16 against one alone', many.map((seconds) => (single / seconds).toFixed(2)).join(' '));
await atOnce('1 board, 16 MB', { count: 1, sizeMib: 16, appBytes: 1_150_000 }, false);
await atOnce('32 boards, 16 MB', { count: 32, sizeMib: 16, appBytes: 1_150_000 }, false);
await byReader('4 boards, 4 MB of firmware, --full', 0);
await byReader('4 boards, 4 MB, half of it noise, --full', 2 * 1024 * 1024);
