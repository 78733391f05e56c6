/** What is on a board is backed up before it is overwritten, unless it is kept already or there is nothing to keep. */

import type { HalfRestored } from '../../archive/restore-record.ts';
import type { Archive } from '../../archive/types.ts';
import { EspdError, hasCode, systemCode } from '../../errors.ts';
import type { FlashFacts } from '../../esp/board.ts';
import type { Mac } from '../../mac.ts';
import { type Likeness, readFlash } from '../backup.ts';
import { BLANK, uniformDigest } from '../../archive/uniform.ts';
import type { SnapshotPlan } from './plan.ts';
import { type Session, whileHeld } from '../session.ts';

/** The backup that holds what was on the board. */
export interface Snapshot {
  readonly id: string;
  /** It was made for this restore; else the archive held that content already. */
  readonly isNew: boolean;
}

/** Failures that keep the snapshot alone from being made. */
const SNAPSHOT_FAULTS = [
  'archive-unreadable',
  'archive-unwritable',
  'digest-mismatch',
  'disk-full',
  'no-stub-read',
  'read-failed',
] as const;

/** Backups in which the flash is looked for: each takes a manifest to read, and a second copy costs only room. */
const MAX_LOOKED_AT = 16;

export interface SnapshotFacts {
  readonly session: Session;
  readonly archive: Archive;
  readonly flash: FlashFacts;
  readonly half: HalfRestored | null;
  /** False: the person wants none. */
  readonly isWanted: boolean;
  /** The chip's digest of its whole flash. */
  readonly flashDigest: () => Promise<string>;
}

/** Asks for one digest; changes nothing. */
export async function planSnapshot(facts: SnapshotFacts): Promise<SnapshotPlan> {
  const { session, archive, flash, half, isWanted, flashDigest } = facts;
  if (half !== null) return { kind: 'none', because: 'half-restored' };
  if (!isWanted) return { kind: 'none', because: 'not-wanted' };
  const { mac } = session.board.identity;
  const md5 = await flashDigest();
  if (md5 === uniformDigest(BLANK, flash.sizeBytes)) return { kind: 'none', because: 'blank' };
  const id = await whileHeld(session, findSound(archive, mac, { sizeBytes: flash.sizeBytes, md5 }, session));
  return id === undefined ? { kind: 'made' } : { kind: 'exists', id };
}

/** Among the newest backups of the board, the id of one that holds the image and is not rotten. */
async function findSound(
  archive: Archive,
  mac: Mac,
  { sizeBytes, md5 }: { readonly sizeBytes: number; readonly md5: string },
  { options: { signal } }: Session,
): Promise<string | undefined> {
  let looked = 0;
  for await (const { id, manifest } of archive.newestFirst(mac)) {
    const isSame = manifest.image.sizeBytes === sizeBytes && manifest.image.md5 === md5;
    if (isSame && (await archive.verifyBackup(mac, id, signal)).length === 0) return id;
    signal.throwIfAborted();
    if (++looked === MAX_LOOKED_AT) break;
  }
  return undefined;
}

const WITHOUT = '--no-snapshot restores without one: what is on the board now is then lost';

/**
 * Before anybody is asked: a read-only archive takes no snapshot, and needs another place for the record of the restore.
 * @throws EspdError `archive-unwritable`
 */
export function guardReadOnly(
  { root }: Archive,
  readOnly: { readonly recordFolder: string | null } | null,
  snapshot: SnapshotPlan,
): void {
  if (readOnly === null) return;
  if (readOnly.recordFolder === null) {
    throw new EspdError('archive-unwritable', `The archive ${root} is on a read-only file system`, {
      hint: 'Nothing was written. Set archive.statePath in the config to a folder in which a restore can be noted',
    });
  }
  if (snapshot.kind !== 'made') return;
  throw new EspdError(
    'archive-unwritable',
    `The archive ${root} is on a read-only file system, and cannot take a snapshot of what is on the board`,
    { hint: `Nothing was written. ${WITHOUT}` },
  );
}

/**
 * @param flashMd5 the chip's digest of its whole flash
 * @param like the image that is to be written, where all of the flash was compared with it
 * @throws EspdError what a backup throws; then nothing may be written
 */
export async function makeSnapshot(
  session: Session,
  archive: Archive,
  plan: SnapshotPlan,
  flashMd5: () => Promise<string>,
  like: Likeness | undefined,
): Promise<Snapshot | null> {
  if (plan.kind === 'none') return null;
  if (plan.kind === 'exists') return { id: plan.id, isNew: false };
  try {
    const known = { flashMd5: await flashMd5(), ...(like === undefined ? {} : { like }) };
    const unkept = await readFlash(session, { archive, full: false, reason: 'before-restore', ...known });
    // The one backup that is kept while the board is held: nothing may be written before it is on the disk.
    const { backup, unchanged } = await whileHeld(session, unkept.keep());
    return { id: backup.id, isNew: !unchanged };
  } catch (error) {
    if (!hasCode(error, ...SNAPSHOT_FAULTS)) throw error;
    throw new EspdError(error.code, `No snapshot of what is on the board could be made: ${error.message}`, {
      cause: error,
      hint: hintFor(error),
    });
  }
}

/** Where the archive takes no writes from this user, it takes no record of the restore either. */
function hintFor(error: EspdError): string {
  const isRefused = error.code === 'archive-unwritable' && systemCode(error.cause) !== 'EROFS';
  return ['Nothing was written', error.hint, isRefused ? '' : WITHOUT].filter((text) => text !== '').join('. ');
}
