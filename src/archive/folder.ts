/** One backup's folder, read by someone who trusts nothing in it. Modifies nothing. */

import { createHash } from 'node:crypto';
import type { Stats } from 'node:fs';
import { join } from 'node:path';
import { BLOCK_BYTES } from '../flash.ts';
import type { Mac } from '../mac.ts';
import { parseChecksums } from './checksums.ts';
import type { Checksums } from './checksums.ts';
import { packingOf } from './compression.ts';
import type { ImageDigests } from './digest.ts';
import { readFault } from './disk-faults.ts';
import type { Disk } from './disk.ts';
import type { Fault } from './disk-faults.ts';
import { fromFailure } from './hash-stored.ts';
import type { ImageHasher } from './hasher.ts';
import { GZIP_IMAGE, PLAIN_IMAGE, ZSTD_IMAGE } from './image.ts';
import { FORMAT_VERSION, MAX_MANIFEST_BYTES, contradictions, parseManifest } from './manifest.ts';
import type { Manifest } from './manifest.ts';
import { printable } from '../printable.ts';

export const MANIFEST = 'manifest.json';
export const CHECKSUMS = 'SHA256SUMS';
const MAX_CHECKSUMS_BYTES = 64 * 1024;
/** In a bucket, where there is a key: FORMAT.md (Encrypted objects). */
const ENCRYPTED_MANIFEST = `${MANIFEST}.enc`;
const ENCRYPTED_HINT =
  'With the bucket and the key in the config, "espd pull" fetches it. FORMAT.md (Encrypted objects) opens it without espd';
/** Where no manifest tells: the largest flash that any of the chips can address, several times over. */
const MAX_IMAGE_BYTES = 1024 ** 3;

/** What is wrong with a file of the folder; `file` is empty for the folder itself. */
export interface Finding extends Fault {
  readonly file: string;
}

/** A folder as far as it can be judged without reading the image. */
export interface Inspection {
  /** Present where the manifest itself could be understood, whatever else is wrong. */
  readonly manifest: Manifest | undefined;
  readonly checksums: Checksums | undefined;
  /** Name of the stored image: what the manifest says, else what lies there. */
  readonly imageFile: string;
  readonly findings: readonly Finding[];
  /** Names of entries that are no part of a backup: no finding, for they contradict nothing. */
  readonly foreign: readonly string[];
  /** Of each file that was opened, by name, before it was read; of the folder itself under the empty name. */
  readonly stats: ReadonlyMap<string, Stats>;
}

/**
 * Checks everything but the image's content: the kind of every entry, the manifest and whether it belongs here, the
 * list of checksums and the manifest's own digest in it, the stored image's size. Undefined: nothing has this name.
 */
export async function inspectFolder(
  disk: Disk,
  path: string,
  expected: { mac: Mac; id: string },
): Promise<Inspection | undefined> {
  const findings: Finding[] = [];
  const found = (file: string, problem: string, code: Fault['code'] = 'archive-damaged', hint = '') =>
    findings.push({ file, problem, code, hint });
  const caught = (file: string, error: unknown) => findings.push({ file, ...readFault(error) });

  let names: string[];
  let manifest: Manifest | undefined;
  let checksums: Checksums | undefined;
  let imageFile: string = PLAIN_IMAGE;
  let foreign: string[] = [];
  const seen = new Map<string, Stats>();
  const result = (): Inspection => ({ manifest, checksums, imageFile, findings, foreign, stats: seen });
  const read = async (file: string, maxBytes: number) => {
    const { bytes, stats } = await disk.readSmallWithStats(join(path, file), maxBytes);
    seen.set(file, stats);
    return bytes;
  };

  try {
    const stats = await disk.lstat(path);
    if (stats === undefined) return undefined;
    if (!stats.isDirectory()) {
      found('', stats.isSymbolicLink() ? 'is a symbolic link; espd follows none' : 'is no folder');
      return result();
    }
    seen.set('', stats);
    names = await disk.fs.readdir(path);
  } catch (error) {
    caught('', error);
    return result();
  }

  if (names.includes(ENCRYPTED_MANIFEST) && !names.includes(MANIFEST)) {
    // A copy of such a bucket: nothing is known of its content, and nothing need be wrong with it.
    found('', 'is encrypted, as in a bucket', 'archive-unreadable', ENCRYPTED_HINT);
    return result();
  }

  let manifestSha256: string | undefined;
  try {
    const bytes = await read(MANIFEST, MAX_MANIFEST_BYTES);
    manifestSha256 = createHash('sha256').update(bytes).digest('hex');
    const reading = parseManifest(bytes.toString('utf8'));
    if (reading.kind === 'newer') {
      const writer = reading.createdBy === '' ? 'a newer espd' : printable(reading.createdBy);
      const problem = `has format version ${reading.formatVersion}, and this espd knows versions up to ${FORMAT_VERSION}`;
      found(MANIFEST, problem, 'archive-newer', `Use the espd that wrote it (${writer}) or a later one`);
      return result(); // what files belong to a newer format is not known here
    }
    if (reading.kind === 'damaged') found(MANIFEST, printable(reading.problem));
    else manifest = reading.manifest;
  } catch (error) {
    caught(MANIFEST, error);
  }

  if (manifest !== undefined) {
    const { mac, id } = expected;
    if (manifest.mac !== mac) found(MANIFEST, `is that of another board: ${manifest.mac}`);
    if (manifest.id !== id) found(MANIFEST, `is that of another backup: ${manifest.id}`);
    for (const problem of contradictions(manifest)) found(MANIFEST, problem);
  }

  try {
    checksums = parseChecksums((await read(CHECKSUMS, MAX_CHECKSUMS_BYTES)).toString('utf8'));
    if (checksums === undefined) found(CHECKSUMS, 'is no list of SHA-256 digests');
  } catch (error) {
    caught(CHECKSUMS, error);
  }

  // Without a manifest it is not known which of two images is the foreign one.
  const images = [PLAIN_IMAGE, GZIP_IMAGE, ZSTD_IMAGE].filter((name) => names.includes(name));
  imageFile =
    manifest?.image.file ?? images.find((name) => checksums?.has(name) === true) ?? images.at(-1) ?? PLAIN_IMAGE;
  const known = [MANIFEST, CHECKSUMS, ...(manifest === undefined ? images : [imageFile])];
  foreign = names.filter((name) => !known.includes(name));

  if (checksums !== undefined) {
    for (const name of [imageFile, MANIFEST]) {
      if (!checksums.has(name)) found(CHECKSUMS, `does not list ${name}`);
    }
    for (const name of checksums.keys()) {
      if (name !== imageFile && name !== MANIFEST)
        found(CHECKSUMS, `lists ${printable(name)}, which is no part of a backup`);
    }
    const listed = checksums.get(MANIFEST);
    if (listed !== undefined && manifestSha256 !== undefined && listed !== manifestSha256) {
      found(MANIFEST, differs(CHECKSUMS, listed, manifestSha256));
    }
  }

  try {
    const { handle, sizeBytes, stats } = await disk.openToRead(join(path, imageFile));
    await handle.close();
    seen.set(imageFile, stats);
    if (manifest !== undefined && imageFile === PLAIN_IMAGE && sizeBytes !== manifest.image.sizeBytes) {
      found(imageFile, `has ${sizeBytes} bytes, and ${MANIFEST} says ${manifest.image.sizeBytes}`);
    }
  } catch (error) {
    caught(imageFile, error);
  }
  return result();
}

/**
 * Hashes everything: each file against SHA256SUMS, the image against each digest in the manifest. All that is wrong
 * with the folder, nothing where it is sound. Undefined: nothing has this name.
 */
export async function verifyFolder(
  parts: { disk: Disk; hasher: ImageHasher },
  path: string,
  expected: { mac: Mac; id: string },
  signal?: AbortSignal,
): Promise<Pick<Inspection, 'manifest' | 'findings' | 'foreign'> | undefined> {
  const inspection = await inspectFolder(parts.disk, path, expected);
  if (inspection === undefined) return undefined;
  const { manifest, checksums, imageFile, foreign } = inspection;
  const findings = [...inspection.findings];
  // What could not be opened, or has the wrong size, needs no second report.
  const known = findings.some(({ file, code }) => file === '' || file === imageFile || code === 'archive-newer');
  if (known) return { manifest, findings, foreign };
  try {
    const { stored, image } = await hashImage(parts, join(path, imageFile), manifest?.image.sizeBytes, signal);
    findings.push(...judgeImage(imageFile, { stored, image, manifest, listed: checksums?.get(imageFile) }));
  } catch (error) {
    signal?.throwIfAborted();
    findings.push({ file: imageFile, ...readFault(error) });
  }
  return { manifest, findings, foreign };
}

/** Compares what was hashed with what SHA256SUMS and the manifest say, and tells which of the three is odd. Pure. */
export function judgeImage(
  file: string,
  facts: {
    /** SHA-256 of the file as stored. */
    stored: string;
    /** Digests of the flash image, or why it cannot be inflated. */
    image: ImageDigests | Fault;
    manifest: Manifest | undefined;
    listed: string | undefined;
  },
): Finding[] {
  const { stored, image, manifest, listed } = facts;
  const findings: Finding[] = [];
  const found = (at: string, problem: string) =>
    findings.push({ file: at, problem, code: 'archive-damaged', hint: '' });
  const listedIsOdd = listed !== undefined && listed !== stored;

  if ('problem' in image) {
    findings.push({ file, ...image });
  } else if (manifest !== undefined) {
    const { sizeBytes, sha256, md5 } = manifest.image;
    const { blocks } = manifest;
    const wrong = image.blocks.sha256.flatMap((digest, block) =>
      digest === blocks.sha256[block] && image.blocks.md5[block] === blocks.md5[block] ? [] : [block],
    );
    const where =
      wrong[0] === undefined
        ? ''
        : `; ${wrong.length} of ${image.blocks.sha256.length} blocks differ, the first at 0x${(wrong[0] * BLOCK_BYTES).toString(16)}`;
    if (image.sizeBytes !== sizeBytes) {
      found(file, `holds ${image.sizeBytes} bytes of image, and ${MANIFEST} says ${sizeBytes}`);
    } else if (image.sha256 !== sha256) {
      found(file, differs(listedIsOdd ? `${MANIFEST} and ${CHECKSUMS}` : MANIFEST, sha256, image.sha256) + where);
    } else {
      // The image is what the manifest's SHA-256 says, so a digest that still differs was damaged itself.
      if (image.md5 !== md5) found(MANIFEST, `has another MD5 than the image: ${md5}, and it is ${image.md5}`);
      if (wrong.length > 0) found(MANIFEST, `has other block digests than the image${where}`);
      if (listedIsOdd && file === PLAIN_IMAGE)
        found(CHECKSUMS, `has another digest for ${file} than ${MANIFEST} and the file`);
    }
  }
  // Also of a file that could not be inflated for want of memory, say: its bytes were read, and they are other ones.
  if (listedIsOdd && !findings.some(({ code }) => code === 'archive-damaged'))
    found(file, differs(CHECKSUMS, listed, stored));
  return findings;
}

function differs(witness: string, expected: string, actual: string): string {
  return `SHA-256 differs from ${witness}: ${expected} is expected, ${actual} is there`;
}

/**
 * Hashes a stored image, and what it holds.
 * @param imageBytes of the flash; undefined where nothing tells
 */
export async function hashImage(
  parts: { disk: Disk; hasher: ImageHasher },
  path: string,
  imageBytes: number | undefined,
  signal: AbortSignal | undefined,
): Promise<{ stored: string; image: ImageDigests | Fault }> {
  const { handle, sizeBytes } = await parts.disk.openToRead(path);
  try {
    const packing = packingOf(path) ?? undefined;
    const maxBytes = packing === undefined ? null : (imageBytes ?? MAX_IMAGE_BYTES);
    const largest = Math.max(sizeBytes, maxBytes ?? 0);
    const { stored, image } = await parts.hasher.hash(handle, { sizeBytes: largest, maxBytes, packing, signal });
    return { stored, image: 'failure' in image ? readFault(fromFailure(image.failure)) : image };
  } finally {
    await handle.close();
  }
}
