/** One of the stations: its folder, its way to the store, and commands as processes that may be killed. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { hasCode } from '../../../src/errors.ts';
import type { Archive } from '../../../src/archive/types.ts';
import { Bench } from '../../support/cli.ts';
import type { Files } from './bucket.ts';
import type { FaultyProxy } from './faulty-proxy.ts';

const WRONG_CLOCK = fileURLToPath(new URL('wrong-clock.mjs', import.meta.url));
/** What retention keeps in the bucket of each board: so many, its first one, and what is pinned. */
export const KEEP_LAST = 3;
/** Whatever takes longer hangs. */
const LIMIT_MS = 180_000;
/** What no fault of a store, no kill and no other process excuses. */
const NEVER = new Set(['internal', 'usage', 'config-invalid', 'archive-damaged', 'store-damaged']);

export interface Run {
  readonly wasKilled: boolean;
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface StationOptions {
  readonly proxy: FaultyProxy;
  readonly prefix: string;
  readonly clockWrongMs: number;
  /** Programs. */
  readonly espd: string;
  readonly maker: string;
}

export class Station {
  readonly name: string;
  readonly bench: Bench;
  readonly archive: Archive;
  /** Nothing of what it has sent is under way any more. */
  readonly quiet: () => Promise<void>;
  readonly #options: StationOptions;
  readonly #t: TestContext;

  private constructor(t: TestContext, name: string, bench: Bench, quiet: () => Promise<void>, options: StationOptions) {
    this.#t = t;
    this.name = name;
    this.bench = bench;
    this.archive = bench.archive;
    this.quiet = quiet;
    this.#options = options;
  }

  static async open(t: TestContext, name: string, options: StationOptions): Promise<Station> {
    const bench = await Bench.open(t);
    const way = await options.proxy.open();
    await bench.configure({
      archive: { statePath: join(bench.folder, 'state'), local: 'newest 2' },
      store: {
        ...{
          endpoint: way.endpoint,
          region: 'us-east-1',
          bucket: 'boards',
          prefix: options.prefix,
          encryption: 'none',
        },
        ...{ retention: { keepLast: KEEP_LAST }, grace: '7d' },
      },
    });
    return new Station(t, name, bench, () => way.quiet(), options);
  }

  get clockWrongMs(): number {
    return this.#options.clockWrongMs;
  }

  /** The name that it has given itself; undefined before it was needed. */
  async journalName(): Promise<string | undefined> {
    const file = join(this.bench.folder, 'state', 'replication', 'station.json');
    const text = await readFile(file, 'utf8').catch(() => 'null');
    return (JSON.parse(text) as { name: string } | null)?.name;
  }

  /** A command of espd. */
  espd(args: readonly string[], killAfterMs: number | null = null): Promise<Run> {
    return this.#run([this.#options.espd, ...args], killAfterMs);
  }

  make(
    what: { mac: string; seed: number; sizeBytes: number; createdAt: string },
    killAfterMs: number | null,
  ): Promise<Run> {
    const all = { ...what, archivePath: this.bench.archivePath, host: this.name };
    return this.#run([this.#options.maker, JSON.stringify(all)], killAfterMs);
  }

  async #run(args: readonly string[], killAfterMs: number | null): Promise<Run> {
    const child = spawn(process.execPath, ['--import', WRONG_CLOCK, ...args], {
      cwd: this.bench.folder,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...{ PATH: process.env['PATH'], TMPDIR: process.env['TMPDIR'], HOME: this.bench.folder },
        ...{ ESPD_CONFIG: this.bench.configPath, ESPD_NO_DAEMON: '1', NODE_NO_WARNINGS: '1' },
        ...{ AWS_ACCESS_KEY_ID: 'writer', AWS_SECRET_ACCESS_KEY: 'writer-secret' },
        ESPD_TEST_CLOCK_MS: String(this.#options.clockWrongMs),
      },
    });
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    let isOver = false;
    const kill = () => child.kill('SIGKILL');
    this.#t.after(kill);
    const killed = killAfterMs === null ? undefined : setTimeout(kill, killAfterMs);
    const limit = setTimeout(() => {
      isOver = true;
      kill();
    }, LIMIT_MS);
    const status = await new Promise<number | null>((resolve) => child.once('close', resolve));
    clearTimeout(killed);
    clearTimeout(limit);
    assert.ok(!isOver, `hangs: ${args.join(' ')}\n${stdout}${stderr}`);
    const run = { wasKilled: child.signalCode === 'SIGKILL', status, stdout, stderr };
    if (!run.wasKilled) checkOutcome(args, run);
    return run;
  }

  /** Complete backups that are here: files by `MAC ID`. */
  async backups(): Promise<Map<string, Files>> {
    const found = new Map<string, Files>();
    const { macs } = await this.archive.boards().catch((error: unknown) => {
      // Nothing was ever kept here.
      if (!hasCode(error, 'archive-missing')) throw error;
      return { macs: [] };
    });
    for (const mac of macs) {
      for (const id of await this.archive.backupIds(mac)) {
        const folder = join(this.bench.archivePath, mac.replaceAll(':', '-'), id);
        const files = new Map<string, Buffer>();
        // Between two of these it may be released.
        const names = await readdir(folder).catch(() => []);
        for (const name of names) {
          const bytes = await readFile(join(folder, name)).catch(() => undefined);
          if (bytes !== undefined) files.set(name, bytes);
        }
        if (files.size === 3) found.set(`${mac} ${id}`, files);
      }
    }
    return found;
  }
}

function checkOutcome(args: readonly string[], { status, stdout, stderr }: Run): void {
  const code = /\(([a-z]+(?:-[a-z]+)*)\)/.exec(stderr)?.[1];
  const isKnown = status === 0 || (code !== undefined && !NEVER.has(code)) || /"code": "/.test(stdout);
  assert.ok(isKnown, `ended with ${String(status)}: ${args.join(' ')}\n${stdout}${stderr}`);
  assert.doesNotMatch(`${stdout}${stderr}`, /\n\s+at .*:\d+:\d+\)|"code": "internal"/, args.join(' '));
}
