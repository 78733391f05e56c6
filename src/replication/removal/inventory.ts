/** What lies in a bucket, by one list of it: copies of backups, and what is noted to be removed. */

import type { Mac } from '../../mac.ts';
import type { ObjectFacts, ObjectStore } from '../../store/types.ts';
import { PROBES, parseFolder } from '../layout.ts';
import { JOURNAL } from '../journal/names.ts';
import { LEASES, REMOVALS } from './format.ts';

/** What espd keeps in a bucket beside the backups. */
export const BESIDE: readonly string[] = [JOURNAL, PROBES, LEASES, REMOVALS];

/** A folder of a backup, complete or not. */
export interface StoredCopy {
  readonly mac: Mac;
  readonly id: string;
  /** Behind the prefix, with a slash at its end. */
  readonly folder: string;
  /** Objects by their names in the folder. */
  readonly files: ReadonlyMap<string, ObjectFacts>;
}

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
  const copies = new Map<string, StoredCopy & { readonly files: Map<string, ObjectFacts> }>();
  const notes = new Map<string, ObjectFacts>();
  const take = (facts: ObjectFacts) => {
    const key = facts.key.slice(prefix.length);
    const noted = NOTE.exec(key)?.[1];
    if (noted !== undefined && parseFolder(`${noted}/`) !== undefined) notes.set(`${noted}/`, facts);
    if (BESIDE.some((folder) => key.startsWith(folder))) return;
    const [, folder = '', file = ''] = BACKUP.exec(key) ?? [];
    const name = parseFolder(folder);
    if (name === undefined) {
      onForeign?.(key);
      return;
    }
    const { mac, id } = name;
    const copy = copies.get(folder) ?? { mac, id, folder, files: new Map<string, ObjectFacts>() };
    copies.set(folder, copy);
    copy.files.set(file, facts);
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
  return { copies, notes };
}
