/** One object of a backup in a bucket, read by ranges: as it is, or decrypted. What comes is what was asked for, or an error. */

import { createHash } from 'node:crypto';
import type { EspdError } from '../errors.ts';
import { addTo } from '../store/digests.ts';
import { MAX_PIECE_BYTES, type ObjectStore } from '../store/types.ts';
import { CHUNK_BYTES, type FleetKey, HEADER_BYTES, type Opened, encryptedSize, openEncrypted } from './encryption.ts';
import { StoredDamage } from './damage.ts';

/** At most so much is asked for at once, of content: with its tags and header it is still less than a store's piece. */
const PIECE_BYTES = MAX_PIECE_BYTES / 2;

export interface ReadableStore {
  readonly store: ObjectStore;
  /** All that objects may be encrypted with; empty: nothing is. */
  readonly keys: readonly FleetKey[];
}

export interface ObjectName {
  readonly key: string;
  /** What the encryption binds it to; null: it is not encrypted. */
  readonly bound: string | null;
}

export interface StoredObject {
  /** Of its content. */
  readonly sizeBytes: number;
  /** Content; a long range by several requests. @throws EspdError `store-...` */
  read(offset: number, length: number, signal?: AbortSignal): Promise<Buffer>;
  /**
   * All of it in order.
   * @returns the SHA-256 of the object as it is stored, in hex: only who compares it knows that the content is whole
   */
  readAll(take: (content: Buffer) => Promise<void> | void, signal?: AbortSignal): Promise<string>;
}

/** @throws EspdError `store-damaged` where it is missing, `store-key`, or as the store does */
export async function openObject(
  { store, keys }: ReadableStore,
  { key, bound }: ObjectName,
  signal?: AbortSignal,
): Promise<StoredObject> {
  if (bound === null) {
    const facts = await store.head(key, { signal });
    if (facts === undefined) throw damaged(key, 'it is missing');
    return new PlainObject(store, key, facts.sizeBytes);
  }
  const first = await store.get(key, { range: { offset: 0, length: HEADER_BYTES }, signal });
  if (first === undefined) throw damaged(key, 'it is missing');
  const opened = openEncrypted(keys, bound, first.bytes);
  if (first.sizeBytes !== encryptedSize(opened.sizeBytes)) throw damaged(key, 'it has another length than it says');
  return new EncryptedObject(store, key, first.bytes, opened);
}

class PlainObject implements StoredObject {
  readonly sizeBytes: number;
  readonly #store: ObjectStore;
  readonly #key: string;

  constructor(store: ObjectStore, key: string, sizeBytes: number) {
    this.#store = store;
    this.#key = key;
    this.sizeBytes = sizeBytes;
  }

  async read(offset: number, length: number, signal?: AbortSignal): Promise<Buffer> {
    const pieces: Buffer[] = [];
    for (const range of piecesOf(offset, length)) {
      pieces.push(await rangeOf(this.#store, this.#key, range, this.sizeBytes, signal));
    }
    return together(pieces);
  }

  async readAll(take: (content: Buffer) => Promise<void> | void, signal?: AbortSignal): Promise<string> {
    const hash = createHash('sha256');
    for (const range of piecesOf(0, this.sizeBytes)) {
      const bytes = await rangeOf(this.#store, this.#key, range, this.sizeBytes, signal);
      await addTo(hash, bytes);
      await take(bytes);
    }
    return hash.digest('hex');
  }
}

class EncryptedObject implements StoredObject {
  readonly sizeBytes: number;
  readonly #store: ObjectStore;
  readonly #key: string;
  readonly #header: Buffer;
  readonly #opened: Opened;

  constructor(store: ObjectStore, key: string, header: Buffer, opened: Opened) {
    this.#store = store;
    this.#key = key;
    this.#header = header;
    this.#opened = opened;
    this.sizeBytes = opened.sizeBytes;
  }

  async read(offset: number, length: number, signal?: AbortSignal): Promise<Buffer> {
    const pieces: Buffer[] = [];
    for (const range of piecesOf(offset, length)) pieces.push((await this.#chunks(range, signal)).content);
    const skipped = offset - Math.floor(offset / CHUNK_BYTES) * CHUNK_BYTES;
    return together(pieces).subarray(skipped, skipped + length);
  }

  async readAll(take: (content: Buffer) => Promise<void> | void, signal?: AbortSignal): Promise<string> {
    const hash = createHash('sha256').update(this.#header);
    // Nothing at all is a chunk as well.
    const ranges = this.sizeBytes === 0 ? [{ offset: 0, length: 0 }] : piecesOf(0, this.sizeBytes);
    for (const range of ranges) {
      const { stored, content } = await this.#chunks(range, signal);
      await addTo(hash, stored);
      await take(content);
    }
    return hash.digest('hex');
  }

  /** Of whole chunks: the content begins with the chunk that holds `offset`. */
  async #chunks({ offset, length }: Range, signal?: AbortSignal): Promise<{ stored: Buffer; content: Buffer }> {
    const { first, ...range } = this.#opened.locate(offset, length);
    const stored = await rangeOf(this.#store, this.#key, range, encryptedSize(this.sizeBytes), signal);
    return { stored, content: this.#opened.decrypt(first, stored) };
  }
}

interface Range {
  readonly offset: number;
  readonly length: number;
}

/** Each but the first begins at a multiple of {@link PIECE_BYTES}, and so with a chunk. */
function piecesOf(offset: number, length: number): Range[] {
  const pieces: Range[] = [];
  for (let at = offset; at < offset + length;) {
    const end = Math.min(offset + length, (Math.floor(at / PIECE_BYTES) + 1) * PIECE_BYTES);
    pieces.push({ offset: at, length: end - at });
    at = end;
  }
  return pieces;
}

async function rangeOf(
  store: ObjectStore,
  key: string,
  range: Range,
  sizeBytes: number,
  signal: AbortSignal | undefined,
): Promise<Buffer> {
  const found = await store.get(key, { range, signal });
  if (found === undefined) throw damaged(key, 'it is missing');
  if (found.sizeBytes !== sizeBytes || found.bytes.length !== range.length) {
    throw damaged(key, `it has ${found.sizeBytes} bytes where ${sizeBytes} belong`);
  }
  return found.bytes;
}

function together(pieces: readonly Buffer[]): Buffer {
  const [first] = pieces;
  return pieces.length === 1 && first !== undefined ? first : Buffer.concat(pieces);
}

function damaged(key: string, problem: string): EspdError {
  return new StoredDamage(key, problem, {
    hint: 'It is not used. Another backup of the board, or another copy of the bucket, may be sound',
  });
}
