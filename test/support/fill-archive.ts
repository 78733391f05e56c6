/**
 * Fills a folder with a large archive, to measure what reads one:
 * `node --import tsx test/support/fill-archive.ts FOLDER BOARDS BACKUPS_EACH`. Every backup is sound, of 4 MiB of zeros
 * in a file that takes no room.
 */

import { createHash } from 'node:crypto';
import { closeSync, ftruncateSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { formatChecksums } from '../../src/archive/checksums.ts';
import { ImageDigester } from '../../src/archive/digest.ts';
import { idFromDate } from '../../src/archive/ids.ts';
import { formatManifest } from '../../src/archive/manifest.ts';
import { completeManifest } from '../../src/archive/new-manifest.ts';
import { macFromBytes, macToFolder } from '../../src/mac.ts';
import type { Mac } from '../../src/mac.ts';
import { content } from '../archive/support.ts';

const IMAGE_BYTES = 4 * 1024 * 1024;
const FIRST_MS = Date.parse('2024-01-01T10:00:00Z');
const DAY_MS = 24 * 60 * 60 * 1000;

export function boardMac(number: number): Mac {
  return macFromBytes(Uint8Array.of(0x24, 0x0a, 0xc4, number >> 16, number >> 8, number));
}

/**
 * Synchronous calls, and one manifest checked for each day instead of each board: 40,000 backups take half a minute.
 *
 * @param imageBytes of each image
 */
export function fillArchive(root: string, boards: number, backupsEach: number, imageBytes = IMAGE_BYTES): void {
  const image = Buffer.alloc(imageBytes);
  const digester = new ImageDigester();
  digester.update(image);
  const digests = digester.finish();
  const stored = { file: 'flash.bin', sha256: digests.sha256 } as const;
  const anyMac = boardMac(0);
  const facts = content(image, undefined, anyMac);
  const days = Array.from({ length: backupsEach }, (_, day) => {
    const at = new Date(FIRST_MS + day * DAY_MS);
    const id = idFromDate(at);
    const manifest = completeManifest({
      ...{ digests, id, image: stored, createdBy: 'espd 0.0.0-test' },
      content: { ...facts, createdAt: at.toISOString() },
    });
    return { id, text: formatManifest(manifest) };
  });
  for (let number = 0; number < boards; number++) {
    const mac = boardMac(number);
    const board = join(root, macToFolder(mac));
    mkdirSync(board, { recursive: true });
    for (const { id, text: anyText } of days) {
      const path = join(board, id);
      mkdirSync(path);
      const text = anyText.replace(anyMac, mac);
      writeFileSync(join(path, 'manifest.json'), text);
      const sums = new Map([
        ['flash.bin', digests.sha256],
        ['manifest.json', createHash('sha256').update(text).digest('hex')],
      ]);
      writeFileSync(join(path, 'SHA256SUMS'), formatChecksums(sums));
      const descriptor = openSync(join(path, 'flash.bin'), 'wx');
      ftruncateSync(descriptor, image.length);
      closeSync(descriptor);
    }
  }
}

const [script = '', folder = '', boards = '', backups = ''] = process.argv.slice(1);
if (import.meta.url === pathToFileURL(script).href) fillArchive(folder, Number(boards), Number(backups));
