/**
 * `npm run bench:host`: what the daemon itself costs, in real time: the built espd in a process of its own, boards in
 * another, behind RFC 2217 on this machine. Ratios within one run are what counts; the machine's load spoils the rest.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** USER_HZ of Linux on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100;
const IDLE_SECONDS = 30;
/** An idle daemon has come to rest: V8 has compiled what it will. */
const SETTLING_SECONDS = 15;

interface Usage {
  readonly cpuSeconds: number;
  readonly residentMb: number;
  readonly peakMb: number;
}

/** The daemon on an empty archive and a watched folder. */
class Daemon {
  readonly #child: ChildProcess;
  readonly #folder: string;
  readonly #waiting = new Set<(line: Record<string, unknown>) => void>();

  private constructor(child: ChildProcess, folder: string) {
    this.#child = child;
    this.#folder = folder;
    for (const stream of [child.stdout, child.stderr]) {
      if (stream === null) continue;
      createInterface({ input: stream }).on('line', (line) => {
        const fields = parse(line);
        if (fields !== undefined) for (const take of this.#waiting) take(fields);
      });
    }
  }

  static async start(full: boolean, reader: 'auto' | 'never' = 'auto'): Promise<Daemon> {
    const folder = await mkdtemp(join(tmpdir(), 'espd-bench-'));
    await mkdir(join(folder, 'ports'));
    const config = [
      `archive: { path: ${JSON.stringify(join(folder, 'archive'))} }`,
      `watch: { folders: [${JSON.stringify(join(folder, 'ports'))}], deny: [{ path: '/dev/*' }] }`,
      'serial: { baudRate: 2000000 }',
      'jobs: { parallel: 32 }',
      `transfer: { full: ${String(full)}, reader: ${reader} }`,
      'log: { format: json }',
      '',
    ];
    await writeFile(join(folder, 'config.yaml'), config.join('\n'));
    const args = [
      '--import',
      './bench/loop-probe.mjs',
      'dist/main.js',
      'daemon',
      '--config',
      join(folder, 'config.yaml'),
    ];
    const child = spawn(process.execPath, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
    const daemon = new Daemon(child, folder);
    await daemon.#lines(1, ({ message }) => message === 'Watching for boards');
    return daemon;
  }

  /** Plugs boards in at once, and resolves to the seconds each took, when all are backed up. */
  async backUp(addresses: readonly string[]): Promise<number[]> {
    const done = this.#lines(addresses.length, ({ message, level }) => {
      if (level === 'error') throw new Error(`the daemon reports: ${String(message)}`);
      return message === 'Backed up and verified';
    });
    const plug = (address: string, index: number) => symlink(address, join(this.#folder, 'ports', `board${index}`));
    await Promise.all(addresses.map(plug));
    return (await done).map(({ seconds }) => Number(seconds));
  }

  /** Longest time for which the event loop was held up since the last call, in ms. */
  async loopDelay(): Promise<{ longestMs: number; p99Ms: number }> {
    const line = this.#lines(1, ({ longestMs }) => longestMs !== undefined);
    this.#child.kill('SIGUSR2');
    const [fields] = await line;
    return { longestMs: Number(fields?.['longestMs']), p99Ms: Number(fields?.['p99Ms']) };
  }

  usage(): Usage {
    const pid = String(this.#child.pid);
    // proc_pid_stat(5): utime and stime are fields 14 and 15; the name in field 2 may hold blanks.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const megabytes = (key: string) => Number(new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) / 1024;
    return {
      cpuSeconds: (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND,
      residentMb: megabytes('VmRSS'),
      peakMb: megabytes('VmHWM'),
    };
  }

  async stop(): Promise<void> {
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    await ended;
    await rm(this.#folder, { recursive: true });
  }

  /** The next `count` log lines that are wanted. */
  #lines(count: number, wanted: (line: Record<string, unknown>) => boolean): Promise<Record<string, unknown>[]> {
    return new Promise((resolve, reject) => {
      const lines: Record<string, unknown>[] = [];
      const take = (line: Record<string, unknown>) => {
        try {
          if (!wanted(line)) return;
          if (lines.push(line) < count) return;
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
        }
        this.#waiting.delete(take);
        resolve(lines);
      };
      this.#waiting.add(take);
      this.#child.once('exit', () => reject(new Error('the daemon has ended')));
    });
  }
}

function parse(line: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}

/** Boards that are served until `work` is done. */
async function withBoards<T>(
  boards: { count: number; sizeMib: number; appBytes: number },
  work: (addresses: string[]) => Promise<T>,
): Promise<T> {
  const { count, sizeMib, appBytes } = boards;
  const args = ['--import', './scripts/tsx.mjs', 'bench/boards.ts', String(count), String(sizeMib), String(appBytes)];
  const child = spawn(process.execPath, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'inherit'] });
  const addresses: string[] = [];
  try {
    for await (const line of createInterface({ input: child.stdout })) if (addresses.push(line) === count) break;
    return await work(addresses);
  } finally {
    child.kill();
  }
}

async function idle(): Promise<void> {
  const daemon = await Daemon.start(false);
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
    const daemon = await Daemon.start(full);
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
      const daemon = await Daemon.start(true, reader);
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
