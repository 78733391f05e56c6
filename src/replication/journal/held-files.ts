/**
 * What the files of the archive held when it was noted what this station has heard. Both are in the archive's cache, which is
 * no part of a copy: whoever copies older files over the archive leaves it as it is, and then the archive lacks what was heard.
 * Files of marks only grow, so one that is shorter than it was, or another, has gone back. But for elsewhere.jsonl, which espd
 * makes shorter: that one has not as long as it still says what its last lines said (last-said.ts).
 *
 * A line for each board, its folder in front: of 100,000 boards a look has news of a few, and the lines of the others are
 * kept as they are, unread.
 */

import { constants } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import { forEachAtOnce } from '../../archive/at-once.ts';
import { readFully } from '../../archive/disk.ts';
import { MIN_SAID_BYTES, SAID_BYTES, lastSaid, saysAll } from '../../archive/elsewhere/last-said.ts';
import { ELSEWHERE } from '../../archive/elsewhere/stored-lines.ts';
import { TAIL_BYTES, tailOf } from '../../archive/elsewhere/tail.ts';
import { REPLICATED_MARKS } from '../../archive/elsewhere/types.ts';
import { sharedFileSystem as fs } from '../../archive/node-fs.ts';
import type { ArchiveCache } from '../../archive/types.ts';
import { type Mac, macFromFolder, macToFolder } from '../../mac.ts';
import { parseJson } from '../state-file.ts';

const FILES: readonly string[] = [...REPLICATED_MARKS, ELSEWHERE];
const AT_ONCE = 8;
const READ_ONLY = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
/** One that was made shorter, and has grown again. */
const MAX_FILE_BYTES = 128 * 1024 * 1024;

/**
 * Of a file: length, when it was changed last (by the file system, whatever its dates were set to), and its tail. Of
 * elsewhere.jsonl, which espd makes shorter now and then, also what its last lines said: none of that is ever gone from it.
 */
const filesSchema = z.record(z.string(), z.tuple([z.int().nonnegative(), z.number(), z.string()], z.string()));

type Files = z.output<typeof filesSchema>;
type HeldFile = Files[string];
/** By the boards' folders, each {@link Files} as JSON. */
type Held = Map<string, string>;

export interface HeldParts {
  readonly root: string;
  readonly cache: Pick<ArchiveCache, 'read' | 'write'>;
  /** Of the cache. */
  readonly name: string;
}

export class HeldFiles {
  /** By this process. */
  wereLookedAt = false;
  readonly #parts: HeldParts;
  /** Where the cache takes nothing, a look that goes on must not find the same again for ever. */
  #anew: Held | undefined;

  constructor(parts: HeldParts) {
    this.#parts = parts;
  }

  /** Whether the archive holds all that it held; then it is noted what the files of these boards hold now. Never rejects. */
  async areThere(macs: readonly Mac[]): Promise<boolean> {
    this.wereLookedAt = true;
    const held = await this.#read();
    const folders = new Set([...held.keys(), ...macs.map(macToFolder)]);
    return (await this.#compare(held, [...folders], true)) === 0;
  }

  /** Nothing that was noted counts any more. Never rejects. */
  async forget(): Promise<void> {
    this.#anew = new Map();
    await this.#parts.cache.write(this.#parts.name, '');
  }

  /** Of these boards, beside what is noted of others. What has gone back stays noted as it was, to be found. Never rejects. */
  async note(macs: readonly Mac[]): Promise<void> {
    if (macs.length > 0) await this.#compare(await this.#read(), macs.map(macToFolder), false);
  }

  /** @returns of how many boards something has gone back; where `isAll` is asked for, nothing is noted then */
  async #compare(held: Held, folders: readonly string[], isAll: boolean): Promise<number> {
    const news: Held = new Map();
    let gone = 0;
    await forEachAtOnce(folders, AT_ONCE, async (folder) => {
      if (isAll && gone > 0) return;
      const text = held.get(folder);
      const before = (text === undefined ? undefined : parseJson(text, filesSchema)) ?? {};
      const files = await holds(join(this.#parts.root, folder), before);
      if (files === undefined) gone++;
      else if (files !== before) news.set(folder, JSON.stringify(files));
    });
    if ((isAll && gone > 0) || news.size === 0) return gone;
    for (const [folder, text] of news) held.set(folder, text);
    await this.#parts.cache.write(
      this.#parts.name,
      Array.from(held, ([folder, text]) => `${folder} ${text}\n`).join(''),
    );
    return gone;
  }

  async #read(): Promise<Held> {
    if (this.#anew !== undefined) return this.#anew;
    const held: Held = new Map();
    const text = (await this.#parts.cache.read(this.#parts.name))?.toString('utf8') ?? '';
    for (const line of text.split('\n')) {
      const at = line.indexOf(' ');
      if (at > 0) held.set(line.slice(0, at), line.slice(at + 1));
    }
    return held;
  }
}

/** What the files of a board hold: `before` where that is still so, undefined where one has gone back. */
async function holds(folder: string, before: Files): Promise<Files | undefined> {
  const names = new Set(await fs.readdir(folder).catch(() => []));
  const files: Files = {};
  let isSame = true;
  for (const file of FILES) {
    const known = before[file];
    if (known === undefined && !names.has(file)) continue;
    const now = await holdsNow(folder, file, known);
    if (now === 'gone back') return undefined;
    if (now !== undefined) files[file] = now;
    isSame &&= now === known;
  }
  return isSame ? before : files;
}

/** `before` where that is still so; undefined where there was none, and there is none that can be read. */
async function holdsNow(
  folder: string,
  file: string,
  before: HeldFile | undefined,
): Promise<HeldFile | 'gone back' | undefined> {
  const path = join(folder, file);
  const stats = await fs.lstat(path).catch(() => undefined);
  const sizeBytes = stats?.isFile() === true ? stats.size : 0;
  if (stats === undefined) return before === undefined ? undefined : 'gone back';
  if (sizeBytes === before?.[0] && stats.ctimeMs === before[1]) return before;
  const hasGrown = sizeBytes >= (before?.[0] ?? 0);
  const [now, then] = await tailsAt(path, sizeBytes, ...(hasGrown ? [before?.[0] ?? 0] : []));
  const isSame = before === undefined || (hasGrown && then === before[2]);
  if (!isSame && !(file === ELSEWHERE && (await wasMadeShorter(path, before)))) return 'gone back';
  if (now === undefined) return isSame ? before : 'gone back';
  return [sizeBytes, stats.ctimeMs, now, ...(file === ELSEWHERE ? await saidLast(path, sizeBytes) : [])];
}

async function wasMadeShorter(path: string, [, , , ...said]: HeldFile): Promise<boolean> {
  const mac = macFromFolder(basename(dirname(path)));
  if (mac === undefined || said.length === 0) return false;
  const file = await bytesOf(path, (sizeBytes) => (sizeBytes > MAX_FILE_BYTES ? [0, 0] : [0, sizeBytes]));
  return file !== undefined && saysAll(mac, file, said);
}

async function saidLast(path: string, sizeBytes: number): Promise<string[]> {
  const mac = macFromFolder(basename(dirname(path)));
  if (mac === undefined || sizeBytes < MIN_SAID_BYTES) return [];
  const end = await bytesOf(path, () => [sizeBytes - SAID_BYTES, SAID_BYTES]);
  return end === undefined ? [] : lastSaid(mac, end);
}

/** Undefined where it cannot be read. */
async function bytesOf(
  path: string,
  which: (sizeBytes: number) => readonly [start: number, length: number],
): Promise<Buffer | undefined> {
  try {
    const handle = await fs.open(path, READ_ONLY);
    try {
      const [start, length] = which((await handle.stat()).size);
      const bytes = Buffer.alloc(length);
      return bytes.subarray(0, await readFully(handle, bytes, start));
    } finally {
      await handle.close();
    }
  } catch {
    return undefined;
  }
}

/** Of what stands before each of these places; undefined where it cannot be read. */
async function tailsAt(path: string, ...ends: readonly number[]): Promise<readonly (string | undefined)[]> {
  try {
    const handle = await fs.open(path, READ_ONLY);
    try {
      const tails: string[] = [];
      for (const end of ends) {
        const bytes = Buffer.alloc(Math.min(end, TAIL_BYTES));
        tails.push(tailOf(bytes.subarray(0, await readFully(handle, bytes, end - bytes.length))));
      }
      return tails;
    } finally {
      await handle.close();
    }
  } catch {
    return [];
  }
}
