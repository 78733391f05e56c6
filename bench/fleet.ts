/**
 * `npm run bench:fleet [BOARDS...]`: what a station pays for a fleet whose boards are all elsewhere: the first reading of
 * all journals, a look without news, one of a process that begins, one with ten backups, and `espd list` behind it. Each size in a process of its own.
 * The store is one in memory that makes each segment when it is asked for, so its network costs nothing; images are none.
 * Linux only: it reads /proc.
 */

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { lstat, mkdtemp, readdir, rm, statfs } from 'node:fs/promises';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { openArchive } from '../src/archive/archive.ts';
import { ImageDigester } from '../src/archive/digest.ts';
import { idFromDate } from '../src/archive/ids.ts';
import { formatManifest } from '../src/archive/manifest.ts';
import { completeManifest } from '../src/archive/new-manifest.ts';
import type { Archive } from '../src/archive/types.ts';
import { systemClock } from '../src/clock.ts';
import { silentLogger } from '../src/log.ts';
import { BlockLibrary } from '../src/replication/blocks/block-library.ts';
import { Journal } from '../src/replication/journal/journal.ts';
import { encodeLine, encodeSegment } from '../src/replication/journal/segment.ts';
import { folderOf } from '../src/replication/layout.ts';
import type { Bucket } from '../src/replication/push-backup.ts';
import type { ListOptions, ListedPage, ObjectStore } from '../src/store/types.ts';
import { content } from '../test/archive/support.ts';
import { boardMac } from '../test/support/fill-archive.ts';

const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const SELF = fileURLToPath(import.meta.url);
const OTHERS = 19;
/** As many as a mebibyte holds of boards with 4 MB of flash. */
const LINES = 120;
const NEW_BACKUPS = 10;
const FLASH_BYTES = 4 * 1024 * 1024;
const FIRST_MS = Date.UTC(2026, 0, 1);
const BACKUP_BYTES = 1024 * 1024;
const BACKUP_EVERY_MS = 100;
const ALONE_MS = 5000;
const PEAK_EVERY_MS = 20;
/** A second of a processor, as /proc counts. */
const TICKS = 100;

/** Journals of other stations with a backup of each board. */
class FleetStore {
  requests = 0;
  bytes = 0;
  readonly #lines = new Map<string, (() => string)[]>();

  constructor(boards: number) {
    for (let number = 0; number < boards; number++) this.add(number, 0);
  }

  add(number: number, day: number): void {
    const station = `bench-${number % OTHERS}`;
    const lines = this.#lines.get(station) ?? [];
    this.#lines.set(station, lines);
    lines.push(() => backupLine(number, day));
  }

  /** A segment that is there stays as it is, so what is new begins one. */
  endSegments(): void {
    for (const lines of this.#lines.values())
      while (lines.length % LINES !== 0) lines.push(() => encodeLine(lastLabel(lines.length)));
  }

  asStore(): ObjectStore {
    return {
      place: 'memory',
      now: () => Date.now(),
      get: (key: string) => this.#get(key),
      list: (o: ListOptions) => this.#list(o),
    } as unknown as ObjectStore;
  }

  async #get(key: string) {
    this.requests++;
    const [, station = '', name = ''] = key.split('/');
    const seq = Number(name.slice(0, 10));
    const lines = this.#lines.get(station)?.slice((seq - 1) * LINES, seq * LINES) ?? [];
    if (lines.length === 0) return undefined;
    const head = { station, seq, at: new Date(FIRST_MS).toISOString() };
    const texts: string[] = [];
    for (const line of lines) {
      texts.push(line());
      // What the store takes is none of espd's hold on the event loop.
      await setImmediate();
    }
    const bytes = encodeSegment(head, texts);
    this.bytes += bytes.length;
    return { key, sizeBytes: bytes.length, etag: '', ageMs: 0, writtenMs: Date.now(), bytes };
  }

  #list({ prefix, folders }: ListOptions): Promise<ListedPage> {
    this.requests++;
    const stations = [...this.#lines.keys()].map((station) => `${prefix}${station}/`);
    return Promise.resolve({ objects: [], folders: folders === true ? stations : [], next: null });
  }
}

const image = Buffer.alloc(FLASH_BYTES);
const digester = new ImageDigester();
digester.update(image);
const digests = digester.finish();
const base = { facts: content(image), stored: { file: 'flash.bin', sha256: digests.sha256 } as const };

/** Every digest is another one, as of boards that have nothing in common. */
function backupLine(number: number, day: number): string {
  const mac = boardMac(number);
  const createdAt = new Date(FIRST_MS + day * 86_400_000).toISOString();
  const id = idFromDate(new Date(createdAt));
  const of = (what: string, index: number) =>
    createHash('sha256').update(`${number} ${day} ${what} ${index}`).digest('hex');
  const manifest = completeManifest({
    digests: {
      ...digests,
      blocks: {
        ...digests.blocks,
        sha256: digests.blocks.sha256.map((_, index) => of('sha256', index)),
        md5: digests.blocks.md5.map((_, index) => of('md5', index).slice(0, 32)),
      },
    },
    ...{ id, image: base.stored, createdBy: 'espd bench', content: { ...base.facts, mac, createdAt } },
  });
  const manifestSha256 = createHash('sha256').update(formatManifest(manifest)).digest('hex');
  const folder = folderOf({ mac, id, home: '' });
  return encodeLine({ kind: 'backup', mac, id, folder, at: createdAt, manifestSha256, manifest });
}

function lastLabel(n: number) {
  const at = new Date(FIRST_MS + n).toISOString();
  return { kind: 'mark', mac: boardMac(0), file: 'labels.jsonl', line: { at, label: `board-${n}` } } as const;
}

const seconds = (ms: number) => `${(ms / 1000).toFixed(2)} s`;
const mb = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;

async function diskBytes(folder: string): Promise<number> {
  let bytes = 0;
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    bytes += (await lstat(path)).blocks * 512;
    if (entry.isDirectory()) bytes += await diskBytes(path);
  }
  return bytes;
}

/** How long the disk's part of a backup takes, again and again until it is told to stop. */
async function backUps(archive: Archive, signal: AbortSignal): Promise<readonly number[]> {
  const mac = boardMac(0xffffff);
  const took: number[] = [];
  for (let index = 0; !signal.aborted; index++) {
    const createdAt = new Date(FIRST_MS + index * 1000).toISOString();
    const startMs = performance.now();
    const draft = await archive.begin(mac, BACKUP_BYTES);
    await draft.write(0, image.subarray(0, BACKUP_BYTES));
    await draft.commit(content(image.subarray(0, BACKUP_BYTES), createdAt, mac));
    took.push(performance.now() - startMs);
    await sleep(BACKUP_EVERY_MS);
  }
  return took.sort((a, b) => a - b);
}

async function list(root: string, what: string): Promise<void> {
  const startMs = performance.now();
  const child = spawn(process.execPath, [MAIN, '--archive', root, 'list', '--json'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  let [peakKb, ticks] = [0, 0];
  const look = setInterval(() => {
    try {
      const status = readFileSync(`/proc/${String(child.pid)}/status`, 'utf8');
      peakKb = Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? peakKb);
      const times =
        readFileSync(`/proc/${String(child.pid)}/stat`, 'utf8')
          .split(') ')[1]
          ?.split(' ') ?? [];
      ticks = Number(times[11]) + Number(times[12]) || ticks;
    } catch {
      // it has ended
    }
  }, PEAK_EVERY_MS);
  const [status] = (await once(child, 'exit')) as [number];
  clearInterval(look);
  if (status !== 0) throw new Error(`espd list: status ${status}`);
  const ms = performance.now() - startMs;
  say(
    `list --json, ${what}`,
    `${seconds(ms)}, ${seconds((ticks * 1000) / TICKS)} of a processor, ${mb(peakKb * 1024)} of memory at most`,
  );
}

function say(what: string, text: string): void {
  process.stdout.write(`${what}: ${text}\n`);
}

async function measure(boards: number): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'espd-bench-'));
  try {
    const [root, state] = [join(folder, 'archive'), join(folder, 'state')];
    const store = new FleetStore(boards);
    const options = { log: silentLogger, clock: systemClock, compression: 'none', createdBy: 'espd bench' } as const;
    const archive = openArchive(root, options);
    // All archives of a process share its threads.
    const own = openArchive(join(folder, 'own'), options);
    // Each is that of a process which begins.
    const newJournal = () =>
      new Journal({
        ...{ archive, folder: state, clock: systemClock, version: '0.0.0', minFreeBytes: null },
        library: new BlockLibrary(join(state, 'blocks'), silentLogger),
        freeBytes: async () => {
          const { bavail, bsize } = await statfs(folder);
          return bavail * bsize;
        },
      });
    let journal = newJournal();
    const bucket = {
      ...{ store: store.asStore(), layout: { prefix: '', station: 'here' }, hasConditions: true },
      ...{ key: null, keys: [], id: '0123456789abcdef' },
    } as unknown as Bucket;
    const look = async (what: string) => {
      store.requests = store.bytes = 0;
      const delay = monitorEventLoopDelay({ resolution: 5 });
      delay.enable();
      const [startMs, cpu] = [performance.now(), process.cpuUsage()];
      const signal = new AbortController().signal;
      while ((await journal.look(bucket, { signal, isThorough: false })).isMore);
      const { user, system } = process.cpuUsage(cpu);
      say(
        what,
        `${seconds(performance.now() - startMs)}, ${seconds((user + system) / 1000)} of a processor, ` +
          `${store.requests} requests, ${mb(store.bytes)}, event loop held up ${(delay.max / 1e6).toFixed(0)} ms at most`,
      );
    };
    const rss = process.memoryUsage().rss;
    say(
      'fleet',
      `${boards} boards with a backup of 4 MB at ${OTHERS} other stations, load ${loadavg()[0]?.toFixed(1)}`,
    );
    const alone = new AbortController();
    setTimeout(() => alone.abort(), ALONE_MS);
    const before = await backUps(own, alone.signal);
    const beside = new AbortController();
    const meanwhile = backUps(own, beside.signal);
    await look('first look');
    beside.abort();
    const after = await meanwhile;
    const told = (ms: readonly number[]) => `${ms[ms.length >> 1]?.toFixed(0)} ms, ${ms.at(-1)?.toFixed(0)} ms at most`;
    say('a backup of 1 MiB beside it', `${told(after)}; alone ${told(before)}`);
    say('memory of it', `${mb(process.resourceUsage().maxRSS * 1024 - rss)} more at most`);
    await look('a look without news');
    journal = newJournal();
    await look('the same, of a process that begins');
    store.endSegments();
    for (let number = 0; number < NEW_BACKUPS; number++) store.add(number, 1);
    await look(`a look with ${NEW_BACKUPS} backups`);
    say('disk', `${mb(await diskBytes(root))} in the archive, ${mb(await diskBytes(state))} of state`);
    await list(root, 'first');
    await list(root, 'again');
    say('index of boards', mb((await lstat(join(root, 'cache', 'boards.bin')).catch(() => ({ size: 0 }))).size));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const words = process.argv.slice(2);
if (words[0] === '--measure') {
  await measure(Number(words[1]));
} else {
  say('machine', `${cpus().length} cores, Node ${process.versions.node}`);
  for (const boards of words.length === 0 ? ['10', '1000', '100000'] : words) {
    const child = spawn(process.execPath, [...process.execArgv, SELF, '--measure', boards], { stdio: 'inherit' });
    const [status] = (await once(child, 'exit')) as [number];
    if (status !== 0) throw new Error(`${boards} boards: status ${status}`);
  }
}
