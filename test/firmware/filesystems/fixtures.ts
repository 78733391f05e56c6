/** Images that other programs made, and what those programs say is in them: see ../fixtures/filesystems/README.md. */

import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';

import type { FileSystemReading } from '../../../src/firmware/filesystems/index.ts';

const folder = path.join(import.meta.dirname, '..', 'fixtures', 'filesystems');

export interface FileFacts {
  readonly size: number;
  readonly sha256: string;
}

export interface Listing {
  readonly folders: readonly string[];
  readonly files: Readonly<Record<string, FileFacts>>;
}

export interface Fixture extends Listing {
  readonly image: string;
  readonly kind: 'littlefs' | 'spiffs';
  readonly made: string;
}

export function readFixtureJson(name: string): unknown {
  return JSON.parse(fs.readFileSync(path.join(folder, name), 'utf8'));
}

export function fixtures(kind: Fixture['kind']): readonly Fixture[] {
  return (readFixtureJson('manifest.json') as Fixture[]).filter((fixture) => fixture.kind === kind);
}

export function fixtureImage(name: string): Buffer {
  return gunzipSync(fs.readFileSync(path.join(folder, `${name}.gz`)));
}

/** The images that stand one after the other in a file, with what is said of each in the JSON document beside it. */
export function fixtureSeries(name: string): readonly { readonly image: Buffer; readonly facts: unknown }[] {
  const { imageBytes, images } = readFixtureJson(`${name}.json`) as { imageBytes: number; images: unknown[] };
  const bytes = fixtureImage(`${name}.bin`);
  if (bytes.length !== imageBytes * images.length) throw new Error(`${name}: image and description do not fit`);
  return images.map((facts, index) => ({ facts, image: bytes.subarray(index * imageBytes, (index + 1) * imageBytes) }));
}

/** Names, sizes and digests of a reading; where a content cannot be had, why. */
export function listingOf(reading: FileSystemReading): {
  folders: string[];
  files: Record<string, FileFacts | string>;
} {
  const files: Record<string, FileFacts | string> = {};
  const folders: string[] = [];
  for (const { path: name, sizeBytes, isFolder } of reading.entries) {
    if (isFolder) folders.push(name);
    else {
      const content = reading.readFile(name);
      files[name] = content.problem ?? { size: sizeBytes, sha256: sha256(content.bytes) };
    }
  }
  return { folders, files };
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
