/**
 * One sorted file of the library of blocks: which block of 64 KiB was seen at which place, and in which backups. Derived
 * of manifests and never changed once it is written; a wrong answer costs time, so nothing in it is checked but its
 * length.
 *
 * `ESPDBLK1`, then the numbers of backups and of entries (4 bytes each, big-endian), then 12 bytes a backup (MAC, its
 * id in seconds since 1970), then 12 bytes an entry: the first 6 bytes of the block's MD5, its index (2 bytes), the
 * backup's number in this file (4 bytes). Entries are sorted by their bytes; of one block at one place there are at most
 * {@link MAX_HOLDERS}.
 */

import { type FileHandle, open } from 'node:fs/promises';
import { idFromDate, idToDate } from '../../archive/ids.ts';
import { systemCode } from '../../errors.ts';
import { type Mac, macFromBytes } from '../../mac.ts';

const MAGIC = Buffer.from('ESPDBLK1');
export const HEADER_BYTES = 16;
export const RECORD_BYTES = 12;
/** MD5 and index of an entry: what it is found by. */
export const KEY_BYTES = 8;
const MD5_PREFIX_BYTES = 6;
/** So many backups with the same block are as good as a thousand. */
export const MAX_HOLDERS = 4;
/** Entries that are read at once where the search ends: a page of the disk. */
const PAGE_ENTRIES = 340;
const MAX_COUNT = 2 ** 28;
/** Of where a key is; then its place is found by halving. */
const MAX_GUESSES = 4;

export interface BackupName {
  readonly mac: Mac;
  readonly id: string;
}

/** Undefined for an index that has no room in an entry: behind 4 GiB. */
export function keyOf(index: number, md5: string): Buffer | undefined {
  const key = Buffer.alloc(KEY_BYTES);
  return writeKey(index, md5, key, 0) ? key : undefined;
}

/** False as {@link keyOf} is undefined. */
export function writeKey(index: number, md5: string, into: Buffer, at: number): boolean {
  if (index > 0xffff) return false;
  into.fill(0, at, at + KEY_BYTES);
  into.write(md5, at, MD5_PREFIX_BYTES, 'hex');
  into.writeUInt16BE(index, at + MD5_PREFIX_BYTES);
  return true;
}

/** At the beginning of `into`, which it returns. */
export function encodeHeader(backups: number, entries: number, into: Buffer): Buffer {
  MAGIC.copy(into);
  into.writeUInt32BE(backups, 8);
  into.writeUInt32BE(entries, 12);
  return into;
}

export function encodeBackup({ mac, id }: BackupName, into: Buffer, at: number): void {
  into.write(mac.replaceAll(':', ''), at, 'hex');
  into.writeUIntBE(Math.max(0, Math.floor((idToDate(id)?.getTime() ?? 0) / 1000)), at + 6, 6);
}

export function decodeBackup(record: Buffer): BackupName {
  return {
    mac: macFromBytes(record.subarray(0, 6)),
    id: idFromDate(new Date(Math.min(record.readUIntBE(6, 6), MAX_ID_SECONDS) * 1000)),
  };
}

/** The last second of the year 9999. */
const MAX_ID_SECONDS = 253_402_300_799;

/** A file that is open to be searched, or to be gone through. */
export class RunFile {
  readonly entries: number;
  readonly backups: number;
  readonly #handle: FileHandle;

  private constructor(handle: FileHandle, backups: number, entries: number) {
    this.#handle = handle;
    this.backups = backups;
    this.entries = entries;
  }

  /** Undefined where the file is gone; `damaged` where it is none of ours. Rejects with the system's error. */
  static async open(path: string): Promise<RunFile | 'damaged' | undefined> {
    let handle: FileHandle;
    try {
      handle = await open(path, 'r');
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined;
      throw error;
    }
    const run = await RunFile.#from(handle).catch(async (error: unknown) => {
      await handle.close().catch(() => undefined);
      throw error;
    });
    if (run === 'damaged') await handle.close();
    return run;
  }

  static async #from(handle: FileHandle): Promise<RunFile | 'damaged'> {
    const { size } = await handle.stat();
    if (size < HEADER_BYTES) return 'damaged';
    const header = await readExactly(handle, 0, Buffer.alloc(HEADER_BYTES));
    const [backups, entries] = [header.readUInt32BE(8), header.readUInt32BE(12)];
    const isOurs = header.subarray(0, MAGIC.length).equals(MAGIC) && backups < MAX_COUNT && entries < MAX_COUNT;
    if (!isOurs || size !== HEADER_BYTES + (backups + entries) * RECORD_BYTES) return 'damaged';
    return new RunFile(handle, backups, entries);
  }

  /** Numbers of the backups that hold the block of this key; rejects with the system's error. */
  async find(key: Buffer): Promise<number[]> {
    // The first entry that is not before the key is one of low to high.
    let [low, high] = [0, this.entries];
    let [lowDigest, highDigest] = [0, 2 ** 32];
    const digest = key.readUInt32BE(0);
    for (let reads = 0; high - low > PAGE_ENTRIES; reads++) {
      // Digests are spread evenly, so its place is guessed; where they are not, halving comes to an end.
      const part = reads < MAX_GUESSES ? (digest - lowDigest + 0.5) / (highDigest - lowDigest + 1) : 0.5;
      const guess = low + Math.floor(part * (high - low)) - PAGE_ENTRIES / 2;
      const first = Math.min(Math.max(low, guess), high - PAGE_ENTRIES);
      const page = await this.readEntries(first, pageOf(PAGE_ENTRIES));
      const lastAt = page.length - RECORD_BYTES;
      if (key.compare(page, 0, KEY_BYTES) <= 0) {
        high = first;
        highDigest = page.readUInt32BE(0);
      } else if (key.compare(page, lastAt, lastAt + KEY_BYTES) > 0) {
        low = first + PAGE_ENTRIES;
        lowDigest = page.readUInt32BE(lastAt);
      } else {
        [low, high] = [first, first + PAGE_ENTRIES];
      }
    }
    const page = await this.readEntries(low, pageOf(Math.min(this.entries, high + MAX_HOLDERS) - low));
    const found: number[] = [];
    for (let at = 0; at < page.length; at += RECORD_BYTES) {
      if (key.compare(page, at, at + KEY_BYTES) === 0) found.push(page.readUInt32BE(at + KEY_BYTES));
    }
    return found;
  }

  async backup(number: number): Promise<BackupName | undefined> {
    if (number >= this.backups) return undefined;
    return decodeBackup(await readExactly(this.#handle, HEADER_BYTES + number * RECORD_BYTES, pageOf(1)));
  }

  /** The first ones of all, {@link RECORD_BYTES} each, until `into` is full; all are a megabyte for a hundred thousand. */
  readBackups(into: Buffer): Promise<Buffer> {
    return readExactly(this.#handle, HEADER_BYTES, into);
  }

  /** Fills `into`, and returns it. */
  readEntries(first: number, into: Buffer): Promise<Buffer> {
    return readExactly(this.#handle, HEADER_BYTES + (this.backups + first) * RECORD_BYTES, into);
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

const pageOf = (records: number) => Buffer.alloc(Math.max(0, records) * RECORD_BYTES);

async function readExactly(handle: FileHandle, at: number, bytes: Buffer): Promise<Buffer> {
  for (let done = 0; done < bytes.length;) {
    const { bytesRead } = await handle.read(bytes, done, bytes.length - done, at + done);
    if (bytesRead === 0) throw Object.assign(new Error('the file is shorter than it says'), { code: 'EIO' });
    done += bytesRead;
  }
  return bytes;
}
