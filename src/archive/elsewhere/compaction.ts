/**
 * elsewhere.jsonl is made shorter: of a backup that is gone the line that says so stays, of one that is there the newest;
 * lines that this espd does not understand stay as they are.
 *
 * Every process of espd appends to this file, and none takes a lock for it: a lock would have to be left behind by the killed, be broken
 * by others, and be regarded by an older espd. So it is the other way round. No line that somebody was told is written is lost,
 * whatever happens beside it and whoever is killed when, because
 *
 * 1. whoever appends looks, when the line is on the disk, whether the name still stands for the file that was written to,
 *    and appends again if it does not ({@link appendToReplaced});
 * 2. so all that was acknowledged of the old file was in it before it was replaced. What is not in the new one is carried
 *    over when the name stands for that one;
 * 3. until then the old file has a second name, made before it is replaced. Whoever finds it, whose maker was killed, carries
 *    over once more: what is there already is not written again, and neither is what is older than that;
 * 4. of two compactions one at most replaces the file: the new one is there under its own name before anything is read, and
 *    that is the lock. Each looks for those of others when its own is there, so of two one at least gives up. To break the lock of a
 *    process that is gone is to remove its new file; then, should it be alive after all, its rename finds nothing.
 *
 * Where a file system has no second names (FAT, some of SMB), or the new file could not have the owner and the mode of
 * the old one, nothing is replaced.
 */

import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode } from '../../errors.ts';
import type { Mac } from '../../mac.ts';
import { type Disk, writeAll } from '../disk.ts';
import { isAbandoned } from '../abandoned.ts';
import { appendToReplaced } from '../line-log.ts';
import { type Owner, currentOwner, draftName } from '../owner.ts';
import { beforeName, makerOfBefore, makerOfNext, nextName } from './compaction-names.ts';
import { type StoredFile, readStoredFile } from './stored-file.ts';
import { ELSEWHERE, keyOf, latestOf, outdates } from './stored-lines.ts';

/** @returns whether the file is another one now. Rejects with the system's error: then the old one is there, with all that it held */
export async function compact(disk: Disk, folder: string, mac: Mac): Promise<boolean> {
  const owner = await currentOwner();
  const maker = draftName(owner);
  const [path, next, before] = [ELSEWHERE, nextName(maker), beforeName(maker)].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  const handle = await disk.createFile(next);
  let isReplaced = false;
  try {
    const { mtimeMs } = await handle.stat();
    if (!(await breakLocks(disk, folder, { owner, nowMs: mtimeMs, own: nextName(maker) }))) return false;
    await carryLeftovers(disk, folder, mac);
    if (!(await canReplace(disk, path, handle))) return false;
    await disk.fs.link(path, before);
    // Its name is on the disk before the file loses the other one.
    await disk.syncFolder(folder);
    const readTo = await fill(disk, folder, mac, beforeName(maker), handle);
    if (readTo === undefined || !(await isOneFile(disk, path, before))) return false;
    await disk.fs.rename(next, path);
    isReplaced = true;
    await disk.syncFolder(folder);
    await carryOver(disk, folder, mac, beforeName(maker), readTo);
    await removeName(disk, before);
    return true;
  } finally {
    await handle.close().catch(() => undefined);
    if (!isReplaced) await giveUp(disk, path, before, next).catch(() => undefined);
  }
}

/** Not by what a rename has answered, but by what is there: where the old file has its second name alone, that one stays. */
async function giveUp(disk: Disk, path: string, before: string, next: string): Promise<void> {
  if (await isOneFile(disk, path, before)) await removeName(disk, before);
  await removeName(disk, next);
}

/**
 * Ends what a process that was killed has begun: its lines are in elsewhere.jsonl afterwards. Of one that is at work nothing is touched.
 * Rejects with the system's error.
 */
export async function carryLeftovers(disk: Disk, folder: string, mac: Mac): Promise<void> {
  for (const name of await disk.fs.readdir(folder)) {
    const maker = makerOfBefore(name);
    // Made behind the new file: where that is gone now, it has replaced the old one, or never will.
    if (maker === undefined || (await disk.exists(join(folder, nextName(maker))))) continue;
    if (!(await isOneFile(disk, join(folder, ELSEWHERE), join(folder, name))))
      await carryOver(disk, folder, mac, name, 0);
    await removeName(disk, join(folder, name));
  }
}

/** @returns false: another process may be at work */
async function breakLocks(
  disk: Disk,
  folder: string,
  { owner, nowMs, own }: { readonly owner: Owner; readonly nowMs: number; readonly own: string },
): Promise<boolean> {
  for (const name of await disk.fs.readdir(folder)) {
    const maker = makerOfNext(name);
    if (maker === undefined || name === own) continue;
    const path = join(folder, name);
    try {
      if (!(await isAbandoned(disk, owner, path, nowMs, maker))) return false;
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error;
    }
    await removeName(disk, path);
  }
  return true;
}

/** As whoever appends to it and reads it has it: owner, group and mode. */
async function canReplace(disk: Disk, path: string, next: FileHandle): Promise<boolean> {
  const [old, made] = [await disk.lstat(path), await next.stat()];
  if (old?.isFile() !== true) return false;
  return old.uid === made.uid && old.gid === made.gid && old.mode === made.mode;
}

async function isOneFile(disk: Disk, path: string, other: string): Promise<boolean> {
  try {
    const [one, two] = [await disk.fs.lstat(path, { bigint: true }), await disk.fs.lstat(other, { bigint: true })];
    return one.isFile() && one.ino === two.ino;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false;
    throw error;
  }
}

/** Writes what counts, to the disk. @returns how far the old file was read; undefined where it is not to be replaced */
async function fill(disk: Disk, folder: string, mac: Mac, name: string, next: FileHandle): Promise<number | undefined> {
  const all = await readStoredFile(disk, folder, name, mac);
  let sizeBytes = 0;
  const write = async ({ lines, others }: StoredFile) => {
    for (const bytes of [...others, ...Array.from(lines.kept(), (each) => each.bytes)]) {
      await writeAll(next, Buffer.concat([bytes, LINE_END]), sizeBytes);
      sizeBytes += bytes.length + 1;
    }
  };
  await write(all);
  await next.sync();
  // What comes later still, between here and the rename, is read by nobody for a moment.
  const late = await readStoredFile(disk, folder, name, mac, all.nextByte);
  await write(late);
  await next.sync();
  return all.hasTooLong || late.hasTooLong || sizeBytes >= all.nextByte ? undefined : late.nextByte;
}

const LINE_END = Buffer.from('\n');

/** What a file says from a byte on, and elsewhere.jsonl does not, is appended there. */
async function carryOver(disk: Disk, folder: string, mac: Mac, name: string, fromByte: number): Promise<void> {
  const from = await readStoredFile(disk, folder, name, mac, fromByte);
  if (from.hasTooLong) throw Object.assign(new Error(`${name} has a line that is too long`), { code: 'EFBIG' });
  const kept = [...from.lines.kept()];
  if (kept.length + from.others.length === 0) return;
  const there = await readStoredFile(disk, folder, ELSEWHERE, mac);
  const asTheyStand = new Set(there.others.map((bytes) => bytes.toString('latin1')));
  const latest = new Map<string, ReturnType<typeof latestOf>>();
  for (const { claim, line } of there.lines.kept()) {
    if (line === undefined) asTheyStand.add(claim.bytes.toString('latin1'));
    else latest.set(keyOf(line), latestOf(line));
  }
  const lacking = [
    ...from.others,
    ...kept.filter(({ claim }) => outdates(claim.latest, latest.get(claim.key))).map(({ bytes }) => bytes),
  ].filter((bytes) => !asTheyStand.has(bytes.toString('latin1')));
  if (lacking.length === 0) return;
  await appendToReplaced(disk, folder, ELSEWHERE, Buffer.concat(lacking.flatMap((each) => [each, LINE_END])));
}

async function removeName(disk: Disk, path: string): Promise<void> {
  try {
    await disk.fs.unlink(path);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
}
