/** A backup whose image is a zstd stream, on any Node. */

import assert from 'node:assert/strict';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Archive, Backup } from '../../src/archive/types.ts';
import { MAC, T0, content, sha256 } from './support.ts';

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
  const { path } = await draft.commit(content(plain(), T0, mac));
  const stored = await fixture('checked');
  const text = (await readFile(join(path, 'manifest.json'), 'utf8'))
    .replace('"formatVersion": 1', '"formatVersion": 2')
    .replace('"flash.bin"', '"flash.bin.zst"');
  await rm(join(path, 'flash.bin'));
  await writeFile(join(path, 'flash.bin.zst'), stored);
  await writeFile(join(path, 'manifest.json'), text);
  const sums = `${sha256(stored)}  flash.bin.zst\n${sha256(Buffer.from(text))}  manifest.json\n`;
  await writeFile(join(path, 'SHA256SUMS'), sums);
  const { backup } = await archive.latest(mac);
  assert.ok(backup);
  return backup;
}
