/** What lies in a bucket, by one list of it: copies of backups, and what is noted to be removed. */

import type { ObjectFacts, ObjectStore } from '../../store/types.ts';
import { JOURNAL } from '../journal/names.ts';
import { PROBES, parseFolder } from '../layout.ts';
import { CopyBook } from './copy-book.ts';
import { LEASES, REMOVALS } from './format.ts';
import type { StoredCopy } from './stored-copy.ts';

/** What espd keeps in a bucket beside the backups. */
export const BESIDE: readonly string[] = [JOURNAL, PROBES, LEASES, REMOVALS];

/** A removal that somebody has announced. */
export interface NotedRemoval {
  /** How long it has been there, by the store's clock; null where the store does not say. */
  readonly ageMs: number | null;
  readonly graceMs: number;
  /** Names of the objects that SHA256SUMS lists; empty where the note is not understood. */
  readonly files: readonly string[];
  readonly isUnderstood: boolean;
}

export interface Inventory {
  /** By folder. */
  readonly copies: ReadonlyMap<string, StoredCopy>;
  /** Notes of removals, by the folder that they speak of. */
  readonly notes: ReadonlyMap<string, ObjectFacts>;
}

const BACKUP = /^((?:stations\/[^/]+\/)?[^/]+\/[^/]+\/)(.+)$/;
const NOTE = /^removals\/(.+)\.json$/;

export interface InventoryOptions {
  readonly signal: AbortSignal;
  /** Only what begins so behind the prefix. */
  readonly under?: readonly string[];
  readonly onProgress?: ((objects: number) => void) | undefined;
  /** Told of every object that is none of a backup's, nor one that espd keeps beside them; its key behind the prefix. */
  readonly onForeign?: (key: string) => void;
}

export async function takeInventory(
  store: ObjectStore,
  prefix: string,
  { signal, under = [''], onProgress, onForeign }: InventoryOptions,
): Promise<Inventory> {
  const copies = new CopyBook();
  const notes = new Map<string, ObjectFacts>();
  const take = (facts: ObjectFacts) => {
    const key = facts.key.slice(prefix.length);
    const noted = NOTE.exec(key)?.[1];
    if (noted !== undefined && parseFolder(`${noted}/`) !== undefined) notes.set(`${noted}/`, facts);
    if (BESIDE.some((folder) => key.startsWith(folder))) return;
    const [, folder = '', file = ''] = BACKUP.exec(key) ?? [];
    if (parseFolder(folder) === undefined) onForeign?.(key);
    else copies.add(folder, file, facts);
  };
  let objects = 0;
  for (const part of under) {
    for (let from: string | null = null; ;) {
      const page = await store.list({ prefix: prefix + part, from, signal });
      page.objects.forEach(take);
      objects += page.objects.length;
      onProgress?.(objects);
      from = page.next;
      if (from === null) break;
    }
  }
  return { copies: copies.end(), notes };
}
