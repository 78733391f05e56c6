/** zstd frames (RFC 8878) without compression, for Nodes that can only read them: blocks as they are, and runs of one byte. */

import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { formatChecksums } from '../../src/archive/checksums.ts';
import type { Archive, Backup } from '../../src/archive/types.ts';
import { sha256 } from '../archive/support.ts';

const MAX_BLOCK_BYTES = 128 * 1024;
/** 3.1.1.1.1: the content's size follows in four bytes, and one segment is all. */
const SINGLE_SEGMENT = 0xa0;

export function zstdFrame(content: Buffer): Buffer {
  const size = Buffer.alloc(4);
  size.writeUInt32LE(content.length);
  const parts: Buffer[] = [Buffer.from([0x28, 0xb5, 0x2f, 0xfd, SINGLE_SEGMENT]), size];
  for (let at = 0; at < content.length; at += MAX_BLOCK_BYTES) {
    const block = content.subarray(at, at + MAX_BLOCK_BYTES);
    const isRun = block.every((byte) => byte === block[0]);
    const isLast = at + MAX_BLOCK_BYTES >= content.length;
    const head = Buffer.alloc(3);
    head.writeUIntLE(Number(isLast) | (Number(isRun) << 1) | (block.length << 3), 0, 3);
    parts.push(head, isRun ? block.subarray(0, 1) : block);
  }
  return Buffer.concat(parts);
}

/**
 * The same backup as an espd leaves it on a Node that has zstd.
 * @param image its image as a zstd stream; absent = in frames that compress nothing
 */
export async function withZstd(archive: Archive, { mac, id, path }: Backup, image?: Buffer): Promise<Backup> {
  image ??= zstdFrame(await readFile(join(path, 'flash.bin')));
  const manifest = (await readFile(join(path, 'manifest.json'), 'utf8'))
    .replace('"formatVersion": 1', '"formatVersion": 2')
    .replace('"flash.bin"', '"flash.bin.zst"');
  await rm(join(path, 'flash.bin'));
  await writeFile(join(path, 'flash.bin.zst'), image);
  await writeFile(join(path, 'manifest.json'), manifest);
  const sums = new Map([
    ['flash.bin.zst', sha256(image)],
    ['manifest.json', sha256(Buffer.from(manifest))],
  ] as const);
  await writeFile(join(path, 'SHA256SUMS'), formatChecksums(sums));
  return archive.resolveBackup(mac, id);
}
