/** Blocks that wait in memory until they are a file, as the bytes that they will be there: thousands make no garbage. */

import {
  type BackupName,
  HEADER_BYTES,
  KEY_BYTES,
  MAX_HOLDERS,
  RECORD_BYTES,
  encodeBackup,
  encodeHeader,
  writeKey,
} from './run-file.ts';

export class NewBlocks {
  #backups: Buffer;
  #backupCount = 0;
  #records: Buffer;
  #count = 0;
  #starts = new Uint32Array(0);
  #file: Buffer = Buffer.alloc(0);

  /** @param entries room for so many at first */
  constructor(entries = 0) {
    this.#records = Buffer.alloc(entries * RECORD_BYTES);
    this.#backups = Buffer.alloc(0);
  }

  get entries(): number {
    return this.#count;
  }

  get isEmpty(): boolean {
    return this.#backupCount === 0;
  }

  /** Blocks that are added from now on are of this one. */
  addBackup(name: BackupName): void {
    const at = this.#backupCount++ * RECORD_BYTES;
    this.#backups = withRoom(this.#backups, at + RECORD_BYTES);
    encodeBackup(name, this.#backups, at);
  }

  /** Passes over an index that has no room in an entry. */
  addBlock(index: number, md5: string): void {
    const at = this.#count * RECORD_BYTES;
    this.#records = withRoom(this.#records, at + RECORD_BYTES);
    if (!writeKey(index, md5, this.#records, at)) return;
    this.#records.writeUInt32BE(this.#backupCount - 1, at + KEY_BYTES);
    this.#count++;
  }

  /** The bytes of a file with all of it, sorted; theirs until something is added or cleared. */
  encode(): Buffer {
    const bodyAt = HEADER_BYTES + this.#backupCount * RECORD_BYTES;
    this.#file = withRoom(this.#file, bodyAt + this.#count * RECORD_BYTES);
    this.#backups.copy(this.#file, HEADER_BYTES, 0, this.#backupCount * RECORD_BYTES);
    let at = bodyAt;
    let [keyAt, holders] = [-1, 0];
    for (const start of this.#sorted()) {
      const isSame = keyAt !== -1 && this.#compareKeys(keyAt, start) === 0;
      [keyAt, holders] = [start, isSame ? holders + 1 : 1];
      if (holders > MAX_HOLDERS) continue;
      this.#records.copy(this.#file, at, start, start + RECORD_BYTES);
      at += RECORD_BYTES;
    }
    encodeHeader(this.#backupCount, (at - bodyAt) / RECORD_BYTES, this.#file);
    return this.#file.subarray(0, at);
  }

  /** Empty again, with the memory that it has. */
  clear(): void {
    this.#backupCount = 0;
    this.#count = 0;
  }

  /** Where each record begins: by keys, and of one key that of the newest backup first. */
  #sorted(): Uint32Array {
    if (this.#starts.length < this.#count) this.#starts = new Uint32Array(this.#count * 2);
    const starts = this.#starts.subarray(0, this.#count);
    for (let index = 0; index < starts.length; index++) starts[index] = index * RECORD_BYTES;
    const holderAt = (start: number) => this.#records.readUInt32BE(start + KEY_BYTES);
    return starts.sort((one, other) => this.#compareKeys(one, other) || holderAt(other) - holderAt(one));
  }

  #compareKeys(one: number, other: number): number {
    const records = this.#records;
    return (
      records.readUInt32BE(one) - records.readUInt32BE(other) ||
      records.readUInt32BE(one + 4) - records.readUInt32BE(other + 4)
    );
  }
}

function withRoom(bytes: Buffer, wanted: number): Buffer {
  if (bytes.length >= wanted) return bytes;
  const larger = Buffer.alloc(Math.max(wanted, bytes.length * 2));
  bytes.copy(larger);
  return larger;
}
