/**
 * A backup out of a store becomes one of this archive, as its station has made it.
 *
 * The manifest is written last, when the image is on the disk and its digests are right: a draft with a manifest is whole,
 * whenever the process dies.
 */

import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { EspdError } from '../../errors.ts';
import type { Logger } from '../../log.ts';
import { macToFolder } from '../../mac.ts';
import type { Mac } from '../../mac.ts';
import { printable } from '../../printable.ts';
import type { Backup } from '../backup.ts';
import { judgeBackup } from '../board-folder.ts';
import { formatChecksums } from '../checksums.ts';
import { writeAll } from '../disk.ts';
import { CHECKSUMS, type Finding, MANIFEST, hashImage, inspectFolder, judgeImage } from '../folder.ts';
import { type SpaceAsker, reserveSpace } from '../free-space.ts';
import type { ImageHasher } from '../hasher.ts';
import { PLAIN_IMAGE, checkRange } from '../image.ts';
import { clearLeftovers } from '../leftovers.ts';
import { MAX_MANIFEST_BYTES, contradictions, parseManifest } from '../manifest.ts';
import type { Manifest } from '../manifest.ts';
import { type Owner, draftName } from '../owner.ts';
import type { Adoption, Fill } from './types.ts';

export interface AdopterParts extends Omit<SpaceAsker, 'owner' | 'compression'> {
  readonly log: Logger;
  readonly hasher: ImageHasher;
  readonly self: () => Promise<Owner>;
  /** Told of a backup that has become visible; never rejects. */
  onCommitted(backup: Backup): Promise<void>;
}

/** What compression makes of random bytes is a little longer than they are. */
const COMPRESSION_FACTOR = 1.01;
const COMPRESSION_HEAD_BYTES = 1024;

/** To a board's folder that is there. Rejects as {@link ArchiveElsewhere.adopt}, or with the system's error. */
export async function adopt(
  parts: AdopterParts,
  adoption: Adoption,
  fill: Fill,
  signal?: AbortSignal,
): Promise<Backup> {
  signal?.throwIfAborted();
  const manifest = readAdopted(adoption);
  const known = await knownAs(parts, adoption);
  if (known !== undefined) return known;

  const { disk, log, root } = parts;
  const owner = await parts.self();
  const boardFolder = join(root, macToFolder(adoption.mac));
  const path = join(boardFolder, draftName(owner));
  let handle: FileHandle | undefined;
  try {
    await disk.makeFolder(path);
    await clearLeftovers({ disk, log, owner }, boardFolder, (await disk.fs.lstat(path)).mtimeMs);
    handle = await disk.createFile(join(path, adoption.imageFile));
    await reserveSpace({ ...parts, owner, compression: 'none' }, { path, image: handle }, adoption.imageBytes);
    const image = handle;
    await fill(async (offset, bytes) => {
      signal?.throwIfAborted();
      checkRange(offset, bytes.length, adoption.imageBytes);
      await writeAll(image, bytes, offset);
    });
    signal?.throwIfAborted();
    await handle.sync();
    await handle.close();
    handle = undefined;
    return await publish(parts, adoption, manifest, { boardFolder, path }, signal);
  } finally {
    await handle?.close().catch(() => undefined);
    // After the rename nothing has this name; what cannot be removed is cleared by a later `begin`.
    await disk.fs.rm(path, { recursive: true, force: true }).catch((error: unknown) => {
      log.warn('a draft could not be removed', { path, error: String(error) });
    });
  }
}

async function publish(
  parts: AdopterParts,
  adoption: Adoption,
  manifest: Manifest,
  { boardFolder, path }: { readonly boardFolder: string; readonly path: string },
  signal: AbortSignal | undefined,
): Promise<Backup> {
  const { disk } = parts;
  const { mac, id, imageFile } = adoption;
  const { stored, image } = await hashImage(parts, join(path, imageFile), manifest.image.sizeBytes, signal);
  refuseFindings(adoption, judgeImage(imageFile, { stored, image, manifest, listed: undefined }));
  const checksums = new Map([
    [imageFile, stored],
    [MANIFEST, sha256(adoption.manifest)],
  ]);
  await disk.writeFile(join(path, CHECKSUMS), formatChecksums(checksums));
  await disk.writeFile(join(path, MANIFEST), adoption.manifest);
  await disk.syncFolder(path);
  // As those who come later will judge it.
  refuseFindings(adoption, (await inspectFolder(disk, path, { mac, id }))?.findings ?? []);

  const target = join(boardFolder, id);
  if (!(await disk.renameToNew(path, target))) {
    const known = await knownAs(parts, adoption); // another process was faster
    if (known !== undefined) return known;
    throw taken(adoption);
  }
  await disk.syncFolder(boardFolder);
  const backup = { mac, id, path: target, manifest };
  await parts.onCommitted(backup);
  parts.log.debug('backup taken over from the store', { mac, id });
  return backup;
}

/** @throws EspdError `archive-damaged`, `archive-newer` */
function readAdopted(adoption: Adoption): Manifest {
  const { mac, id, manifest: bytes, imageFile, imageBytes } = adoption;
  if (bytes.length > MAX_MANIFEST_BYTES) throw unsound(adoption, MANIFEST, `has ${bytes.length} bytes`);
  const reading = parseManifest(bytes.toString('utf8'));
  if (reading.kind === 'newer')
    throw new EspdError('archive-newer', `Backup ${id} of ${mac} has format version ${reading.formatVersion}`, {
      hint: `Use the espd that wrote it (${printable(reading.createdBy)}) or a later one`,
    });
  if (reading.kind === 'damaged') throw unsound(adoption, MANIFEST, reading.problem);
  const { manifest } = reading;
  if (manifest.mac !== mac || manifest.id !== id)
    throw unsound(adoption, MANIFEST, `is that of ${manifest.id} of ${manifest.mac}`);
  const [contradiction] = contradictions(manifest);
  if (contradiction !== undefined) throw unsound(adoption, MANIFEST, contradiction);
  const { file, sizeBytes } = manifest.image;
  if (file !== imageFile) throw unsound(adoption, MANIFEST, `names ${file}, and not ${printable(imageFile)}`);
  const isRight =
    file === PLAIN_IMAGE
      ? imageBytes === sizeBytes
      : imageBytes > 0 && imageBytes <= sizeBytes * COMPRESSION_FACTOR + COMPRESSION_HEAD_BYTES;
  if (!isRight) throw unsound(adoption, imageFile, `has ${imageBytes} bytes for a flash of ${sizeBytes}`);
  return manifest;
}

/** The backup that is here already; undefined where none has this id. @throws EspdError `archive-taken` */
async function knownAs({ disk, root }: AdopterParts, adoption: Adoption): Promise<Backup | undefined> {
  const { mac, id, manifest } = adoption;
  const judged = await judgeBackup(disk, root, mac, id);
  if (judged === undefined) return undefined;
  const { backup } = judged;
  if (backup === undefined) throw taken(adoption);
  const own = await disk.readSmall(join(backup.path, MANIFEST), MAX_MANIFEST_BYTES);
  if (!own.equals(manifest)) throw taken(adoption);
  return backup;
}

function taken({ mac, id }: Adoption): EspdError {
  return new EspdError('archive-taken', `The archive has another backup ${id} of ${mac}, with other content`, {
    hint: 'Both stay as they are: that one here, the other in the object store',
  });
}

function refuseFindings(adoption: Adoption, findings: readonly Finding[]): void {
  const [finding] = findings;
  if (finding === undefined) return;
  if (finding.code === 'archive-damaged') throw unsound(adoption, finding.file, finding.problem);
  throw new EspdError(finding.code, `What was fetched could not be read back: ${finding.file} ${finding.problem}`, {
    hint: `Nothing was kept. ${finding.hint}`,
  });
}

function unsound({ mac, id }: { readonly mac: Mac; readonly id: string }, file: string, problem: string): EspdError {
  return new EspdError('archive-damaged', `Backup ${id} of ${mac} in the store: ${file} ${printable(problem)}`, {
    hint: 'Nothing was kept. The station that made it may still have it',
  });
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
