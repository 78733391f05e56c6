/** Sorted files of the library of blocks: one of several, in memory that does not grow with them. */

import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { giveToOwner } from '../../archive/state-owner.ts';
import { MergeMemory } from './merge-memory.ts';
import { HEADER_BYTES, KEY_BYTES, MAX_HOLDERS, RECORD_BYTES, type RunFile, encodeHeader } from './run-file.ts';

/** Entries that are in memory at once: of all files together, of each at least, and of the one that is written. */
const READ_ENTRIES = 128 * 1024;
const MIN_CHUNK_ENTRIES = 512;
const MAX_CHUNK_ENTRIES = 8 * 1024;
/** Of a backup's record: its MAC, then its time. */
const TIME_AT = 6;

/** Puts a file there as a whole; @throws the system's error */
export function writeRun(path: string, file: Uint8Array): Promise<void> {
  return replacing(path, (handle) => handle.writeFile(file));
}

/**
 * One file of several, in constant memory but for the names of the backups. Of one block at one place the newest backups
 * stay.
 * @throws the system's error; the signal's reason
 */
export async function mergeRuns(
  path: string,
  runs: readonly RunFile[],
  {
    signal,
    memory = new MergeMemory(),
  }: { readonly signal?: AbortSignal | undefined; readonly memory?: MergeMemory } = {},
): Promise<void> {
  const { backups, numbers } = await mergeBackups(runs, memory);
  const entriesOfEach = Math.floor(READ_ENTRIES / Math.max(1, runs.length));
  const chunkEntries = Math.min(MAX_CHUNK_ENTRIES, Math.max(MIN_CHUNK_ENTRIES, entriesOfEach));
  const chunkBytes = runs.map(({ entries }) => Math.min(chunkEntries, entries) * RECORD_BYTES);
  const chunks = partsOf(memory.bytes('entries', sumOf(chunkBytes)), chunkBytes);
  const streams = runs.map((run, index) => new EntryStream(run, numbers[index] ?? NONE, chunks[index] ?? NO_BYTES));
  for (const stream of streams) await stream.fill();
  await replacing(path, async (handle) => {
    const written = memory.bytes('written', MAX_CHUNK_ENTRIES * RECORD_BYTES);
    const target = new Target(handle, HEADER_BYTES + backups.length, written);
    await handle.write(backups, 0, backups.length, HEADER_BYTES);
    const merge = new Merge(streams, target);
    for (let waiting = merge.run(); waiting !== undefined; waiting = merge.run()) {
      signal?.throwIfAborted();
      await (waiting === 'full' ? target.flush() : waiting.fill());
    }
    await target.flush();
    const header = encodeHeader(backups.length / RECORD_BYTES, target.entries, Buffer.alloc(HEADER_BYTES));
    await handle.write(header, 0, HEADER_BYTES, 0);
  });
}

interface MergedBackups {
  /** Each once, the oldest first: so of two the one with the larger number is the newer one. */
  readonly backups: Buffer;
  /** Of each file: the number of each of its backups among them. */
  readonly numbers: readonly Uint32Array[];
}

async function mergeBackups(runs: readonly RunFile[], memory: MergeMemory): Promise<MergedBackups> {
  const counts = runs.map(({ backups }) => backups);
  const total = sumOf(counts);
  const all = memory.bytes('all backups', total * RECORD_BYTES);
  const records = partsOf(
    all,
    counts.map((count) => count * RECORD_BYTES),
  );
  for (const [index, run] of runs.entries()) await run.readBackups(records[index] ?? NO_BYTES);
  const order = memory.numbers('order', total);
  for (let index = 0; index < total; index++) order[index] = index;
  order.sort((one, other) => compareRecords(all, one * RECORD_BYTES, other * RECORD_BYTES));
  const numberOf = memory.numbers('numbers', total);
  const backups = memory.bytes('backups', total * RECORD_BYTES);
  let [count, lastAt] = [0, -1];
  for (const index of order) {
    const at = index * RECORD_BYTES;
    if (lastAt === -1 || compareRecords(all, lastAt, at) !== 0) {
      all.copy(backups, count++ * RECORD_BYTES, at, at + RECORD_BYTES);
    }
    numberOf[index] = count - 1;
    lastAt = at;
  }
  return { backups: backups.subarray(0, count * RECORD_BYTES), numbers: partsOf(numberOf, counts) };
}

const NONE = new Uint32Array(0);
const NO_BYTES = Buffer.alloc(0);
const sumOf = (counts: readonly number[]) => counts.reduce((sum, count) => sum + count, 0);

/** One behind the other. */
function partsOf<T extends { subarray(from: number, to: number): T }>(whole: T, lengths: readonly number[]): T[] {
  let from = 0;
  return lengths.map((length) => whole.subarray(from, (from += length)));
}

/** By their time, then by their MAC. */
function compareRecords(all: Buffer, one: number, other: number): number {
  return (
    all.readUIntBE(one + TIME_AT, 6) - all.readUIntBE(other + TIME_AT, 6) ||
    all.readUIntBE(one, 6) - all.readUIntBE(other, 6)
  );
}

class Merge {
  readonly #streams: readonly EntryStream[];
  readonly #target: Target;
  /** Of the key that is being gathered: undefined = of none. */
  #high = 0;
  #low = 0;
  #isGathering = false;
  readonly #holders: number[] = [];

  constructor(streams: readonly EntryStream[], target: Target) {
    this.#streams = streams;
    this.#target = target;
  }

  /** Goes on until something has to be read or written: which stream, or `full`; undefined = all is merged. */
  run(): EntryStream | 'full' | undefined {
    for (;;) {
      if (!this.#isGathering && !this.#begin()) return undefined;
      for (const stream of this.#streams) {
        while (stream.isAt(this.#high, this.#low)) {
          const { holder } = stream;
          if (!this.#holders.includes(holder)) this.#holders.push(holder);
          if (!stream.next()) return stream;
        }
      }
      if (!this.#target.hasRoom) return 'full';
      this.#end();
    }
  }

  /** At the smallest key of all. */
  #begin(): boolean {
    let first: EntryStream | undefined;
    for (const stream of this.#streams) if (stream.isBefore(first)) first = stream;
    if (first === undefined) return false;
    [this.#high, this.#low] = [first.high, first.low];
    this.#isGathering = true;
    return true;
  }

  #end(): void {
    if (this.#holders.length > 1) this.#holders.sort((one, other) => other - one);
    const kept = Math.min(MAX_HOLDERS, this.#holders.length);
    for (let index = 0; index < kept; index++) this.#target.add(this.#high, this.#low, this.#holders[index] ?? 0);
    this.#holders.length = 0;
    this.#isGathering = false;
  }
}

class EntryStream {
  readonly #run: RunFile;
  readonly #numbers: Uint32Array;
  readonly #chunk: Buffer;
  /** Of the chunk: how much of it is filled, and where the entry is that is to come. */
  #filled = 0;
  #at = 0;
  #nextEntry = 0;
  /** The key of the entry that is to come, in two halves. */
  high = 0;
  low = 0;

  constructor(run: RunFile, numbers: Uint32Array, chunk: Buffer) {
    this.#run = run;
    this.#numbers = numbers;
    this.#chunk = chunk;
  }

  /** Must be called once before anything is asked, and whenever {@link next} wants it. */
  async fill(): Promise<void> {
    const count = Math.min(this.#chunk.length / RECORD_BYTES, this.#run.entries - this.#nextEntry);
    this.#filled = count * RECORD_BYTES;
    await this.#run.readEntries(this.#nextEntry, this.#chunk.subarray(0, this.#filled));
    this.#nextEntry += count;
    this.#at = 0;
    this.#look();
  }

  /** False: {@link fill} has to be called first. */
  next(): boolean {
    this.#at += RECORD_BYTES;
    if (this.#at >= this.#filled) return false;
    this.#look();
    return true;
  }

  isAt(high: number, low: number): boolean {
    return this.#at < this.#filled && this.high === high && this.low === low;
  }

  isBefore(other: EntryStream | undefined): boolean {
    if (this.#at >= this.#filled) return false;
    return other === undefined || this.high < other.high || (this.high === other.high && this.low < other.low);
  }

  /** Of the entry that is to come, by its number in the file to be; a number that the file does not have stands for its first backup. */
  get holder(): number {
    return this.#numbers[this.#chunk.readUInt32BE(this.#at + KEY_BYTES)] ?? this.#numbers[0] ?? 0;
  }

  #look(): void {
    if (this.#at >= this.#filled) return;
    this.high = this.#chunk.readUInt32BE(this.#at);
    this.low = this.#chunk.readUInt32BE(this.#at + 4);
  }
}

class Target {
  readonly #handle: FileHandle;
  readonly #chunk: Buffer;
  #filled = 0;
  #position: number;
  entries = 0;

  constructor(handle: FileHandle, position: number, chunk: Buffer) {
    this.#handle = handle;
    this.#position = position;
    this.#chunk = chunk;
  }

  /** For all holders of one key. */
  get hasRoom(): boolean {
    return this.#filled + MAX_HOLDERS * RECORD_BYTES <= this.#chunk.length;
  }

  add(high: number, low: number, holder: number): void {
    this.#chunk.writeUInt32BE(high, this.#filled);
    this.#chunk.writeUInt32BE(low, this.#filled + 4);
    this.#chunk.writeUInt32BE(holder, this.#filled + KEY_BYTES);
    this.#filled += RECORD_BYTES;
    this.entries++;
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
