/**
 * `npm run bench:blocks [BACKUPS]`: what the library of blocks costs on disk and in memory, and how long a question takes.
 * Flash of 4 MiB: 20 blocks of one of 200 firmwares, 44 blocks that are blank, or that no other board has.
 */

import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { idFromDate } from '../src/archive/ids.ts';
import { silentLogger } from '../src/log.ts';
import { macFromBytes } from '../src/mac.ts';
import { BlockLibrary } from '../src/replication/blocks/block-library.ts';

const FIRMWARES = 200;
const FIRMWARE_BLOCKS = 20;
const OTHER_BLOCKS = 44;
const BLANK_MD5 = 'ecb99e6ffea7be1e5419350f725da86b';
const PROBES = [0, 3, 7, 11, 15, 19];
const QUESTIONS = 200;
const FIRST_MS = Date.UTC(2026, 0, 1);
/** So many come from other stations between two times when files are made one. */
const BATCH = 5000;

const digest = () => randomBytes(16).toString('hex');
const [backups = 100_000] = process.argv.slice(2).map(Number);
const firmwares = Array.from({ length: FIRMWARES }, () => Array.from({ length: FIRMWARE_BLOCKS }, digest));

for (const own of [0.3, 1]) {
  const folder = await mkdtemp(join(tmpdir(), 'espd-bench-'));
  try {
    globalThis.gc?.();
    const before = process.memoryUsage().rss;
    let peak = before;
    const startMs = performance.now();
    const library = new BlockLibrary(folder, silentLogger);
    for (let n = 0; n < backups; n++) {
      const others = Array.from({ length: OTHER_BLOCKS }, () => (Math.random() < own ? digest() : BLANK_MD5));
      const mac = Buffer.alloc(6);
      mac.writeUIntBE(Math.floor(n / 2), 0, 6);
      const id = idFromDate(new Date(FIRST_MS + n * 1000));
      await library.add({ mac: macFromBytes(mac), id, blocksMd5: [...(firmwares[n % FIRMWARES] ?? []), ...others] });
      if (n % BATCH === BATCH - 1) await library.tidy();
      if (n % 500 === 0) peak = Math.max(peak, process.memoryUsage().rss);
    }
    await library.flush();
    await library.tidy();
    const builtMs = performance.now() - startMs;
    let bytes = 0;
    for (const name of await readdir(folder)) bytes += (await stat(join(folder, name))).size;
    const askedMs = performance.now();
    let right = 0;
    for (let question = 0; question < QUESTIONS; question++) {
      const firmware = firmwares[question % FIRMWARES] ?? [];
      const [likely] = await library.likely(new Map(PROBES.map((index) => [index, firmware[index] ?? ''])), 1);
      if (likely?.hits === PROBES.length) right++;
    }
    const questionMs = (performance.now() - askedMs) / QUESTIONS;
    process.stdout.write(
      `${backups} backups, ${own * 100} % of the rest in use: ${(bytes / 1e6).toFixed(0)} MB on disk, ` +
        `${((peak - before) / 1e6).toFixed(0)} MB more in memory while it was built, ` +
        `${((builtMs / backups) * 1000).toFixed(0)} us a backup, ${questionMs.toFixed(1)} ms a question of ` +
        `${PROBES.length} blocks, ${right} of ${QUESTIONS} answers right\n`,
    );
  } finally {
    await rm(folder, { recursive: true });
  }
}
