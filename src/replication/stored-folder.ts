/**
 * The folder of one backup in a bucket. SHA256SUMS says that it is complete, which files it has and whether they are
 * encrypted. Nothing of it is trusted: what another station has put there may be anything.
 */

import { createHash } from 'node:crypto';
import { parseChecksums } from '../archive/checksums.ts';
import { type Manifest, contradictions, parseManifest } from '../archive/manifest.ts';
import { EspdError, hasCode } from '../errors.ts';
import type { Mac } from '../mac.ts';
import { StoredDamage } from './damage.ts';
import { HEADER_BYTES, decryptWhole } from './encryption.ts';
import { ENCRYPTED, boundName } from './layout.ts';
import { CHECKSUMS, MANIFEST } from './local-backup.ts';
import { MAX_CHECKSUMS_BYTES, getSmall, maxManifestBytes } from './small-object.ts';
import { type ReadableStore, type StoredObject, openObject } from './stored-object.ts';

export interface ReadableBucket extends ReadableStore {
  readonly layout: { readonly prefix: string };
}

/** Which backup, and where its folder lies: behind the prefix, with a slash at its end. */
export interface StoredPlace {
  readonly mac: Mac;
  readonly id: string;
  readonly folder: string;
}

export interface StoredFolder {
  readonly isEncrypted: boolean;
  /** `flash.bin` or what it is packed as, by SHA256SUMS. */
  readonly imageFile: string;
  /** Of the image's object as it is stored, in hex. */
  readonly imageSha256: string;
  /**
   * The manifest as its station wrote it: of this backup, and without contradictions.
   * @throws EspdError `store-damaged`, `store-key`, `archive-newer`
   */
  manifest(signal?: AbortSignal): Promise<{ readonly bytes: Buffer; readonly manifest: Manifest }>;
  openImage(signal?: AbortSignal): Promise<StoredObject>;
}

const IMAGES = ['flash.bin', 'flash.bin.gz', 'flash.bin.zst'];

/** @throws EspdError `store-unknown-backup` where it is not (or not yet, or no longer) complete; `store-damaged` */
export async function openStoredFolder(
  bucket: ReadableBucket,
  place: StoredPlace,
  signal?: AbortSignal,
): Promise<StoredFolder> {
  const { mac, id, folder } = place;
  const root = bucket.layout.prefix + folder;
  const sums = await getSmall(bucket.store, root + CHECKSUMS, MAX_CHECKSUMS_BYTES, signal);
  if (sums === undefined) throw goneBackup(place);
  const listed = parseChecksums(sums.bytes.toString('utf8'));
  const isEncrypted = listed?.has(MANIFEST + ENCRYPTED) === true;
  const suffix = isEncrypted ? ENCRYPTED : '';
  const imageFile = IMAGES.find((file) => listed?.has(file + suffix));
  const imageSha256 = listed?.get(`${imageFile}${suffix}`);
  const manifestSha256 = listed?.get(MANIFEST + suffix);
  if (listed?.size !== 2 || imageFile === undefined || imageSha256 === undefined || manifestSha256 === undefined) {
    throw damagedBackup(place, `${CHECKSUMS} does not list a manifest and an image`);
  }

  return {
    ...{ isEncrypted, imageFile, imageSha256 },
    openImage: (how) => {
      const bound = isEncrypted ? boundName(mac, id, imageFile) : null;
      return openObject(bucket, { key: root + imageFile + suffix, bound }, how);
    },
    async manifest(how) {
      const name = MANIFEST + suffix;
      const most = maxManifestBytes(isEncrypted);
      const object = await getSmall(bucket.store, root + name, most, how);
      if (object === undefined) throw damagedBackup(place, `${name} is missing`);
      if (object.sizeBytes > most || object.sizeBytes < (isEncrypted ? HEADER_BYTES : 1)) {
        throw damagedBackup(place, `${name} has ${object.sizeBytes} bytes`);
      }
      if (createHash('sha256').update(object.bytes).digest('hex') !== manifestSha256) {
        throw damagedBackup(place, `${name} differs from its digest`);
      }
      const bytes = isEncrypted ? decryptWhole(bucket.keys, boundName(mac, id, MANIFEST), object.bytes) : object.bytes;
      return { bytes, manifest: judged(place, bytes, { imageFile, imageSha256: isEncrypted ? null : imageSha256 }) };
    },
  };
}

function judged(
  place: StoredPlace,
  bytes: Buffer,
  { imageFile, imageSha256 }: { readonly imageFile: string; readonly imageSha256: string | null },
): Manifest {
  const { mac, id } = place;
  const reading = parseManifest(bytes.toString('utf8'));
  if (reading.kind === 'newer') {
    throw new EspdError('archive-newer', `Backup ${id} of ${mac} in the object store was written by a newer espd`, {
      hint: `Its format is version ${reading.formatVersion}: update espd on this machine`,
    });
  }
  if (reading.kind === 'damaged') throw damagedBackup(place, `${MANIFEST} ${reading.problem}`);
  const { manifest } = reading;
  const [contradiction] = contradictions(manifest);
  if (contradiction !== undefined) throw damagedBackup(place, `${MANIFEST} ${contradiction}`);
  if (manifest.mac !== mac || manifest.id !== id) throw damagedBackup(place, `${MANIFEST} is of another backup`);
  if (manifest.image.file !== imageFile)
    throw damagedBackup(place, `${MANIFEST} names another image than ${CHECKSUMS}`);
  const isPlain = imageSha256 !== null && imageFile === 'flash.bin';
  if (isPlain && manifest.image.sha256 !== imageSha256) {
    throw damagedBackup(place, `${MANIFEST} has another digest of the image than ${CHECKSUMS}`);
  }
  return manifest;
}

/**
 * What is missing of a backup that retention removes in this moment is no damage, and nobody should be woken for it.
 * @throws EspdError `store-unknown-backup` where it is not there any more; else `error`
 */
export async function unlessGone(
  { store, layout }: ReadableBucket,
  place: StoredPlace,
  error: unknown,
  signal?: AbortSignal,
): Promise<never> {
  if (!hasCode(error, 'store-damaged')) throw error;
  const sums = await store.head(layout.prefix + place.folder + CHECKSUMS, { signal });
  if (sums === undefined) throw goneBackup(place);
  throw error;
}

function goneBackup({ mac, id }: StoredPlace): EspdError {
  return new EspdError('store-unknown-backup', `Backup ${id} of ${mac} is not in the object store any more`, {
    hint: `espd pull looks again at what is there, espd show ${mac} shows it`,
  });
}

export function damagedBackup(
  { mac, id }: Pick<StoredPlace, 'mac' | 'id'>,
  problem: string,
  cause?: unknown,
): EspdError {
  return new StoredDamage(`Backup ${id} of ${mac}`, problem, {
    hint: `It is not used, and nothing there was changed. espd show ${mac} shows the board's other backups`,
    cause,
  });
}
