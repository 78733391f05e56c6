/**
 * Fills a folder with a large archive, to measure what reads one:
 * `node --import tsx test/support/fill-archive.ts FOLDER BOARDS BACKUPS_EACH`. Every backup is sound, of 4 MiB of zeros
 * in a file that takes no room.
 */

import { createHash } from 'node:crypto';
import { mkdir, open, writeFile } from 'node:fs/promises';
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

export async function fillArchive(
  root: string,
  boards: number,
  backupsEach: number,
  imageBytes = IMAGE_BYTES,
): Promise<void> {
  const image = Buffer.alloc(imageBytes);
  const digester = new ImageDigester();
  digester.update(image);
  const digests = digester.finish();
  const stored = { file: 'flash.bin', sha256: digests.sha256 } as const;
  for (let number = 0; number < boards; number++) {
    const mac = boardMac(number);
    const facts = content(image, undefined, mac);
    for (let backup = 0; backup < backupsEach; backup++) {
      const at = new Date(FIRST_MS + backup * DAY_MS);
      const id = idFromDate(at);
      const path = join(root, macToFolder(mac), id);
      await mkdir(path, { recursive: true });
      const manifest = completeManifest({
        ...{ digests, id, image: stored, createdBy: 'espd 0.0.0-test' },
        content: { ...facts, createdAt: at.toISOString() },
      });
      const text = formatManifest(manifest);
      await writeFile(join(path, 'manifest.json'), text);
      const sums = new Map([
        ['flash.bin', digests.sha256],
        ['manifest.json', createHash('sha256').update(text).digest('hex')],
      ]);
      await writeFile(join(path, 'SHA256SUMS'), formatChecksums(sums));
      const handle = await open(join(path, 'flash.bin'), 'wx');
      await handle.truncate(image.length);
      await handle.close();
    }
  }
}

const [script = '', folder = '', boards = '', backups = ''] = process.argv.slice(1);
if (import.meta.url === pathToFileURL(script).href) await fillArchive(folder, Number(boards), Number(backups));
