/**
 * `npm run bench:blocks [BACKUPS]`: what the library of blocks costs on disk and in memory, and how long a question takes.
 * Memory is told as the difference to a process that makes the same backups and keeps none.
 * Flash of 4 MiB: 20 blocks of one of 200 firmwares, 44 blocks that are blank, or that no other board has.
 */

import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
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
const [count = '100000', own, given] = process.argv.slice(2);
const backups = Number(count);
const firmwares = Array.from({ length: FIRMWARES }, () => Array.from({ length: FIRMWARE_BLOCKS }, digest));

/** One process: makes the backups, and puts them into a library where there is a folder. */
async function build(own: number, folder: string | undefined): Promise<void> {
  const library = folder === undefined ? undefined : new BlockLibrary(folder, silentLogger);
  const startMs = performance.now();
  for (let n = 0; n < backups; n++) {
    const others = Array.from({ length: OTHER_BLOCKS }, () => (Math.random() < own ? digest() : BLANK_MD5));
    const mac = Buffer.alloc(6);
    mac.writeUIntBE(Math.floor(n / 2), 0, 6);
    const id = idFromDate(new Date(FIRST_MS + n * 1000));
    const blocksMd5 = [...(firmwares[n % FIRMWARES] ?? []), ...others];
    await library?.add({ mac: macFromBytes(mac), id, blocksMd5 });
    if (n % BATCH === BATCH - 1) await library?.tidy();
  }
  await library?.flush();
  await library?.tidy();
  const builtMs = performance.now() - startMs;
  const peakBytes = process.resourceUsage().maxRSS * 1024;
  const { user, system } = process.cpuUsage();
  globalThis.gc?.();
  // Memory outside of the heap is given back a moment later.
  await new Promise((resolve) => setImmediate(resolve));
  globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  let right = 0;
  const askedMs = performance.now();
  for (let question = 0; library !== undefined && question < QUESTIONS; question++) {
    const firmware = firmwares[question % FIRMWARES] ?? [];
    const [likely] = await library.likely(new Map(PROBES.map((index) => [index, firmware[index] ?? ''])), 1);
    if (likely?.hits === PROBES.length) right++;
  }
  const questionMs = (performance.now() - askedMs) / QUESTIONS;
  const built: Built = {
    peakBytes,
    heldBytes: heapUsed + external,
    builtMs,
    processorMs: (user + system) / 1000,
    questionMs,
    right,
  };
  process.stdout.write(JSON.stringify(built));
}

interface Built {
  readonly peakBytes: number;
  readonly heldBytes: number;
  readonly builtMs: number;
  readonly processorMs: number;
  readonly questionMs: number;
  readonly right: number;
}

async function inProcess(own: number, folder: string): Promise<Built> {
  const args = [...process.execArgv, fileURLToPath(import.meta.url), String(backups), String(own), folder];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  let text = '';
  for await (const chunk of child.stdout) text += String(chunk);
  const [status] = (await ended) as [number];
  if (status !== 0) throw new Error(`status ${status}`);
  return JSON.parse(text) as Built;
}

if (own !== undefined) {
  await build(Number(own), given === '' ? undefined : given);
} else {
  for (const part of [0.3, 1]) {
    const folder = await mkdtemp(join(tmpdir(), 'espd-bench-'));
    try {
      const plain = await inProcess(part, '');
      const built = await inProcess(part, folder);
      let bytes = 0;
      for (const name of await readdir(folder)) bytes += (await stat(join(folder, name))).size;
      const mb = (count: number) => `${(count / 1e6).toFixed(0)} MB`;
      const us = (ms: number) => ((ms / backups) * 1000).toFixed(0);
      process.stdout.write(
        `${backups} backups, ${part * 100} % of the rest in use: ${mb(bytes)} on disk, ` +
          `${mb(built.peakBytes - plain.peakBytes)} more memory at most than without it, ` +
          `${mb(built.heldBytes - plain.heldBytes)} of them held, ${us(built.builtMs)} us a backup ` +
          `(${us(built.processorMs - plain.processorMs)} of a processor), ${built.questionMs.toFixed(1)} ms a question of ` +
          `${PROBES.length} blocks, ${built.right} of ${QUESTIONS} answers right\n`,
      );
    } finally {
      await rm(folder, { recursive: true });
    }
  }
}
