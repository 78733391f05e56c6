/**
 * Whether a backup that is here lies in the bucket too, byte for byte. Its only copy here may go for that answer, so nothing
 * is believed: no note of before, and no size or ETag of the store, which outlive the bytes that they were made of. Every
 * object is read back.
 */

import { createHash } from 'node:crypto';
import { formatChecksums } from '../../archive/checksums.ts';
import type { Backup } from '../../archive/types.ts';
import { EspdError } from '../../errors.ts';
import { HEADER_BYTES, keyIdOf } from '../encryption.ts';
import { ENCRYPTED, folderKey } from '../layout.ts';
import { CHECKSUMS, MANIFEST, openLocalBackup } from '../local-backup.ts';
import type { Bucket } from '../push-backup.ts';
import { prepareImage, prepareSmall, sumsOf } from '../push-backup.ts';
import { removalKey } from '../removal/format.ts';
import { MAX_CHECKSUMS_BYTES, getSmall, maxManifestBytes } from '../small-object.ts';
import { type Finding, MEND_HINT, checkCopy } from '../verify/check-copy.ts';

/** What of a bucket it takes. */
export type LookedAt = Pick<Bucket, 'store' | 'layout' | 'keys'>;

/** What is wrong with an object of a backup that has its SHA256SUMS there. */
export interface StoredFinding extends Finding {
  /** Behind the prefix, with a slash at its end. */
  readonly folder: string;
}

/**
 * In which folder it lies, behind the prefix; or why it does not count as safe there, a sentence fragment, and what is
 * damaged there, if that is why.
 */
export type StoredAnswer =
  | { readonly isSafe: true; readonly folder: string }
  | { readonly isSafe: false; readonly why: string; readonly findings: readonly StoredFinding[] };

/**
 * The files here are hashed, and encrypted as they were for the bucket: so they are sound here as well, and SHA256SUMS
 * there must be what they give. Then all of it is read, and must be what that SHA256SUMS says.
 * @throws EspdError `archive-...` where the backup itself is the matter; `store-...`
 */
export async function checkStored(bucket: LookedAt, backup: Backup, signal: AbortSignal): Promise<StoredAnswer> {
  let why = 'it is not in the object store';
  const findings: StoredFinding[] = [];
  for (const place of ['shared', 'station'] as const) {
    const root = folderKey(bucket.layout, place, backup.mac, backup.id);
    const folder = root.slice(bucket.layout.prefix.length);
    const seen = await problemIn(bucket, backup, { root, folder }, signal);
    const problem = await unlessGone(bucket, root, seen, signal);
    if (problem === undefined) return { isSafe: true, folder };
    if (problem === 'missing') continue;
    if (typeof problem === 'string') why = problem;
    else {
      const [first] = problem;
      why = `${first.file} in the object store: ${first.problem}`;
      findings.push(...problem.map((each) => ({ ...each, folder })));
    }
  }
  return { isSafe: false, why, findings };
}

/** Undefined: it lies there. */
type Problem = string | readonly [Finding, ...Finding[]] | undefined;

async function problemIn(
  bucket: LookedAt,
  backup: Backup,
  { root, folder }: { readonly root: string; readonly folder: string },
  signal: AbortSignal,
): Promise<Problem> {
  const { store, layout, keys } = bucket;
  const { mac, id } = backup;
  const sums = await getSmall(store, root + CHECKSUMS, MAX_CHECKSUMS_BYTES, signal);
  if (sums === undefined) return 'missing';
  if ((await store.head(removalKey(layout.prefix, folder), { signal })) !== undefined) {
    return 'its removal from the object store is announced';
  }
  if (sums.sizeBytes > MAX_CHECKSUMS_BYTES) return [found(backup, CHECKSUMS, `has ${sums.sizeBytes} bytes`)];
  const text = sums.bytes.toString('utf8');
  const isEncrypted = text.includes(`  ${MANIFEST}${ENCRYPTED}\n`);
  const name = isEncrypted ? MANIFEST + ENCRYPTED : MANIFEST;
  const most = maxManifestBytes(isEncrypted);
  const stored = await getSmall(store, root + name, most, signal);
  if (stored === undefined) return [found(backup, name, 'is missing')];
  if (stored.sizeBytes > most) return [found(backup, name, `has ${stored.sizeBytes} bytes`)];
  const key = isEncrypted ? keys.find((each) => each.id === keyIdOf(stored.bytes.subarray(0, HEADER_BYTES))) : null;
  if (key === undefined) return 'it is encrypted there with a key that is not here';
  const local = await openLocalBackup(backup);
  try {
    const image = await prepareImage({ key }, backup, local);
    const manifest = await prepareSmall({ key }, backup, MANIFEST, local.manifest);
    const expected = key === null ? local.checksums.toString('utf8') : formatChecksums(sumsOf([image, manifest]));
    if (text !== expected) {
      const isOwn = createHash('sha256').update(stored.bytes).digest('hex') === manifest.digests.sha256;
      return isOwn
        ? [found(backup, CHECKSUMS, 'does not list what belongs to its manifest')]
        : 'what is in the object store under its name is another backup';
    }
  } finally {
    await local.close();
  }
  const findings = await checkCopy(bucket, { mac, id, folder }, undefined, signal);
  if (findings === undefined) return 'missing';
  const [first, ...more] = findings;
  return first === undefined ? undefined : [first, ...more];
}

/** What a pruner takes away in this moment is missing, and not damaged. */
async function unlessGone(bucket: LookedAt, root: string, problem: Problem, signal: AbortSignal): Promise<Problem> {
  if (problem === undefined || typeof problem === 'string') return problem;
  return (await bucket.store.head(root + CHECKSUMS, { signal })) === undefined ? 'missing' : problem;
}

function found({ mac, id }: Backup, file: string, problem: string): Finding {
  const message = `${file} of backup ${id} of ${mac} in the object store ${problem}`;
  return { file, problem, error: new EspdError('store-damaged', message, { hint: MEND_HINT }) };
}
