/** A backup whose image is a zstd stream, on any Node. */

import { readFile } from 'node:fs/promises';
import type { Archive, Backup } from '../../src/archive/types.ts';
import { withZstd as packed } from '../support/zstd.ts';
import { MAC, T0, content } from './support.ts';

const FOLDER = new URL('fixtures/zstd/', import.meta.url);

export const fixture = (name: string) => readFile(new URL(`${name}.zst`, FOLDER));

/** Blank sectors, and such that compress badly. */
export function plain(): Buffer {
  const bytes = Buffer.alloc(12_000);
  let state = 7;
  for (let i = 0; i < bytes.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = i % 4096 < 2048 ? 0xff : i % 3 === 0 ? state >>> 24 : (i >>> 5) & 0xff;
  }
  return bytes;
}

/** A backup as an espd on a Node with zstd leaves it. */
export async function withZstd(archive: Archive, mac = MAC): Promise<Backup> {
  const draft = await archive.begin(mac, 12_000);
  await draft.write(0, plain());
  return packed(archive, await draft.commit(content(plain(), T0, mac)), await fixture('checked'));
}
