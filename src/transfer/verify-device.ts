/** Compares a board with its newest backup by one digest of the chip: nothing is read out, nothing is written. */

import type { Archive, Backup } from '../archive/types.ts';
import { type Session, whileHeld } from './session.ts';

export interface DeviceVerification {
  readonly backup: Backup;
  readonly matches: boolean;
}

/** @throws EspdError `archive-unknown-board`, `archive-unknown-backup` when the board has no backup yet */
export async function verifyDevice(session: Session, archive: Archive): Promise<DeviceVerification> {
  const { board } = session;
  const { mac } = board.identity;
  const backup = await whileHeld(
    session,
    archive.resolveBoard(mac).then((known) => archive.resolveBackup(known, 'latest')),
  );
  const flash = await board.openFlash();
  const { sizeBytes, md5 } = backup.manifest.image;
  const matches = flash.sizeBytes === sizeBytes && (await board.digest(0, sizeBytes)) === md5;
  return { backup, matches };
}
