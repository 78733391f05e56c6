/** Archives in temporary folders, images, manifests, and a file system whose calls can be seen and made to fail. */

import { createHash } from 'node:crypto';
import * as nodeFs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import type { TestContext } from 'node:test';
import { openArchive } from '../../src/archive/archive.ts';
import type { ArchiveOptions } from '../../src/archive/archive.ts';
import type { FileSystem } from '../../src/archive/disk.ts';
import type { ManifestContent } from '../../src/archive/manifest.ts';
import type { Archive, Backup, VerifyReport } from '../../src/archive/types.ts';
import { systemClock } from '../../src/clock.ts';
import { silentLogger } from '../../src/log.ts';
import { macToFolder, parseMac } from '../../src/mac.ts';
import type { Mac } from '../../src/mac.ts';

export const MAC = parseMac('50:02:91:c3:37:a5')!;
export const OTHER_MAC = parseMac('24:0a:c4:00:01:02')!;
export const FOLDER = macToFolder(MAC);
export const T0 = '2026-11-23T10:00:00.000Z';
export const ID0 = '2026-11-23T10-00-00Z';

export async function temporaryFolder(t: TestContext): Promise<string> {
  const path = await nodeFs.mkdtemp(join(tmpdir(), 'espd-archive-'));
  t.after(() => nodeFs.rm(path, { recursive: true, force: true }));
  return path;
}

/** An archive whose root does not exist yet. */
export async function newArchive(t: TestContext, options: Partial<ArchiveOptions> = {}): Promise<Archive> {
  return archiveAt(join(await temporaryFolder(t), 'archive'), options);
}

export function archiveAt(root: string, options: Partial<ArchiveOptions> = {}): Archive {
  return openArchive(root, {
    log: silentLogger,
    clock: systemClock,
    compression: 'none',
    createdBy: 'espd 0.0.0-test',
    ...options,
  });
}

export function md5(bytes: Uint8Array): string {
  return createHash('md5').update(bytes).digest('hex');
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Bytes that look random and are the same for the same arguments. */
export function image(sizeBytes: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(sizeBytes);
  let state = seed >>> 0;
  for (let index = 0; index < sizeBytes; index++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[index] = state >>> 24;
  }
  return bytes;
}

export function content(bytes: Uint8Array, createdAt = T0, mac: Mac = MAC): ManifestContent {
  return {
    createdAt,
    reason: null,
    mac,
    chip: { family: 'esp8266', name: 'ESP8266EX', revision: null, features: ['WiFi'], crystalMHz: 26 },
    flash: {
      manufacturer: '5e',
      device: '4016',
      sizeBytes: Math.max(1, bytes.length),
      aliasedAtBytes: null,
      sizeFrom: 'id',
    },
    security: { flashEncryption: false, secureBoot: false, secureDownload: false },
    efuses: { OTP: ['00000000', 'ffffffff'] },
    contents: { firmware: { name: 'blink', version: '1.0', sdk: null }, partitions: [] },
    confirmed: { by: 'stub', md5: md5(bytes), at: createdAt },
    source: { port: '/dev/ttyUSB0', file: null, usb: null, host: 'bench' },
    transfer: {
      loader: 'stub',
      wireBytes: 1,
      flashBytesRead: bytes.length,
      digestsAsked: 1,
      explained: { blank: 0, zero: 0, sameAsBackup: 0, olderBackup: 0, leftover: 0, fleet: 0 },
      retries: 0,
      recovery: { repeated: 0, smallerPackets: 0, lowerBaudRate: 0, reconnected: 0, romReads: 0 },
      phases: { connecting: 1, comparing: 0, reading: 0.5, verifying: 0 },
      baudRate: 460800,
      seconds: 1.5,
    },
  };
}

export async function backUp(archive: Archive, bytes: Uint8Array, createdAt = T0, mac = MAC): Promise<Backup> {
  const draft = await archive.begin(mac, bytes.length);
  await draft.write(0, bytes);
  return draft.commit(content(bytes, createdAt, mac));
}

/** What `verify` reports of so many backups with nothing wrong anywhere. */
export function allSound(checked: number): VerifyReport {
  return { checked, damaged: [], unreadable: [], foreign: [] };
}

/** Every path below `folder` with its kind, mode and content, to show that nothing has changed. */
export async function snapshot(folder: string): Promise<Record<string, string>> {
  const entries: Record<string, string> = {};
  const walk = async (path: string) => {
    for (const entry of await nodeFs.readdir(path, { withFileTypes: true })) {
      const child = join(path, entry.name);
      const name = relative(folder, child);
      const stats = await nodeFs.lstat(child);
      entries[name] = `${stats.mode.toString(8)} ${stats.mtimeMs}`;
      if (entry.isDirectory()) await walk(child);
      else if (entry.isFile()) entries[name] += ` ${sha256(await nodeFs.readFile(child))}`;
    }
  };
  await walk(folder);
  return entries;
}

/** The same without the archive's cache, which is no part of it: reading may write there. */
export async function snapshotWithoutCache(folder: string): Promise<Record<string, string>> {
  const entries = Object.entries(await snapshot(folder));
  return Object.fromEntries(entries.filter(([path]) => !path.split('/').includes('cache')));
}

/** One call to the file system: the name of the function, and the path it concerns (of a handle: where it was opened). */
export interface Call {
  readonly name: string;
  readonly path: string;
  readonly to: string | undefined;
}

/** Node's file system, with `before` run ahead of every call; what it throws is the call's failure. */
export function watchedFileSystem(before: (call: Call) => void): FileSystem {
  const names = [
    'access',
    'chmod',
    'copyFile',
    'link',
    'lstat',
    'mkdir',
    'open',
    'readdir',
    'rename',
    'rm',
    'rmdir',
    'stat',
    'statfs',
    'unlink',
  ] as const;
  const watched: Record<string, unknown> = {};
  for (const name of names) {
    const original = nodeFs[name] as (...args: unknown[]) => Promise<unknown>;
    watched[name] = async (...args: unknown[]) => {
      const path = String(args[0]);
      before({ name, path, to: name === 'rename' ? String(args[1]) : undefined });
      const result = await original(...args);
      return name === 'open' ? watchedHandle(result as nodeFs.FileHandle, path, before) : result;
    };
  }
  return watched as unknown as FileSystem;
}

function watchedHandle(handle: nodeFs.FileHandle, path: string, before: (call: Call) => void): nodeFs.FileHandle {
  return new Proxy(handle, {
    get(target, property) {
      const member: unknown = Reflect.get(target, property, target);
      if (typeof member !== 'function') return member;
      return async (...args: unknown[]) => {
        const name = `handle.${String(property)}`;
        try {
          before({ name, path, to: undefined });
        } catch (error) {
          // A failed close(2) gives the descriptor back all the same.
          if (property === 'close') await target.close();
          throw error;
        }
        return (member as (...args: unknown[]) => unknown).apply(target, args);
      };
    },
  });
}

export function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: made to fail`), { code });
}
