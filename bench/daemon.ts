/** The built espd as a daemon in a process of its own, and boards in another, for what is measured in real time. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** USER_HZ of Linux on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100;
export interface Usage {
  readonly cpuSeconds: number;
  readonly residentMb: number;
  readonly peakMb: number;
}

export interface DaemonOptions {
  readonly full: boolean;
  /** Default auto. */
  readonly reader?: 'auto' | 'never';
  /** Default 2,000,000. */
  readonly baudRate?: number;
}

/** The daemon on an empty archive and a watched folder. */
export class Daemon {
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

  static async start({ full, reader = 'auto', baudRate = 2_000_000 }: DaemonOptions): Promise<Daemon> {
    const folder = await mkdtemp(join(tmpdir(), 'espd-bench-'));
    await mkdir(join(folder, 'ports'));
    const config = [
      `archive: { path: ${JSON.stringify(join(folder, 'archive'))} }`,
      `watch: { folders: [${JSON.stringify(join(folder, 'ports'))}], deny: [{ path: '/dev/*' }] }`,
      `serial: { baudRate: ${baudRate} }`,
      'jobs: { parallel: 32 }',
      `transfer: { full: ${String(full)}, reader: ${reader} }`,
      'log: { format: json }',
      `api: { socket: ${JSON.stringify(join(folder, 'espd.sock'))} }`,
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

  /** Of its API. */
  get socketPath(): string {
    return join(this.#folder, 'espd.sock');
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
export async function withBoards<T>(
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
