/** Where the backups of a board lie: here, in a store, or both. Pure. */

import type { Backup } from '../backup.ts';
import type { Manifest } from '../manifest.ts';
import { isSameBackup } from './same-id.ts';
import type { StoredBackup } from './types.ts';

/** Of a manifest what is shown of many boards at once: nothing that is long. */
export type ManifestGlance = Pick<
  Manifest,
  'createdAt' | 'reason' | 'chip' | 'flash' | 'security' | 'image' | 'confirmed'
> & { readonly contents: Pick<Manifest['contents'], 'firmware'> };

export function glanceOf(manifest: Manifest): ManifestGlance {
  const { createdAt, reason, chip, flash, security, image, contents, confirmed } = manifest;
  return { createdAt, reason, chip, flash, security, image, contents: { firmware: contents.firmware }, confirmed };
}

/** What lies in a store of the backups of a board, by their ids alone. */
export interface ElsewhereGlance {
  /** Of those that are not here, oldest first. */
  readonly ids: readonly string[];
  /** How many lie here and in a store. */
  readonly alsoHere: number;
  /** The newest of all, where it is not here. */
  readonly newest: { readonly id: string; readonly manifest: ManifestGlance } | null;
  /** Who has put the newest of all into the store; null where that lies here alone. */
  readonly station: string | null;
}

/**
 * Null where nothing lies in a store.
 * @param here ids of all that is here, oldest first
 * @param stored oldest first
 */
export function elsewhereGlance(here: readonly string[], stored: readonly StoredBackup[]): ElsewhereGlance | null {
  if (stored.length === 0) return null;
  const known = new Set(here);
  const there = new Set(stored.map(({ id }) => id));
  const last = stored.at(-1);
  const newestHere = here.at(-1) ?? '';
  return {
    ids: [...there].filter((id) => !known.has(id)),
    alsoHere: here.filter((id) => there.has(id)).length,
    newest: last !== undefined && last.id > newestHere ? { id: last.id, manifest: glanceOf(last.manifest) } : null,
    station: last !== undefined && last.id >= newestHere ? last.station : null,
  };
}

/** Ids of both, oldest first. */
export function allIds(here: readonly string[], elsewhere: Pick<ElsewhereGlance, 'ids'> | null): readonly string[] {
  return elsewhere === null || elsewhere.ids.length === 0 ? here : [...here, ...elsewhere.ids].sort();
}

export interface Places {
  /** Those that are not here, oldest first: also one whose id is here with other content. */
  readonly elsewhere: readonly StoredBackup[];
  /** Of those that are here and in a store, by id. */
  readonly stored: ReadonlyMap<string, StoredBackup>;
}

export const NOWHERE_ELSE: Places = { elsewhere: [], stored: new Map() };

export function placesOf(backups: readonly Pick<Backup, 'id' | 'manifest'>[], all: readonly StoredBackup[]): Places {
  const byImage = new Map<string, Pick<Backup, 'id' | 'manifest'>[]>();
  for (const backup of backups) {
    const { sha256 } = backup.manifest.image;
    const alike = byImage.get(sha256);
    if (alike === undefined) byImage.set(sha256, [backup]);
    else alike.push(backup);
  }
  const hereAs = (each: StoredBackup) => {
    const alike = byImage.get(each.manifest.image.sha256) ?? [];
    const same = alike.filter((backup) => isSameBackup(backup, each));
    return (same.find(({ id }) => id === each.id) ?? same[0])?.id;
  };
  const elsewhere: StoredBackup[] = [];
  const stored = new Map<string, StoredBackup>();
  for (const each of all) {
    const id = hereAs(each);
    if (id !== undefined) {
      // One that was fetched beside another of its id lies there under both of its ids, once this station has put it there.
      if (each.id === id || !stored.has(id)) stored.set(id, each);
      continue;
    }
    // Of one that lies in a store twice, once is enough: under the id that is its own.
    const known = elsewhere.findIndex((other) => isSameBackup(other, each));
    if (known !== -1 && elsewhere[known]?.id === each.id) continue;
    if (known !== -1) elsewhere.splice(known, 1);
    elsewhere.push(each);
  }
  return { elsewhere, stored };
}
