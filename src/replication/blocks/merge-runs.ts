/** Sorted files of the library of blocks: written from what is new, and made one of several. */

import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { giveToOwner } from '../../archive/state-owner.ts';
import {
  type BackupName,
  HEADER_BYTES,
  KEY_BYTES,
  MAX_HOLDERS,
  RECORD_BYTES,
  type RunFile,
  encodeBackup,
  encodeHeader,
} from './run-file.ts';

/** Entries that are in memory at once, of each file. */
const CHUNK_ENTRIES = 8 * 1024;

/** Blocks of backups that are not in a file yet: some thousands. */
export interface NewBlocks {
  readonly backups: readonly BackupName[];
  /** Key, and the number of the backup. */
  readonly entries: readonly { readonly key: Buffer; readonly backup: number }[];
}

/** Puts a file there as a whole; @throws the system's error */
export async function writeRun(path: string, { backups, entries }: NewBlocks): Promise<void> {
  const sorted = [...entries].sort((one, other) => one.key.compare(other.key) || other.backup - one.backup);
  await replacing(path, async (handle) => {
    const body = Buffer.alloc(sorted.length * RECORD_BYTES);
    let kept = 0;
    let holders = 0;
    sorted.forEach(({ key, backup }, index) => {
      holders = sorted[index - 1]?.key.equals(key) === true ? holders + 1 : 0;
      if (holders >= MAX_HOLDERS) return;
      key.copy(body, kept * RECORD_BYTES);
      body.writeUInt32BE(backup, kept * RECORD_BYTES + KEY_BYTES);
      kept++;
    });
    const head = [encodeHeader(backups.length, kept), ...backups.map(encodeBackup)];
    await handle.writeFile(Buffer.concat([...head, body.subarray(0, kept * RECORD_BYTES)]));
  });
}

/**
 * One file of several, in constant memory but for the names of the backups. Of one block at one place the newest backups
 * stay.
 * @throws the system's error; the signal's reason
 */
export async function mergeRuns(path: string, runs: readonly RunFile[], signal?: AbortSignal): Promise<void> {
  const names: string[] = [];
  const numbers = new Map<string, number>();
  const streams: EntryStream[] = [];
  for (const run of runs) {
    const records = await run.readBackups();
    const own: number[] = [];
    for (let at = 0; at < records.length; at += RECORD_BYTES) {
      const name = records.toString('hex', at, at + RECORD_BYTES);
      let number = numbers.get(name);
      if (number === undefined) {
        number = names.length;
        numbers.set(name, number);
        names.push(name);
      }
      own.push(number);
    }
    streams.push(new EntryStream(run, own));
  }
  numbers.clear();
  await replacing(path, async (handle) => {
    const backups = Buffer.from(names.join(''), 'hex');
    const target = new Target(handle, HEADER_BYTES + backups.length);
    await handle.write(backups, 0, backups.length, HEADER_BYTES);
    for (const stream of streams) await stream.fill();
    const newestFirst = (one: number, other: number) => compareIds(names[other], names[one]);
    for (;;) {
      const first = firstOf(streams);
      if (first === undefined) break;
      const key = Buffer.from(first.subarray(0, KEY_BYTES));
      const holders: number[] = [];
      for (const stream of streams) {
        while (stream.head?.compare(key, 0, KEY_BYTES, 0, KEY_BYTES) === 0) {
          const holder = stream.holder();
          if (!holders.includes(holder)) holders.push(holder);
          await stream.next();
        }
      }
      for (const holder of holders.sort(newestFirst).slice(0, MAX_HOLDERS)) {
        if (target.add(key, holder)) {
          signal?.throwIfAborted();
          await target.flush();
        }
      }
    }
    await target.flush();
    await handle.write(encodeHeader(names.length, target.entries), 0, HEADER_BYTES, 0);
  });
}

/** The last 6 bytes of a record, as hex, are its time. */
function compareIds(one = '', other = ''): number {
  const [a, b] = [one.slice(12), other.slice(12)];
  return a < b ? -1 : a > b ? 1 : 0;
}

function firstOf(streams: readonly EntryStream[]): Buffer | undefined {
  let first: Buffer | undefined;
  for (const { head } of streams) {
    if (head !== undefined && (first === undefined || head.compare(first, 0, KEY_BYTES, 0, KEY_BYTES) < 0))
      first = head;
  }
  return first;
}

class EntryStream {
  readonly #run: RunFile;
  readonly #numbers: readonly number[];
  #chunk: Buffer = Buffer.alloc(0);
  #at = 0;
  #nextEntry = 0;
  /** The entry that is to come; undefined at the end. */
  head: Buffer | undefined;

  constructor(run: RunFile, numbers: readonly number[]) {
    this.#run = run;
    this.#numbers = numbers;
  }

  /** Must be called once before {@link head} is looked at. */
  async fill(): Promise<void> {
    const count = Math.min(CHUNK_ENTRIES, this.#run.entries - this.#nextEntry);
    this.#chunk = await this.#run.readEntries(this.#nextEntry, count);
    this.#nextEntry += count;
    this.#at = 0;
    this.#look();
  }

  /** A promise only where more has to be read. */
  next(): Promise<void> | undefined {
    this.#at += RECORD_BYTES;
    if (this.#at >= this.#chunk.length) return this.fill();
    this.#look();
    return undefined;
  }

  /** Of the head, by its number in the file to be; a number that the file does not have stands for its first backup. */
  holder(): number {
    return this.#numbers[this.head?.readUInt32BE(KEY_BYTES) ?? 0] ?? this.#numbers[0] ?? 0;
  }

  #look(): void {
    const { length } = this.#chunk;
    this.head = this.#at < length ? this.#chunk.subarray(this.#at, this.#at + RECORD_BYTES) : undefined;
  }
}

class Target {
  readonly #handle: FileHandle;
  readonly #chunk = Buffer.alloc(CHUNK_ENTRIES * RECORD_BYTES);
  #filled = 0;
  #position: number;
  entries = 0;

  constructor(handle: FileHandle, position: number) {
    this.#handle = handle;
    this.#position = position;
  }

  /** Whether it has to be flushed before the next one. */
  add(key: Buffer, holder: number): boolean {
    key.copy(this.#chunk, this.#filled);
    this.#chunk.writeUInt32BE(holder, this.#filled + KEY_BYTES);
    this.#filled += RECORD_BYTES;
    this.entries++;
    return this.#filled === this.#chunk.length;
  }

  async flush(): Promise<void> {
    for (let done = 0; done < this.#filled;) {
      const left = this.#filled - done;
      const { bytesWritten } = await this.#handle.write(this.#chunk, done, left, this.#position + done);
      done += bytesWritten;
    }
    this.#position += this.#filled;
    this.#filled = 0;
  }
}

async function replacing(path: string, fill: (handle: FileHandle) => Promise<void>): Promise<void> {
  const partial = `${path}.partial`;
  try {
    const handle = await open(partial, 'w', 0o600);
    try {
      await fill(handle);
    } finally {
      await handle.close();
    }
    await giveToOwner(partial);
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true }).catch(() => undefined);
    throw error;
  }
}
