/**
 * One backup of a bucket, read back as a whole: every object against SHA256SUMS, the manifest against what its station has
 * told of it, the image against each digest of the manifest. Nothing is changed.
 */

import { createHash } from 'node:crypto';
import { packingOf } from '../../archive/compression.ts';
import { ImageDigester } from '../../archive/digest.ts';
import { readFault } from '../../archive/disk-faults.ts';
import type { StoredBackup } from '../../archive/elsewhere/types.ts';
import { judgeImage } from '../../archive/folder.ts';
import { fromFailure, hashStored } from '../../archive/hash-stored.ts';
import type { Manifest } from '../../archive/manifest.ts';
import { EspdError, hasCode } from '../../errors.ts';
import { ENCRYPTED } from '../layout.ts';
import { CHECKSUMS, MANIFEST } from '../local-backup.ts';
import { StoredDamage } from '../damage.ts';
import { type ReadableBucket, type StoredFolder, type StoredPlace, openStoredFolder } from '../stored-folder.ts';
import { readPacked } from '../stored-image.ts';

/** What is wrong with one object of a backup. */
export interface Finding {
  /** Its name in the folder. */
  readonly file: string;
  /** A sentence fragment about it. */
  readonly problem: string;
  /** `store-damaged`; `store-key` or `archive-newer` where its content could not be judged here. */
  readonly error: EspdError;
}

/** Of whatever is wrong in a bucket. */
export const MEND_HINT = 'A station that has a sound copy puts it in order: espd verify --store --repair';

/** Digests of this much, then the event loop turns: packets of boards come first. */
const TURN_BYTES = 64 * 1024;

/**
 * What comes wrong is asked for once more before it counts as damaged there.
 * @param told of this copy, where that is known here
 * @returns nothing where it is sound; undefined: it is not there any more
 * @throws EspdError `store-...` where the store is the matter; the signal's reason
 */
export async function checkCopy(
  bucket: ReadableBucket,
  place: StoredPlace,
  told: Pick<StoredBackup, 'manifestSha256' | 'station'> | undefined,
  signal: AbortSignal,
): Promise<readonly Finding[] | undefined> {
  let folder: StoredFolder;
  try {
    folder = await openStoredFolder(bucket, place, signal);
  } catch (error) {
    if (hasCode(error, 'store-unknown-backup')) return undefined;
    return [toFinding(error, CHECKSUMS)];
  }
  const suffix = folder.isEncrypted ? ENCRYPTED : '';
  const findings: Finding[] = [];
  let manifest: Manifest | undefined;
  try {
    const read = await folder.manifest(signal);
    manifest = read.manifest;
    if (told !== undefined && createHash('sha256').update(read.bytes).digest('hex') !== told.manifestSha256) {
      findings.push(found(place, MANIFEST + suffix, `is another than ${told.station} has told of`));
    }
  } catch (error) {
    findings.push(toFinding(error, MANIFEST + suffix));
  }
  findings.push(...(await checkImage(folder, place, manifest, signal)));
  return findings;
}

async function checkImage(
  folder: StoredFolder,
  place: StoredPlace,
  manifest: Manifest | undefined,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const file = folder.imageFile + (folder.isEncrypted ? ENCRYPTED : '');
  try {
    const judge = async () => {
      const packing = packingOf(folder.imageFile);
      if (manifest === undefined) return judgeBytes(folder, file, signal);
      if (packing === null) return judgePlain(folder, file, manifest, signal);
      const packed = await readPacked({ ...place, manifest }, await folder.openImage(signal), folder.imageSha256, {
        signal,
      });
      const { image } = await hashStored(() => piecesOf(packed), manifest.image.sizeBytes, packing);
      const content = 'failure' in image ? readFault(fromFailure(image.failure)) : image;
      return judgeImage(file, { stored: '', image: content, manifest, listed: undefined });
    };
    const first = await judge();
    // What came wrong over the network comes right the second time.
    const findings = first.length === 0 ? first : await judge();
    return findings.map((each) =>
      found(place, each.file === MANIFEST ? file.replace(folder.imageFile, MANIFEST) : each.file, each.problem),
    );
  } catch (error) {
    signal.throwIfAborted();
    return [toFinding(error, file)];
  }
}

/** Nothing says what it should hold, so only the object itself is compared. */
async function judgeBytes(folder: StoredFolder, file: string, signal: AbortSignal) {
  const stored = await (await folder.openImage(signal)).readAll(() => undefined, signal);
  return judgeImage(file, {
    stored,
    image: new ImageDigester().finish(),
    manifest: undefined,
    listed: folder.imageSha256,
  });
}

async function judgePlain(folder: StoredFolder, file: string, manifest: Manifest, signal: AbortSignal) {
  const digester = new ImageDigester();
  const object = await folder.openImage(signal);
  const stored = await object.readAll(async (content) => {
    for (let at = 0; at < content.length; at += TURN_BYTES) {
      digester.update(content.subarray(at, at + TURN_BYTES));
      await new Promise(setImmediate);
    }
  }, signal);
  return judgeImage(file, { stored, image: digester.finish(), manifest, listed: folder.imageSha256 });
}

async function* piecesOf(packed: readonly Buffer[]): AsyncGenerator<Buffer, void, undefined> {
  for (const piece of packed) {
    for (let at = 0; at < piece.length; at += TURN_BYTES) {
      yield piece.subarray(at, at + TURN_BYTES);
      await new Promise(setImmediate);
    }
  }
}

function found({ mac, id }: StoredPlace, file: string, problem: string): Finding {
  const error = new EspdError('store-damaged', `${file} of backup ${id} of ${mac} in the object store: ${problem}`, {
    hint: MEND_HINT,
  });
  return { file, problem, error };
}

/** @throws the error itself where it speaks of the store as a whole */
function toFinding(error: unknown, file: string): Finding {
  if (!hasCode(error, 'store-damaged', 'store-key', 'archive-newer')) throw error;
  if (!(error instanceof StoredDamage)) {
    const judgement = error.code === 'store-damaged' ? 'is damaged' : 'cannot be judged here';
    return { file, problem: `${judgement}: ${error.message}`, error };
  }
  const { problem } = error;
  const bare = problem.startsWith(`${file} `) ? problem.slice(file.length + 1) : problem.replace(/^it /, '');
  return { file, error, problem: bare };
}
