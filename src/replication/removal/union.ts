/**
 * What retention decides by for a bucket: the backups that lie there, with what all stations have noted of their boards.
 * What cannot be read keeps everything that it may name, as in the archive.
 */

import { forEachAtOnce } from '../../archive/at-once.ts';
import type { ManifestReading } from '../../archive/manifest.ts';
import { isConfirmed, pinOf } from '../../archive/marks/marks.ts';
import type { KnownOfBoard, RetentionBackup, RetentionBoard, RetentionFacts } from '../../archive/retention/types.ts';
import type { Mac } from '../../mac.ts';
import { encryptedSize } from '../encryption.ts';
import { ENCRYPTED } from '../layout.ts';
import { CHECKSUMS, MANIFEST } from '../local-backup.ts';
import type { MayHavePinned } from '../journal/gone.ts';
import type { Inventory, NotedRemoval } from './inventory.ts';
import { type StoredName, nameKey, namesOf } from './named-copies.ts';
import type { StoredCopy } from './stored-copy.ts';

/** Manifests that are fetched at a time. */
const AT_ONCE = 8;

export interface Union {
  readonly facts: RetentionFacts;
  /** By {@link nameKey}. */
  readonly names: ReadonlyMap<string, StoredName>;
}

/** Null: it cannot be had, or is encrypted with a key that is not here. */
export type ReadManifest = (copy: StoredCopy, signal: AbortSignal) => Promise<ManifestReading | null>;

/** What all stations have told until now. */
export interface Told {
  /** Of all boards of the archive, and of the bucket. */
  readonly known: readonly KnownOfBoard[];
  /** What of the journals could not be read; a sentence fragment each. */
  readonly problems: readonly string[];
  /** Whose pins may stand in what will never be read. */
  readonly gone: readonly MayHavePinned[];
  readonly nowMs: number;
}

export interface UnionParts extends Told {
  readonly inventory: Inventory;
  readonly notes: ReadonlyMap<string, NotedRemoval>;
  readonly readManifest: ReadManifest;
  readonly only?: ReadonlySet<Mac> | undefined;
  readonly signal: AbortSignal;
}

export async function unionOf(parts: UnionParts): Promise<Union> {
  const { inventory, notes, known, readManifest, problems, gone, nowMs, only, signal } = parts;
  const names = namesOf(inventory.copies.values(), (copy) => isThere(copy, notes.get(copy.folder)));
  const marksOf = new Map(known.map((board) => [board.mac, board]));
  const backups = new Map<Mac, RetentionBackup[]>();
  await forEachAtOnce(
    [...names.values()],
    AT_ONCE,
    async (name) => {
      const facts = await factsOf(name, marksOf.get(name.mac), (copy) => readManifest(copy, signal));
      const ofBoard = backups.get(name.mac) ?? [];
      backups.set(name.mac, ofBoard);
      ofBoard.push({ ...facts, mayBePinnedBy: mayBePinnedBy(name, gone) });
    },
    signal,
  );
  return { facts: retentionFacts({ known, backups, problems, nowMs, only }), names };
}

/** The same backups, with the marks as they are now. */
export function withMarks({ facts, names }: Union, { known, problems, gone, nowMs }: Told): Union {
  const marksOf = new Map(known.map((board) => [board.mac, board]));
  const backups = new Map(
    facts.boards.map(({ mac, backups: ofBoard }): [Mac, RetentionBackup[]] => {
      const marks = marksOf.get(mac)?.marks ?? { pins: [] };
      const now = (backup: RetentionBackup): RetentionBackup => ({
        ...{ ...backup, pin: pinOf(backup.id, marks) },
        mayBePinnedBy: mayBePinnedBy(names.get(nameKey({ mac, id: backup.id })), gone),
      });
      return [mac, ofBoard.map(now)];
    }),
  );
  return { facts: retentionFacts({ known, backups, problems, nowMs, only: facts.only }), names };
}

/** Who is gone and may have pinned it: it was there, or a part of it, when that was said. */
function mayBePinnedBy(name: StoredName | undefined, gone: readonly MayHavePinned[]): string | null {
  // What nobody knows the age of may be as old as any.
  const firstMs = Math.min(...(name?.copies ?? []).map((copy) => copy.firstMs ?? 0));
  return gone.find(({ untilMs }) => untilMs === null || firstMs <= untilMs)?.station ?? null;
}

/** Whether a folder is a backup: complete, or one of which a removal has taken nothing but SHA256SUMS. */
export function isThere({ files }: StoredCopy, note: NotedRemoval | undefined): boolean {
  if (files.has(CHECKSUMS)) return true;
  return note !== undefined && note.files.length > 0 && note.files.every((name) => files.has(name));
}

function retentionFacts({
  known,
  backups,
  problems,
  nowMs,
  only,
}: Pick<UnionParts, 'known' | 'problems' | 'nowMs' | 'only'> & {
  readonly backups: ReadonlyMap<Mac, readonly RetentionBackup[]>;
}): RetentionFacts {
  const boards = known.map((board): RetentionBoard => ({ ...board, backups: backups.get(board.mac) ?? [] }));
  const obstacles = [...problems, ...known.flatMap((board) => board.obstacles)];
  return { boards, obstacles, nowMs, ...(only === undefined ? {} : { only }) };
}

async function factsOf(
  { id, mac, copies }: StoredName,
  board: KnownOfBoard | undefined,
  readManifest: (copy: StoredCopy) => ReturnType<ReadManifest>,
): Promise<RetentionBackup> {
  const judged = await Promise.all(
    copies.map(async (copy) => {
      const reading = await readManifest(copy);
      return { copy, reading, state: stateOf(copy, reading) };
    }),
  );
  const first = judged.find(({ state }) => state === 'sound')?.reading;
  const manifest = first?.kind === 'read' ? first.manifest : undefined;
  const marks = board?.marks ?? { pins: [], confirmations: [] };
  const files = copies.flatMap((copy) => [...copy.files.values()]);
  return {
    id,
    createdAt: manifest?.createdAt ?? null,
    // A name stands for all that lies under it, so the worst of it counts.
    state: judged.find(({ state }) => state !== 'sound')?.state ?? 'sound',
    firmware: manifest?.contents.firmware ?? null,
    sizeOnDiskBytes: files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    pin: pinOf(id, marks),
    holdsForeign: judged.some(({ copy, reading }) => isForeignIn(copy, reading)),
    isConfirmed: judged.every(
      ({ reading }) => reading?.kind === 'read' && isConfirmed({ id, manifest: reading.manifest }, marks),
    ),
    isImported: judged.some(({ reading }) => reading?.kind === 'read' && reading.manifest.confirmed === null),
  };

  function stateOf(copy: StoredCopy, reading: ManifestReading | null): RetentionBackup['state'] {
    if (reading === null) return 'unreadable';
    if (reading.kind !== 'read') return reading.kind;
    const { image, mac: told, id: named } = reading.manifest;
    const plain = copy.files.get(image.file);
    const stored = plain ?? copy.files.get(image.file + ENCRYPTED);
    if (stored === undefined || told !== mac || named !== id) return 'damaged';
    if (image.file !== 'flash.bin') return 'sound'; // how long it is when packed, the manifest does not say
    const expected = plain === undefined ? encryptedSize(image.sizeBytes) : image.sizeBytes;
    return stored.sizeBytes === expected ? 'sound' : 'damaged';
  }
}

function isForeignIn({ files }: StoredCopy, reading: ManifestReading | null): boolean {
  if (reading?.kind !== 'read') return false; // protected anyway
  const suffix = files.has(MANIFEST) ? '' : ENCRYPTED;
  const ours = [CHECKSUMS, MANIFEST + suffix, reading.manifest.image.file + suffix];
  return [...files.keys()].some((name) => !ours.includes(name));
}
