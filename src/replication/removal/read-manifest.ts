/** The manifest of a backup in the bucket: as it was noted here, or else fetched. Nothing of it is believed unchecked. */

import { type ManifestReading, MAX_MANIFEST_BYTES, parseManifest } from '../../archive/manifest.ts';
import { hasCode } from '../../errors.ts';
import { macToFolder } from '../../mac.ts';
import type { ObjectStore } from '../../store/types.ts';
import { type FleetKey, decryptWhole } from '../encryption.ts';
import { ENCRYPTED, boundName } from '../layout.ts';
import { MANIFEST } from '../local-backup.ts';
import { getSmall } from '../small-object.ts';
import type { StoredCopy } from './stored-copy.ts';
import type { ReadManifest } from './union.ts';

/** A longer one is none, encrypted or not. */
const MAX_OBJECT_BYTES = 2 * MAX_MANIFEST_BYTES;

export interface ManifestParts {
  readonly store: ObjectStore;
  readonly prefix: string;
  readonly keys: readonly FleetKey[];
  /** What is noted of a copy already. */
  readonly noted: (copy: StoredCopy) => Promise<ManifestReading | undefined>;
}

export function manifestReader({ store, prefix, keys, noted }: ManifestParts): ReadManifest {
  return async (copy, signal) => {
    const known = await noted(copy);
    if (known !== undefined) return known;
    const { mac, id, folder, files } = copy;
    const name = files.has(MANIFEST) ? MANIFEST : MANIFEST + ENCRYPTED;
    const sizeBytes = files.get(name)?.sizeBytes;
    if (sizeBytes === undefined) return { kind: 'damaged', problem: `of ${macToFolder(mac)}/${id} is not there` };
    if (sizeBytes > MAX_OBJECT_BYTES) return { kind: 'damaged', problem: 'is too long' };
    try {
      const object = await getSmall(store, prefix + folder + name, MAX_OBJECT_BYTES, signal);
      if (object === undefined) return null;
      const isPlain = name === MANIFEST;
      const bytes = isPlain ? object.bytes : decryptWhole(keys, boundName(mac, id, MANIFEST), object.bytes);
      return parseManifest(bytes.toString('utf8'));
    } catch (error) {
      if (hasCode(error, 'store-key', 'store-archived')) return null;
      if (hasCode(error, 'store-damaged')) return { kind: 'damaged', problem: 'is damaged' };
      throw error;
    }
  };
}
