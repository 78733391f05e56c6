/** Backups in a store, as other stations note them; and processes that die. */

import { createHash } from 'node:crypto';
import type { StoredBackup } from '../../../src/archive/elsewhere/types.ts';
import { type Manifest, formatManifest } from '../../../src/archive/manifest.ts';
import { completeManifest } from '../../../src/archive/new-manifest.ts';
import { BLOCK_BYTES } from '../../../src/flash.ts';
import type { Mac } from '../../../src/mac.ts';
import { macToFolder } from '../../../src/mac.ts';
import { MAC, T0, content, image, md5, sha256, systemError, watchedFileSystem } from '../support.ts';

export const STORE = '0123456789abcdef';
export const STATION = 'bench7-0123456789ab';
export const OTHER_STATION = 'bench8-ba9876543210';

export function manifestOf(bytes: Uint8Array, createdAt = T0, mac: Mac = MAC): Manifest {
  const id = `${createdAt.slice(0, 19).replaceAll(':', '-')}Z`;
  const blocks = [];
  for (let at = 0; at < bytes.length; at += BLOCK_BYTES) blocks.push(bytes.subarray(at, at + BLOCK_BYTES));
  const digests = {
    ...{ sizeBytes: bytes.length, sha256: sha256(bytes), md5: md5(bytes) },
    blocks: { sizeBytes: BLOCK_BYTES, sha256: blocks.map(sha256), md5: blocks.map(md5) },
  };
  const stored = { file: 'flash.bin' as const, sha256: sha256(bytes) };
  return completeManifest({ content: content(bytes, createdAt, mac), digests, image: stored, createdBy: 'espd 9', id });
}

/** What another station has put into the store. */
export function stored(
  change: Partial<StoredBackup> = {},
  bytes: Uint8Array = image(1000),
  createdAt = T0,
): StoredBackup {
  const mac = change.mac ?? MAC;
  const manifest = change.manifest ?? manifestOf(bytes, createdAt, mac);
  return {
    ...{ mac, id: manifest.id, store: STORE, folder: `${macToFolder(mac)}/${manifest.id}/`, station: STATION },
    manifestSha256: createHash('sha256').update(formatManifest(manifest)).digest('hex'),
    ...{ manifest, at: '2026-11-23T11:00:00.000Z' },
    ...change,
  };
}

/** As a process that dies at its call `last`: nothing that it does afterwards has an effect. */
export function dyingAt(last: number) {
  let calls = 0;
  let died = false;
  const fs = watchedFileSystem(() => {
    if (++calls >= last) died = true;
    if (died) throw systemError('EIO');
  });
  return { fs, hasDied: () => died };
}
