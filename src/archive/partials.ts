/**
 * What interrupted backups of a board have left: folders `partial.<16 hex>` with a `flash.bin` each. Their bytes prove
 * nothing; the next backup of the board uses them where a digest of the chip says the same.
 *
 * At most two are kept: the newest, and the one that holds most, where that is another. So a second try that is broken
 * off at its very beginning takes nothing of the first away, and a board whose flash has changed since gets on, too.
 */

import { join } from 'node:path';
import { SECTOR_BYTES } from '../flash.ts';
import { systemCode } from '../errors.ts';
import type { Logger } from '../log.ts';
import type { Mac } from '../mac.ts';
import type { Disk } from './disk.ts';
import { bytesOnDisk } from './free-space.ts';
import { FileImage, PLAIN_IMAGE, isWithin } from './image.ts';
import { isPartialName, partialName, trashName } from './owner.ts';
import type { Candidate } from './types.ts';

interface Parts {
  readonly disk: Disk;
  readonly log: Logger;
}

interface Partial {
  readonly name: string;
  readonly image: FileImage;
  readonly changedMs: number;
  /** Taken on the disk: what was never written takes nothing, as far as the file system knows holes. */
  readonly storedBytes: number;
}

const ZEROS = Buffer.alloc(SECTOR_BYTES);

/**
 * Makes a partial of a draft that nobody writes any more, if there is an image of that size with anything in it.
 * Rejects with the system's error.
 */
export async function turnIntoPartial(
  { disk }: Parts,
  boardFolder: string,
  draftPath: string,
  sizeBytes: number,
): Promise<boolean> {
  if ((await disk.lstat(draftPath))?.isDirectory() !== true) return false;
  const stats = await disk.lstat(join(draftPath, PLAIN_IMAGE));
  if (stats?.isFile() !== true || stats.size !== sizeBytes || stats.blocks === 0) return false;
  await disk.fs.rename(draftPath, join(boardFolder, partialName()));
  return true;
}

/** Opens what was left of an image of that size, and removes the partials that are of no use. Never rejects. */
export async function openLeftover(
  parts: Parts,
  boardFolder: string,
  mac: Mac,
  sizeBytes: number,
): Promise<Leftover | null> {
  const partials = await keepBest(parts, boardFolder, sizeBytes);
  if (partials.length === 0) return null;
  return new Leftover(
    partials.map(({ image }) => image),
    mac,
    parts.log,
  );
}

/** Removes the partials that are of no use beside the others. Never rejects. */
export async function tidyPartials(parts: Parts, boardFolder: string, sizeBytes: number): Promise<void> {
  const partials = await keepBest(parts, boardFolder, sizeBytes);
  for (const { image } of partials) await image.close().catch(() => undefined);
}

/** Removes all partials of a board; whether there was any. Never rejects. */
export async function removePartials(parts: Parts, boardFolder: string): Promise<boolean> {
  let removed = false;
  for (const name of await partialNames(parts, boardFolder)) {
    removed = (await remove(parts, boardFolder, name)) || removed;
  }
  return removed;
}

/** The partials worth keeping, open, the newest first; all others are gone then. */
async function keepBest(parts: Parts, boardFolder: string, sizeBytes: number): Promise<Partial[]> {
  let kept: Partial[] = [];
  for (const name of await partialNames(parts, boardFolder)) {
    const partial = await open(parts, boardFolder, name, sizeBytes);
    if (partial === 'useless') await remove(parts, boardFolder, name);
    else if (partial !== 'unknown') kept.push(partial);
  }
  kept.sort((a, b) => b.changedMs - a.changedMs);
  const most = Math.max(...kept.map(({ storedBytes }) => storedBytes));
  const fullest = kept.findIndex(({ storedBytes }) => storedBytes === most);
  const others = kept.filter((_, index) => index !== 0 && index !== fullest);
  kept = kept.filter((partial) => !others.includes(partial));
  for (const { image, name } of others) {
    await image.close().catch(() => undefined);
    await remove(parts, boardFolder, name);
  }
  return kept;
}

/** `unknown` where it cannot be read now, or is gone: then it is left to the next one who looks. */
async function open(
  { disk, log }: Parts,
  boardFolder: string,
  name: string,
  sizeBytes: number,
): Promise<Partial | 'useless' | 'unknown'> {
  const path = join(boardFolder, name);
  try {
    if ((await disk.lstat(path))?.isDirectory() !== true) return 'useless';
    for (const other of await disk.fs.readdir(path)) {
      // Its maker may have died in the middle of a commit. What will not go (a network file system's, say) is not in the
      // way of the image.
      if (other !== PLAIN_IMAGE) {
        await disk.fs.rm(join(path, other), { recursive: true, force: true }).catch(() => undefined);
      }
    }
    const opened = await disk.openToRead(join(path, PLAIN_IMAGE));
    const image = new FileImage(opened.handle, path, sizeBytes);
    try {
      if (opened.sizeBytes === sizeBytes) {
        const stats = await opened.handle.stat();
        return { name, image, changedMs: stats.mtimeMs, storedBytes: bytesOnDisk(stats) };
      }
    } catch (error) {
      await image.close().catch(() => undefined);
      throw error;
    }
    await image.close();
    return 'useless';
  } catch (error) {
    log.debug('an interrupted backup cannot be read', { path, error: String(error) });
    return ['ENOENT', 'ELOOP', 'EISDIR', 'ENOTDIR'].includes(systemCode(error) ?? '') ? 'useless' : 'unknown';
  }
}

async function partialNames({ disk, log }: Parts, boardFolder: string): Promise<string[]> {
  try {
    return (await disk.fs.readdir(boardFolder)).filter(isPartialName).sort();
  } catch (error) {
    log.debug('interrupted backups cannot be looked for', { path: boardFolder, error: String(error) });
    return [];
  }
}

async function remove({ disk, log }: Parts, boardFolder: string, name: string): Promise<boolean> {
  const path = join(boardFolder, name);
  try {
    const trash = join(boardFolder, trashName());
    await disk.fs.rename(path, trash);
    await disk.fs.rm(trash, { recursive: true, force: true });
    return true;
  } catch (error) {
    // ENOENT: another process was faster.
    if (systemCode(error) !== 'ENOENT')
      log.warn('an interrupted backup cannot be removed', { path, error: String(error) });
    return false;
  }
}

/** One or two interrupted images as one: where the newest holds nothing but zeros, so probably a hole, the other counts. */
export class Leftover implements Candidate {
  readonly kind = 'leftover';
  readonly id = null;
  readonly mac: Mac;
  readonly sizeBytes: number;
  readonly #images: readonly FileImage[];
  readonly #log: Logger;
  #state: 'usable' | 'unreadable' | 'closed' = 'usable';

  constructor(images: readonly FileImage[], mac: Mac, log: Logger) {
    this.#images = images;
    this.mac = mac;
    this.sizeBytes = images[0]?.sizeBytes ?? 0;
    this.#log = log;
  }

  blockMd5(): undefined {
    return undefined;
  }

  async read(offset: number, length: number): Promise<Buffer | undefined> {
    if (this.#state !== 'usable' || !isWithin(offset, length, this.sizeBytes)) return undefined;
    try {
      const [newest, other] = this.#images;
      const bytes = await newest?.read(offset, length);
      if (bytes !== undefined && other !== undefined) await fillHoles(bytes, offset, other);
      return bytes;
    } catch (error) {
      this.#giveUp(error);
      return undefined;
    }
  }

  async close(): Promise<void> {
    this.#state = 'closed';
    for (const image of this.#images) await image.close().catch(() => undefined);
  }

  #giveUp(error: unknown): void {
    if (this.#state !== 'usable') return; // that it was closed meanwhile is no news
    this.#state = 'unreadable';
    this.#log.warn('an interrupted backup cannot be read', { mac: this.mac, error: String(error) });
  }
}

async function fillHoles(bytes: Buffer, offset: number, other: FileImage): Promise<void> {
  let filler: Buffer | undefined;
  for (let at = 0; at < bytes.length;) {
    const end = Math.min(bytes.length, at + SECTOR_BYTES - ((offset + at) % SECTOR_BYTES));
    if (bytes.subarray(at, end).equals(ZEROS.subarray(0, end - at))) {
      filler ??= await other.read(offset, bytes.length);
      filler.copy(bytes, at, at, end);
    }
    at = end;
  }
}
