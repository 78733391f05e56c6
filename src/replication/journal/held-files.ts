/**
 * What the files of the archive held when it was noted what this station has heard. Both are in the archive's cache, which is
 * no part of a copy: whoever copies older files over the archive leaves it as it is, and then the archive lacks what was heard.
 * Files of marks only grow, so one that is shorter than it was, or another, has gone back.
 */

import { lstat, open } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { forEachAtOnce } from '../../archive/at-once.ts';
import { ELSEWHERE } from '../../archive/elsewhere/stored-lines.ts';
import { TAIL_BYTES, tailOf } from '../../archive/elsewhere/tail.ts';
import { REPLICATED_MARKS } from '../../archive/elsewhere/types.ts';
import type { ArchiveCache } from '../../archive/types.ts';
import { type Mac, macToFolder } from '../../mac.ts';
import { parseJson } from '../state-file.ts';

const FILES = [...REPLICATED_MARKS, ELSEWHERE] as const;
const AT_ONCE = 16;

/** Length, when it was changed last (by the file system, whatever its dates were set to), and its tail. */
const heldSchema = z.record(z.string(), z.record(z.string(), z.tuple([z.int().nonnegative(), z.number(), z.string()])));

type Held = z.output<typeof heldSchema>;
type HeldFile = Held[string][string];

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

  /** Whether the archive holds all that it held. Never rejects. */
  async areThere(): Promise<boolean> {
    this.wereLookedAt = true;
    const held = await this.#read();
    let areThere = true;
    await forEachAtOnce(Object.entries(held), AT_ONCE, async ([folder, files]) => {
      for (const [file, before] of Object.entries(files)) {
        if (areThere && !(await isThere(join(this.#parts.root, folder, file), before))) areThere = false;
      }
    });
    return areThere;
  }

  /** Nothing that was noted counts any more. Never rejects. */
  async forget(): Promise<void> {
    this.#anew = {};
    await this.#parts.cache.write(this.#parts.name, '{}');
  }

  /** Of these boards, beside what is noted of others. Never rejects. */
  async note(macs: readonly Mac[]): Promise<void> {
    if (macs.length === 0) return;
    const held = await this.#read();
    const news: { readonly folder: string; readonly files: Held[string] }[] = [];
    await forEachAtOnce(macs, AT_ONCE, async (mac) => {
      const folder = macToFolder(mac);
      const before = held[folder] ?? {};
      const files: Held[string] = {};
      for (const file of FILES) {
        const now = await holds(join(this.#parts.root, folder, file), before[file]);
        if (now !== undefined) files[file] = now;
      }
      const isSame = FILES.every((file) => files[file] === before[file]);
      if (!isSame) news.push({ folder, files });
    });
    for (const { folder, files } of news) held[folder] = files;
    if (news.length > 0) await this.#parts.cache.write(this.#parts.name, JSON.stringify(held));
  }

  async #read(): Promise<Held> {
    if (this.#anew !== undefined) return this.#anew;
    const text = (await this.#parts.cache.read(this.#parts.name))?.toString('utf8');
    return (text === undefined ? undefined : parseJson(text, heldSchema)) ?? {};
  }
}

async function isThere(path: string, [sizeBytes, changedMs, tail]: HeldFile): Promise<boolean> {
  const stats = await lstat(path).catch(() => undefined);
  if (stats === undefined || stats.size < sizeBytes) return false;
  return (stats.size === sizeBytes && stats.ctimeMs === changedMs) || (await tailAt(path, sizeBytes)) === tail;
}

/** `before` where that is still so; undefined where there is none, or it cannot be read. */
async function holds(path: string, before: HeldFile | undefined): Promise<HeldFile | undefined> {
  const stats = await lstat(path).catch(() => undefined);
  if (stats === undefined || !stats.isFile()) return undefined;
  if (before?.[0] === stats.size && before[1] === stats.ctimeMs) return before;
  const tail = await tailAt(path, stats.size);
  return tail === undefined ? undefined : [stats.size, stats.ctimeMs, tail];
}

async function tailAt(path: string, end: number): Promise<string | undefined> {
  try {
    const handle = await open(path, 'r');
    try {
      const bytes = Buffer.alloc(Math.min(end, TAIL_BYTES));
      const { bytesRead } = await handle.read(bytes, 0, bytes.length, end - bytes.length);
      return tailOf(bytes.subarray(0, bytesRead));
    } finally {
      await handle.close();
    }
  } catch {
    return undefined;
  }
}
