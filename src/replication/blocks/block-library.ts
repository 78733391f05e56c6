/**
 * Which backups of all stations hold a block, without an image of any of them: so a board that was never seen here, but
 * whose firmware some bench has read, is found by a few digests of its chip. Derived and never trusted: what it names is
 * looked up, and what is taken from there is hashed.
 *
 * Files of sorted entries, of which a new one is written for each few thousand blocks; when several have the same size
 * they are made one, so that 100,000 backups are a few files. Commands may add beside the daemon: names are chosen at
 * random, and the folder's listing is all that says what belongs to it.
 */

import { randomBytes } from 'node:crypto';
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { makeStateFolder } from '../../archive/state-owner.ts';
import { UNIFORM_BYTES, uniformDigest } from '../../archive/uniform.ts';
import { BLOCK_BYTES } from '../../flash.ts';
import type { Logger } from '../../log.ts';
import { MergeMemory } from './merge-memory.ts';
import { mergeRuns, writeRun } from './merge-runs.ts';
import { NewBlocks } from './new-blocks.ts';
import { type BackupName, RunFile, keyOf } from './run-file.ts';

const SUFFIX = '.run';
/** New entries that wait in memory, or a few more: a hundred kilobytes. */
const MAX_NEW_ENTRIES = 8 * 1024;
/** So many files are written before some are made one. */
const MAX_LOOSE = 32;
/** A file is made one with the next smaller ones when it is not so many times larger. */
const MERGE_RATIO = 4;
/** Of a process that was ended while it wrote. */
const STALE_PARTIAL_MS = 60 * 60_000;

export interface BlocksOfBackup extends BackupName {
  /** MD5 of each block of 64 KiB, lower-case hex, in order. */
  readonly blocksMd5: readonly string[];
}

export interface Likely extends BackupName {
  /** Of the blocks that were asked for so many are in it. */
  readonly hits: number;
}

export class BlockLibrary {
  readonly #folder: string;
  readonly #log: Logger;
  #new = new NewBlocks(MAX_NEW_ENTRIES);
  /** What was written last, to be filled again. */
  #spare: NewBlocks | undefined;
  /** Files that were written since they were put in order. */
  #loose = 0;
  readonly #memory = new MergeMemory();
  #turn: Promise<unknown> = Promise.resolve();

  /** @param folder is made where it is missing; nothing else may be in it */
  constructor(folder: string, log: Logger) {
    this.#folder = folder;
    this.#log = log;
  }

  /** Whether nothing was ever added, so that it has to be filled from what the archive knows. */
  async isMissing(): Promise<boolean> {
    return (await this.#runNames()).length === 0;
  }

  /** Kept in memory until there are many, or {@link flush}. Never rejects: a fault of the disk costs hints. */
  async add({ mac, id, blocksMd5 }: BlocksOfBackup): Promise<void> {
    this.#new.addBackup({ mac, id });
    for (let index = 0; index < blocksMd5.length; index++) {
      const md5 = blocksMd5[index] ?? '';
      // Blank blocks are in every image, and a digest of the chip tells them without one.
      if (!UNIFORM.has(md5)) this.#new.addBlock(index, md5);
    }
    if (this.#new.entries < MAX_NEW_ENTRIES) return;
    await this.flush();
    // A first look at a large fleet would end with more files than a process may open.
    if (this.#loose >= MAX_LOOSE) await this.tidy();
  }

  /** What was added can be found from now on. Never rejects. */
  async flush(): Promise<void> {
    if (this.#new.isEmpty) return;
    const blocks = this.#new;
    this.#new = this.#spare ?? new NewBlocks(MAX_NEW_ENTRIES);
    this.#spare = undefined;
    this.#loose++;
    await this.#quietly('written', async () => {
      await makeStateFolder(this.#folder);
      await writeRun(this.#newPath(), blocks.encode());
    });
    blocks.clear();
    this.#spare = blocks;
  }

  /** Makes few files of many. For one process of a station, when no board waits. Never rejects. */
  async tidy(signal?: AbortSignal): Promise<void> {
    this.#loose = 0;
    await this.#quietly('put in order', async () => {
      await this.#clearPartials();
      const runs = await this.#openAll();
      try {
        // Those of the same size together, and all that are smaller.
        const few = mergeable(runs.map(({ run }) => run.entries));
        if (few < 2) return;
        // Sorted by size: the smallest ones are at the end.
        const group = runs.slice(runs.length - few);
        await mergeRuns(
          this.#newPath(),
          group.map(({ run }) => run),
          { signal, memory: this.#memory },
        );
        for (const { path } of group) await rm(path, { force: true });
      } finally {
        await closeAll(runs);
      }
    });
  }

  /**
   * Backups that hold most of these blocks, the likeliest first; of equals the newest. Never rejects.
   * @param probes MD5 of blocks by their index in the flash
   */
  async likely(probes: ReadonlyMap<number, string>, limit: number): Promise<readonly Likely[]> {
    const found = new Map<string, Likely>();
    await this.#quietly('asked', async () => {
      const runs = await this.#openAll();
      try {
        for (const [index, md5] of probes) {
          const key = UNIFORM.has(md5) ? undefined : keyOf(index, md5);
          if (key === undefined) continue;
          for (const { mac, id } of await holdersOf(runs, key)) {
            const name = `${mac} ${id}`;
            found.set(name, { mac, id, hits: (found.get(name)?.hits ?? 0) + 1 });
          }
        }
      } finally {
        await closeAll(runs);
      }
    });
    const better = (one: Likely, other: Likely) => other.hits - one.hits || (other.id < one.id ? -1 : 1);
    return [...found.values()].sort(better).slice(0, limit);
  }

  #newPath(): string {
    return join(this.#folder, `${randomBytes(8).toString('hex')}${SUFFIX}`);
  }

  async #runNames(): Promise<string[]> {
    const names = await readdir(this.#folder).catch(() => []);
    return names.filter((name) => name.endsWith(SUFFIX));
  }

  /** The largest first. */
  async #openAll(): Promise<Opened[]> {
    const opened: Opened[] = [];
    for (const name of await this.#runNames()) {
      const path = join(this.#folder, name);
      const run = await RunFile.open(path);
      // Cut off by a power loss: it would be in the way for ever.
      if (run === 'damaged') await rm(path, { force: true });
      else if (run !== undefined) opened.push({ path, run });
    }
    return opened.sort((one, other) => other.run.entries - one.run.entries);
  }

  async #clearPartials(): Promise<void> {
    for (const name of await readdir(this.#folder)) {
      if (!name.endsWith('.partial')) continue;
      const path = join(this.#folder, name);
      if (Date.now() - (await stat(path)).mtimeMs > STALE_PARTIAL_MS) await rm(path, { force: true });
    }
  }

  async #quietly(what: string, work: () => Promise<void>): Promise<void> {
    const turn = this.#turn.then(work).catch((error: unknown) => {
      this.#log.debug(`the library of blocks cannot be ${what}`, { error: String(error) });
    });
    this.#turn = turn;
    await turn;
  }
}

interface Opened {
  readonly path: string;
  readonly run: RunFile;
}

const UNIFORM: ReadonlySet<string> = new Set(UNIFORM_BYTES.map((byte) => uniformDigest(byte, BLOCK_BYTES)));

/** How many of the smallest files are to be made one; 0 = none. Sizes from large to small. */
export function mergeable(sizes: readonly number[]): number {
  let from = sizes.length - 1;
  let sum = sizes[from] ?? 0;
  while (from > 0 && (sizes[from - 1] ?? 0) <= sum * MERGE_RATIO) sum += sizes[--from] ?? 0;
  return from < 0 ? 0 : sizes.length - from;
}

async function holdersOf(runs: readonly Opened[], key: Buffer): Promise<BackupName[]> {
  const names = new Map<string, BackupName>();
  for (const { run } of runs) {
    for (const number of await run.find(key)) {
      const name = await run.backup(number);
      if (name !== undefined) names.set(`${name.mac} ${name.id}`, name);
    }
  }
  return [...names.values()];
}

async function closeAll(runs: readonly Opened[]): Promise<void> {
  for (const { run } of runs) await run.close().catch(() => undefined);
}
