/** Compares a board with what it should hold by one digest of the chip: nothing is read out, nothing is written. */

import type { ChipChangeSince } from '../archive/chip-change.ts';
import type { Confirmation } from '../archive/marks/events.ts';
import type { Archive } from '../archive/types.ts';
import { hasCode } from '../errors.ts';
import type { Mac } from '../mac.ts';
import { attachedChip, changedSince } from './attached-chip.ts';
import { confirmOnce } from './confirm.ts';
import { type KnownBackup, allKnown, expectedKnown, ifKnown } from './meant-backup.ts';
import { type Session, whileHeld } from './session.ts';

export interface DeviceVerification {
  /** What the board should hold: see {@link expectedKnown}. */
  readonly backup: KnownBackup;
  /** The board's flash is that image, byte for byte, by the MD5 of the chip. */
  readonly matches: boolean;
  /** The backup that the flash equals: `backup`, or another one of this board; null for none. */
  readonly equals: KnownBackup | null;
  /** The MD5 that the chip gave of its whole flash; null where it was not asked. */
  readonly seen: Omit<Confirmation, 'id'> | null;
  /** What says that the board is another chip than `backup` was taken of; null where nothing does, and of another MAC. */
  readonly chipChange: ChipChangeSince | null;
}

/** @throws EspdError `archive-unknown-board`, `archive-unknown-backup` when the board has no backup yet */
export async function verifyDevice(session: Session, archive: Archive): Promise<DeviceVerification> {
  const { board } = session;
  const { mac } = board.identity;
  const backup = await whileHeld(
    session,
    archive.resolveBoard(mac).then((known) => expectedKnown(archive, known)),
  );
  const flash = await board.openFlash();
  const { sizeBytes } = flash;
  const fits = ({ manifest }: KnownBackup) => manifest.image.sizeBytes === sizeBytes;
  const md5 = fits(backup) ? await board.digest(0, sizeBytes) : undefined;
  const chipChange =
    backup.mac === mac ? changedSince(backup, attachedChip(board, flash, await board.readEfuses())) : null;
  const found = (given: string | undefined, equals: KnownBackup | null): DeviceVerification => ({
    ...{ backup, matches: equals === backup, equals, chipChange },
    seen: given === undefined ? null : seenAt(session, given),
  });
  if (md5 === backup.manifest.image.md5) return found(md5, backup);
  const others = (await whileHeld(session, knownImages(archive, backup, mac))).filter(fits);
  if (others.length === 0) return found(md5, null);
  const whole = md5 ?? (await board.digest(0, sizeBytes));
  return found(whole, others.find(({ manifest }) => manifest.image.md5 === whole) ?? null);
}

function seenAt({ board, options, port }: Session, md5: string): Omit<Confirmation, 'id'> {
  return { at: options.clock.date().toISOString(), md5, by: board.loaderKind, port: port.address };
}

/**
 * The backup that {@link confirmSeen} would note as confirmed, here or not; undefined where there is none.
 * A chip that is another one than the backup says proves nothing of it.
 */
export function confirmable({ equals, seen, chipChange }: DeviceVerification, mac: Mac): KnownBackup | undefined {
  const proves = equals?.mac === mac && equals.manifest.confirmed === null && seen !== null && chipChange === null;
  return proves ? equals : undefined;
}

/**
 * Notes that a chip has confirmed the backup that its flash equals, where no chip had; its files are hashed first, so it must
 * be here. To be called once the board is released.
 *
 * @returns whether it was noted
 * @throws EspdError `archive-unwritable`, `disk-full`
 */
export async function confirmSeen(
  archive: Archive,
  verification: DeviceVerification,
  mac: Mac,
  signal: AbortSignal,
): Promise<boolean> {
  const equals = confirmable(verification, mac);
  const { seen } = verification;
  if (equals === undefined || seen === null) return false;
  if ((await archive.verifyBackup(equals.mac, equals.id, signal)).length > 0) return false;
  return confirmOnce(archive, equals, seen);
}

/** Backups of the board, the newest first, and those of other boards that were restored to it. */
async function knownImages(archive: Archive, expected: KnownBackup, mac: Mac): Promise<KnownBackup[]> {
  const known = [...(await allKnown(archive, mac))];
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
