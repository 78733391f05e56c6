/** What lies in a bucket, by one list of it: copies of backups, and what is noted to be removed. */

import type { Mac } from '../../mac.ts';
import type { ObjectFacts, ObjectStore } from '../../store/types.ts';
import { parseFolder } from '../layout.ts';
import { REMOVALS } from './format.ts';

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

export async function takeInventory(
  store: ObjectStore,
  prefix: string,
  { signal, onProgress }: { signal: AbortSignal; onProgress?: ((objects: number) => void) | undefined },
): Promise<Inventory> {
  const copies = new Map<string, StoredCopy & { readonly files: Map<string, ObjectFacts> }>();
  const notes = new Map<string, ObjectFacts>();
  let objects = 0;
  for (let from: string | null = null; ;) {
    const page = await store.list({ prefix, from, signal });
    for (const facts of page.objects) {
      const key = facts.key.slice(prefix.length);
      const noted = NOTE.exec(key)?.[1];
      const parts = BACKUP.exec(key);
      if (key.startsWith(REMOVALS)) {
        if (noted !== undefined && parseFolder(`${noted}/`) !== undefined) notes.set(`${noted}/`, facts);
      } else if (parts !== null) {
        const [, folder = '', file = ''] = parts;
        const name = parseFolder(folder);
        if (name === undefined) continue;
        const { mac, id } = name;
        const copy = copies.get(folder) ?? { mac, id, folder, files: new Map<string, ObjectFacts>() };
        copies.set(folder, copy);
        copy.files.set(file, facts);
      }
    }
    objects += page.objects.length;
    onProgress?.(objects);
    from = page.next;
    if (from === null) return { copies, notes };
  }
}
