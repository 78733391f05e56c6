/** elsewhere.jsonl of one board with many backups, of which most are gone; and work of others between two calls of a process. */

import { mkdir, readFile, readdir } from 'node:fs/promises';
import * as nodeFs from 'node:fs/promises';
import { join } from 'node:path';
import { Disk, type FileSystem } from '../../../src/archive/disk.ts';
import { isOfCompaction } from '../../../src/archive/elsewhere/compaction-names.ts';
import { StoredLog } from '../../../src/archive/elsewhere/stored-log.ts';
import type { StoredLine } from '../../../src/archive/elsewhere/stored-lines.ts';
import type { StoredBackup } from '../../../src/archive/elsewhere/types.ts';
import { nodeFileSystem } from '../../../src/archive/node-fs.ts';
import { silentLogger } from '../../../src/log.ts';
import { FOLDER, MAC, image } from '../support.ts';
import { stored } from './support.ts';

export const NEVER = Number.POSITIVE_INFINITY;
const DAY_MS = 86_400_000;
const FIRST_MS = Date.parse('2026-01-01T10:00:00.000Z');
export const dayAt = (day: number) => new Date(FIRST_MS + day * DAY_MS).toISOString();
const BYTES = image(200_000);

const made = new Map<number, StoredBackup>();

export function backupOf(day: number, at = dayAt(day)): StoredBackup {
  const backup = made.get(day) ?? stored({}, BYTES, dayAt(day));
  made.set(day, backup);
  return { ...backup, at };
}

export const noted = (day: number, at?: string): StoredLine => ({ removed: false, ...backupOf(day, at) });
export function goneOf(day: number, at = dayAt(day + 30)): StoredLine {
  const { mac, id, store, folder } = backupOf(day);
  return { removed: true, mac, id, store, folder, at };
}

export function diskOf(fs: FileSystem = nodeFileSystem): Disk {
  return new Disk({ fs, log: silentLogger, directoryMode: 0o750, fileMode: 0o640 });
}

export function logAt(root: string, minCompactedBytes = NEVER, fs?: FileSystem): StoredLog {
  return new StoredLog({ root, disk: diskOf(fs), log: silentLogger, minCompactedBytes });
}

export const boardOf = (root: string) => join(root, FOLDER);
export const textOf = (root: string) => readFile(join(root, FOLDER, 'elsewhere.jsonl'), 'utf8');

/** So many days, of which but the last `left` are gone. */
export async function filled(root: string, days = 12, left = 2): Promise<void> {
  await mkdir(boardOf(root), { recursive: true });
  const log = logAt(root);
  for (let day = 0; day < days; day++) await log.add(noted(day));
  for (let day = 0; day < days - left; day++) await log.add(goneOf(day));
}

export async function answers(root: string): Promise<object> {
  const log = logAt(root);
  return { of: await log.read(MAC), gone: await log.gone(MAC) };
}

export async function leftovers(root: string): Promise<string[]> {
  return (await readdir(boardOf(root))).filter(isOfCompaction);
}

/** Node's file system, with `between` done ahead of every call. */
export function interrupted(between: (call: string) => Promise<void>): FileSystem {
  return new Proxy(nodeFs, {
    get(target, name) {
      const call = Reflect.get(target, name) as ((...args: unknown[]) => Promise<unknown>) | undefined;
      if (typeof call !== 'function') return call;
      return async (...args: unknown[]) => {
        await between(String(name));
        const result = await call(...args);
        return name === 'open' ? interruptedHandle(result as nodeFs.FileHandle, between) : result;
      };
    },
  });
}

function interruptedHandle(handle: nodeFs.FileHandle, between: (call: string) => Promise<void>): nodeFs.FileHandle {
  return new Proxy(handle, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== 'function') return member;
      return async (...args: unknown[]) => {
        if (name !== 'close') await between(`handle.${String(name)}`);
        return (member as (...args: unknown[]) => unknown).apply(target, args);
      };
    },
  });
}
