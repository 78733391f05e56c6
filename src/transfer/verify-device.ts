/** Compares a board with what it should hold by one digest of the chip: nothing is read out, nothing is written. */

import type { Archive, Backup } from '../archive/types.ts';
import { hasCode } from '../errors.ts';
import { expectedBackup, ifKnown } from './meant-backup.ts';
import { type Session, whileHeld } from './session.ts';

export interface DeviceVerification {
  /** What the board should hold: see {@link expectedBackup}. */
  readonly backup: Backup;
  /** The board's flash is that image, byte for byte, by the MD5 of the chip. */
  readonly matches: boolean;
  /** The backup that the flash equals: `backup`, or another one of this board; null for none. */
  readonly equals: Backup | null;
}

/** @throws EspdError `archive-unknown-board`, `archive-unknown-backup` when the board has no backup yet */
export async function verifyDevice(session: Session, archive: Archive): Promise<DeviceVerification> {
  const { board } = session;
  const { mac } = board.identity;
  const backup = await whileHeld(
    session,
    archive.resolveBoard(mac).then((known) => expectedBackup(archive, known)),
  );
  const { sizeBytes } = await board.openFlash();
  const fits = ({ manifest }: Backup) => manifest.image.sizeBytes === sizeBytes;
  const md5 = fits(backup) ? await board.digest(0, sizeBytes) : undefined;
  if (md5 === backup.manifest.image.md5) return { backup, matches: true, equals: backup };
  const others = (await whileHeld(session, knownImages(archive, backup, mac))).filter(fits);
  if (others.length === 0) return { backup, matches: false, equals: null };
  const found = md5 ?? (await board.digest(0, sizeBytes));
  const equals = others.find(({ manifest }) => manifest.image.md5 === found) ?? null;
  return { backup, matches: false, equals };
}

/** Backups of the board, the newest first, and those of other boards that were restored to it. */
async function knownImages(archive: Archive, expected: Backup, mac: Backup['mac']): Promise<Backup[]> {
  const known = (await archive.history(mac)).backups.toReversed();
  for (const { from } of (await archive.restores(mac)).toReversed()) {
    if (from.mac === mac || known.some((one) => one.mac === from.mac && one.id === from.id)) continue;
    const backup = await ifKnown(archive, from).catch((error: unknown) => {
      // Damaged, it is not what the board was given; "verify" without --device tells.
      if (!hasCode(error, 'archive-damaged')) throw error;
      return undefined;
    });
    if (backup !== undefined) known.push(backup);
  }
  return known.filter(({ mac: owner, id }) => owner !== expected.mac || id !== expected.id);
}
