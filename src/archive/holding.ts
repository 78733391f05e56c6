/** Backups that lost their names to a removal which was broken off before it deleted anything. */

import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { systemCode } from '../errors.ts';
import type { Logger } from '../log.ts';
import { parseMac } from '../mac.ts';
import type { Mac } from '../mac.ts';
import type { Disk } from './disk.ts';
import { readStored } from './elsewhere/stored-log.ts';
import { CHECKSUMS, MANIFEST } from './folder.ts';
import { MAX_MANIFEST_BYTES, parseManifest } from './manifest.ts';
import { REMOVALS, readEvents } from './marks/events.ts';

/**
 * Gives a backup its name back, which lies whole in a dead process's draft, since it was being removed or released. It may
 * be what somebody has pinned, or restores, in that moment. Where a file is missing, its deletion had begun, so nobody had asked for it; and the name
 * of trash was lost with the power.
 *
 * Nothing is fsynced: should the name be lost again, the draft is there again.
 *
 * @param draft name of an abandoned draft in `boardFolder`
 * @returns false where the draft is no whole backup that was being removed. Rejects with the system's error
 */
export async function returnHolding(
  { disk, log }: { disk: Disk; log: Logger },
  boardFolder: string,
  draft: string,
): Promise<boolean> {
  const path = join(boardFolder, draft);
  const identity = await identityIn(disk, path);
  if (identity === undefined) return false;
  const { id } = identity;
  // No draft of a backup has an id that is noted as removed (`chooseId`).
  const { events } = await readEvents(disk, boardFolder, REMOVALS);
  if (!events.some((removal) => removal.id === id) && !(await isStored(disk, boardFolder, identity))) return false;
  const names = await disk.fs.readdir(path);
  if (![MANIFEST, CHECKSUMS, identity.imageFile].every((name) => names.includes(name))) return false;
  if (!(await disk.renameToNew(path, join(boardFolder, id)))) return false;
  log.info('a removal was broken off: the backup is there again', { path: join(boardFolder, id) });
  return true;
}

/** It is the very backup that lies in a store: it was being released, or taken over, and is whole (see `adopt`). */
async function isStored(disk: Disk, boardFolder: string, { mac, id, manifestSha256 }: Identity): Promise<boolean> {
  const stored = await readStored(disk, boardFolder, mac);
  return stored.some((backup) => backup.id === id && backup.manifestSha256 === manifestSha256);
}

interface Identity {
  readonly mac: Mac;
  readonly id: string;
  readonly imageFile: string;
  readonly manifestSha256: string;
}

/** Which backup lies in a draft's folder; undefined where it has no manifest yet, or no whole one. */
async function identityIn(disk: Disk, path: string): Promise<Identity | undefined> {
  let bytes: Buffer;
  try {
    bytes = await disk.readSmall(join(path, MANIFEST), MAX_MANIFEST_BYTES);
  } catch (error) {
    // Nothing else says that it is no backup: a fault of the disk, say, does not.
    if (['ENOENT', 'ENOTDIR', 'ELOOP', 'EISDIR', 'EFBIG'].includes(systemCode(error) ?? '')) return undefined;
    throw error;
  }
  const reading = parseManifest(bytes.toString('utf8'));
  if (reading.kind !== 'read') return undefined;
  const { id, image } = reading.manifest;
  const mac = parseMac(reading.manifest.mac);
  if (mac === undefined) return undefined;
  return { mac, id, imageFile: image.file, manifestSha256: createHash('sha256').update(bytes).digest('hex') };
}
