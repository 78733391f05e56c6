/**
 * Whether a backup will fit, asked before anything is read for it. Drafts under way, of this process and of others, have
 * been promised what they have still to write: a disk that two backups fill together would keep neither.
 */

import type { Stats } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { type Clock, sleep } from '../clock.ts';
import { EspdError, systemCode } from '../errors.ts';
import { macFromFolder } from '../mac.ts';
import type { Compression } from './compression.ts';
import type { Disk } from './disk.ts';
import { GZIP_IMAGE, PLAIN_IMAGE, ZSTD_IMAGE } from './image.ts';
import { hasNoInodes, noInodes } from './inodes.ts';
import { type Owner, draftOwner, ownerState, probeProcess } from './owner.ts';

/** Kept free on the disk beyond the image itself: manifest, folders, and what other programs need to go on. */
const FREE_SPACE_MARGIN_BYTES = 4 * 1024 * 1024;
/**
 * With so much left nobody looks for other drafts, since that takes a look into each board's folder: 32 jobs with
 * 128 MiB of flash each need half of it.
 */
const PLENTY_BYTES = 16 * 1024 ** 3;
/** What {@link SpaceAsker.minFreeBytes} null stands for: this part of the disk, but no more than so many bytes. */
const DEFAULT_FREE_SHARE = 0.02;
const DEFAULT_FREE_BYTES = 256 * 1024 ** 2;
/** While it is compressed, an image lies there twice, and both gzip and zstd make random bytes a little longer. */
const COMPRESSED_FACTOR = 2.01;

/** Draft, image (twice while it is compressed), manifest, list of digests, and files that are appended to or cached. */
const NEEDED_INODES = 8;
/** A refusal is asked again so often, where another draft began at the same time and may have been refused as well. */
const ATTEMPTS = 4;
/** Drafts that began so shortly ago may still be asking. */
const SAME_TIME_MS = 5000;
const LONGEST_WAIT_MS = 400;

/** Unit of `st_blocks` (stat(3type)), whatever the file system's own. */
const STAT_BLOCK_BYTES = 512;

/** What a file or folder takes on the disk, in bytes: less than its length where it has holes. */
export function bytesOnDisk({ blocks }: Pick<Stats, 'blocks'>): number {
  return blocks * STAT_BLOCK_BYTES;
}

export interface SpaceAsker {
  readonly root: string;
  readonly disk: Disk;
  readonly owner: Owner;
  readonly clock: Clock;
  readonly compression: Compression;
  /** No backup begins that would leave less than this; null: 2 % of the disk, at most 256 MiB. */
  readonly minFreeBytes: number | null;
  /** Runs one after the other what is handed to it, so that drafts of one process never refuse each other. */
  readonly inTurn: <T>(work: () => Promise<T>) => Promise<T>;
}

/** An empty draft that wants room for its image. */
export interface Applicant {
  /** Its folder; the last digits of its name are random. */
  readonly path: string;
  /** Its image, still without content. */
  readonly image: FileHandle;
}

/**
 * Gives the image its full size, which reserves it: a file takes no space until it is written, and whoever asks after
 * this counts what is missing. Each asks after it has reserved, so of two that ask at once one sees the other at least.
 *
 * @throws EspdError `disk-full` where the image does not fit beside what is promised to others
 */
export async function reserveSpace(asker: SpaceAsker, applicant: Applicant, sizeBytes: number): Promise<void> {
  const { path, image } = applicant;
  for (let attempt = 1; ; attempt++) {
    const refusal = await asker.inTurn(async () => {
      await image.truncate(sizeBytes);
      const found = await shortage(asker, path, sizeBytes);
      if (found !== null) await image.truncate(0);
      return found;
    });
    if (refusal === null) return;
    if (!refusal.mayPass || attempt === ATTEMPTS) throw refusal.error;
    // Of several processes that have refused each other each comes back at another time.
    await sleep(asker.clock, Number.parseInt(path.slice(-4), 16) % LONGEST_WAIT_MS);
  }
}

/**
 * Whether a draft may take `bytes` more for a moment, with what is promised to others and has to stay free untouched.
 * Rejects with the system's error.
 */
export function hasRoomFor(asker: SpaceAsker, draftPath: string, bytes: number): Promise<boolean> {
  return asker.inTurn(async () => (await shortage(asker, draftPath, bytes)) === null);
}

/** What is missing, or null; `mayPass` where another draft may be asking at this moment. */
async function shortage(
  asker: SpaceAsker,
  draftPath: string,
  sizeBytes: number,
): Promise<{ error: EspdError; mayPass: boolean } | null> {
  const { bavail, bsize, blocks, files, ffree } = await asker.disk.fs.statfs(draftPath);
  if (hasNoInodes({ files, ffree }, NEEDED_INODES)) return { error: noInodes(asker.root), mayPass: false };
  if (blocks === 0) return null; // some network file systems tell nothing
  const neededBytes = fullBytes(asker, sizeBytes) + FREE_SPACE_MARGIN_BYTES;
  const keptFreeBytes = keptFree(asker.minFreeBytes, blocks * bsize);
  const freeBytes = bavail * bsize;
  const wantedBytes = neededBytes + keptFreeBytes;
  if (freeBytes >= wantedBytes + PLENTY_BYTES) return null;
  const promised = freeBytes < wantedBytes ? NOTHING : await promisedSpace(asker, draftPath);
  if (freeBytes - promised.bytes >= wantedBytes) return null;
  const error = tooLittle(asker.root, { freeBytes, promisedBytes: promised.bytes, neededBytes, keptFreeBytes });
  return { error, mayPass: promised.isFresh };
}

/** What has to stay free of a disk of `diskBytes`, in bytes; `minFreeBytes` as of {@link SpaceAsker}. */
export function keptFree(minFreeBytes: number | null, diskBytes: number): number {
  return minFreeBytes ?? Math.min(DEFAULT_FREE_BYTES, Math.floor(diskBytes * DEFAULT_FREE_SHARE));
}

function tooLittle(
  root: string,
  found: { freeBytes: number; promisedBytes: number; neededBytes: number; keptFreeBytes: number },
): EspdError {
  const { freeBytes, promisedBytes, neededBytes, keptFreeBytes } = found;
  const mib = (bytes: number) => `${(bytes / 1024 ** 2).toFixed(1)} MiB`;
  const taken = promisedBytes === 0 ? '' : `, ${mib(promisedBytes)} of it for backups that are being made,`;
  const isKept = freeBytes - promisedBytes >= neededBytes;
  const kept = keptFreeBytes === 0 ? '' : `, and ${mib(keptFreeBytes)} must stay free (archive.minFreeBytes)`;
  const wait = promisedBytes === 0 ? '' : 'Try again when they are done. ';
  const lower = isKept ? ', or lower archive.minFreeBytes in the config' : '';
  return new EspdError(
    'disk-full',
    `The archive ${root} has ${mib(freeBytes)} left${taken} and needs ${mib(neededBytes)}${kept}`,
    { hint: `${wait}Free some space on the disk of the archive${lower}` },
  );
}

function fullBytes({ compression }: Pick<SpaceAsker, 'compression'>, sizeBytes: number): number {
  return compression === 'none' ? sizeBytes : COMPRESSED_FACTOR * sizeBytes;
}

interface Promised {
  readonly bytes: number;
  /** Some of it by a draft that began just now. */
  readonly isFresh: boolean;
}

const NOTHING: Promised = { bytes: 0, isFresh: false };

/** What all other drafts under way have still to write. */
async function promisedSpace(asker: SpaceAsker, draftPath: string): Promise<Promised> {
  const { disk, root } = asker;
  const nowMs = (await disk.fs.lstat(draftPath)).mtimeMs;
  let sum = NOTHING;
  for (const board of await namesIn(disk, root)) {
    if (macFromFolder(board) === undefined) continue;
    for (const name of await namesIn(disk, join(root, board))) {
      const maker = draftOwner(name);
      const path = join(root, board, name);
      if (maker === undefined || path === draftPath) continue;
      // Who cannot be seen from here (another machine) is taken to be at work: its draft is cleared away in a day.
      if ((await ownerState(maker, asker.owner, probeProcess)) === 'gone') continue;
      const bytes = await unlessGone(0, () => remainingBytes(asker, path));
      if (bytes === 0) continue;
      const madeMs = await unlessGone(0, async () => (await disk.fs.lstat(path)).mtimeMs);
      sum = { bytes: sum.bytes + bytes, isFresh: sum.isFresh || Math.abs(nowMs - madeMs) < SAME_TIME_MS };
    }
  }
  return sum;
}

async function remainingBytes(asker: SpaceAsker, path: string): Promise<number> {
  const { disk } = asker;
  const image = await disk.fs.lstat(join(path, PLAIN_IMAGE));
  let writtenBytes = bytesOnDisk(image);
  for (const file of [GZIP_IMAGE, ZSTD_IMAGE]) {
    writtenBytes += await unlessGone(0, async () => bytesOnDisk(await disk.fs.lstat(join(path, file))));
  }
  return Math.max(0, fullBytes(asker, image.size) - writtenBytes);
}

async function namesIn(disk: Disk, folder: string): Promise<string[]> {
  return unlessGone<string[]>([], () => disk.fs.readdir(folder));
}

/** Drafts end while they are looked at; and another board's folder that may not be read stops no backup of this one. */
async function unlessGone<T>(otherwise: T, look: () => Promise<T>): Promise<T> {
  try {
    return await look();
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EACCES', 'EPERM'].includes(systemCode(error) ?? '')) return otherwise;
    throw error;
  }
}
