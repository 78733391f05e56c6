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
const headSchema = z.object({ ...place, station: z.string().refine(isStationName), manifestSha256: hex(64) });
const digestSchema = z.object({ manifestSha256: hex(64) });
const storedSchema = headSchema.extend({ manifest: z.looseObject({}) });

/** What a line says; undefined where it is none of this board, or says what this espd does not understand. */
export function readStoredLine(mac: Mac, json: unknown): StoredLine | undefined {
  const gone = readGone(mac, json);
  if (gone !== undefined) return gone;
  const stored = storedSchema.safeParse(json).data;
  if (stored === undefined || !isFolderOf(stored.folder, mac, stored.id)) return undefined;
  const reading = readManifest(stored.manifest);
  if (reading.kind !== 'read') return undefined;
  const { manifest } = reading;
  if (manifest.mac !== mac || manifest.id !== stored.id || contradictions(manifest).length > 0) return undefined;
  return { mac, removed: false, ...stored, manifest };
}

function readGone(mac: Mac, json: unknown): StoredLine | undefined {
  const gone = goneSchema.safeParse(json).data;
  if (gone === undefined || !isFolderOf(gone.folder, mac, gone.id)) return undefined;
  const { missing, ...about } = gone;
  return { mac, ...about, isMissing: missing === true };
}

/** What a line says beside its manifest, which is nearly all of it, and is of no use where a later line counts. */
export interface StoredClaim {
  /** As {@link keyOf} and {@link latestOf} have it. */
  readonly key: string;
  readonly latest: Latest;
  /** Of the backup that is there, or of the one that is gone where its line says so; null = it does not. */
  readonly manifestSha256: string | null;
  /** The line as it stands. */
  readonly bytes: Buffer;
  /** The line as a whole; undefined as {@link readStoredLine}. */
  readonly check: () => StoredLine | undefined;
}

/** Of what espd writes the manifest stands last. Inside of a text the quotes would be escaped. */
const MANIFEST_KEY = ',"manifest":{';

/** @param bytes of the line. Undefined where it surely is none of {@link readStoredLine} */
export function readStoredClaim(mac: Mac, bytes: Buffer): StoredClaim | undefined {
  const at = bytes.indexOf(MANIFEST_KEY);
  const head = at === -1 ? undefined : headSchema.safeParse(parsed(`${bytes.toString('utf8', 0, at)}}`)).data;
  if (head !== undefined && isFolderOf(head.folder, mac, head.id)) {
    const latest = latestOf({ removed: false, ...head });
    // The line lies in memory that is read into again.
    const own = Buffer.from(bytes);
    const check = () => {
      const line = readStoredLine(mac, parsed(own.toString('utf8')));
      // Keys twice, the other ones behind the manifest: no espd writes that.
      return line === undefined || line.removed || keyOf(line) !== keyOf(head) ? undefined : line;
    };
    return { key: keyOf(head), latest, manifestSha256: head.manifestSha256, bytes: own, check };
  }
  const json = parsed(bytes.toString('utf8'));
  const line = readStoredLine(mac, json);
  if (line === undefined) return undefined;
  const manifestSha256 = digestSchema.safeParse(json).data?.manifestSha256 ?? null;
  return { key: keyOf(line), latest: latestOf(line), manifestSha256, bytes: Buffer.from(bytes), check: () => line };
}

/** The line of a backup that is gone, with what it was: that stood in lines which need not be kept then. */
export function withDigest(bytes: Buffer, manifestSha256: string): Buffer {
  return Buffer.from(JSON.stringify({ ...(parsed(bytes.toString('utf8')) as object), manifestSha256 }));
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
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

export function latestOf(
  line:
    | Pick<Extract<StoredLine, { removed: true }>, 'removed' | 'at' | 'isMissing'>
    | Pick<Extract<StoredLine, { removed: false }>, 'removed' | 'at' | 'manifestSha256' | 'station'>,
): Latest {
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
