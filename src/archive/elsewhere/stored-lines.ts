/** elsewhere.jsonl: which backups of a board lie in a store. One JSON object a line, from anywhere. Pure. */

import { z } from 'zod';
import { macToFolder } from '../../mac.ts';
import type { Mac } from '../../mac.ts';
import { isBackupId } from '../ids.ts';
import { MAX_MANIFEST_BYTES, contradictions, readManifest } from '../manifest.ts';
import { isStationName } from '../station.ts';
import type { GoneBackup, StoredBackup } from './types.ts';

export const ELSEWHERE = 'elsewhere.jsonl';

/** A manifest, and what stands around it. */
export const MAX_LINE_BYTES = MAX_MANIFEST_BYTES + 4096;

/** What one line says of a folder in a store. */
export type StoredLine = ({ readonly removed: false } & StoredBackup) | ({ readonly removed: true } & GoneBackup);

const hex = (digits: number) => z.string().regex(new RegExp(`^[0-9a-f]{${digits}}$`));
const place = {
  at: z.iso.datetime().max(32),
  id: z.string().refine(isBackupId),
  store: hex(16),
  folder: z.string().max(200),
};
const goneSchema = z.object({ ...place, removed: z.literal(true), missing: z.literal(true).exactOptional() });
const storedSchema = z.object({
  ...place,
  station: z.string().refine(isStationName),
  manifestSha256: hex(64),
  manifest: z.looseObject({}),
});

/** What a line says; undefined where it is none of this board, or says what this espd does not understand. */
export function readStoredLine(mac: Mac, json: unknown): StoredLine | undefined {
  const gone = goneSchema.safeParse(json).data;
  if (gone !== undefined) {
    const { missing, ...about } = gone;
    return isFolderOf(gone.folder, mac, gone.id) ? { mac, ...about, isMissing: missing === true } : undefined;
  }
  const stored = storedSchema.safeParse(json).data;
  if (stored === undefined || !isFolderOf(stored.folder, mac, stored.id)) return undefined;
  const reading = readManifest(stored.manifest);
  if (reading.kind !== 'read') return undefined;
  const { manifest } = reading;
  if (manifest.mac !== mac || manifest.id !== stored.id || contradictions(manifest).length > 0) return undefined;
  return { mac, removed: false, ...stored, manifest };
}

/** A line for {@link readStoredLine}. */
export function toStoredLine(line: StoredLine): object {
  const { at, id, store, folder } = line;
  if (line.removed)
    return { at, id, store, folder, removed: true, ...(line.isMissing === true ? { missing: true } : {}) };
  const { station, manifestSha256, manifest } = line;
  return { at, id, store, folder, station, manifestSha256, manifest };
}

/** Only these two names are a backup's folder: nothing else is ever asked of a store. */
function isFolderOf(folder: string, mac: Mac, id: string): boolean {
  const own = `${macToFolder(mac)}/${id}/`;
  if (folder === own) return true;
  const [stations, name = '', ...rest] = folder.split('/');
  return stations === 'stations' && isStationName(name) && rest.join('/') === own;
}

/** Of what all lines say of one folder in a store so much decides. */
export interface Latest {
  readonly atMs: number;
  readonly removed: boolean;
  /** Tells lines apart that say different things at the same time. */
  readonly what: string;
}

export function keyOf({ store, folder }: Pick<StoredLine, 'store' | 'folder'>): string {
  return `${store} ${folder}`;
}

export function latestOf(line: StoredLine): Latest {
  const how = line.removed && line.isMissing !== true ? 'removed' : '';
  const what = line.removed ? how : `${line.manifestSha256} ${line.station}`;
  return { atMs: Date.parse(line.at), removed: line.removed, what };
}

/**
 * Whether `line` counts, and not `known`: the later one. Of two at the same time it is that which says that the backup is
 * there, as whoever wants it finds out; so the order in which lines come never matters.
 */
export function outdates(line: Latest, known: Latest | undefined): boolean {
  if (known === undefined) return true;
  if (line.atMs !== known.atMs) return line.atMs > known.atMs;
  if (line.removed !== known.removed) return known.removed;
  return line.what > known.what;
}
