/**
 * Objects that only the fleet can read: FORMAT.md, Encrypted objects. AES-256-GCM in chunks, so that parts can be read
 * alone, under a key of its own for each object. The same content under the same name gives the same bytes, so that an
 * upload that broke off goes on. Pure.
 */

import { createCipheriv, createDecipheriv, createHash, createHmac, hkdfSync } from 'node:crypto';
import { EspdError } from '../errors.ts';
import { StoredDamage } from './damage.ts';

export const KEY_BYTES = 32;
export const CHUNK_BYTES = 64 * 1024;
export const HEADER_BYTES = 48;
const TAG_BYTES = 16;
const SALT_BYTES = 16;
const MAGIC = Buffer.from('ESPDENC1');

export interface FleetKey {
  /** 16 hex digits that tell keys apart, and nothing of the key. */
  readonly id: string;
  readonly bytes: Buffer;
}

export function makeKey(bytes: Buffer): FleetKey {
  if (bytes.length !== KEY_BYTES) throw new RangeError(`a key has ${KEY_BYTES} bytes`);
  const id = createHash('sha256').update('espd key id 1\0').update(bytes).digest('hex').slice(0, 16);
  return { id, bytes };
}

/** Which key an object was encrypted with, by its header. */
export function keyIdOf(header: Uint8Array): string {
  return Buffer.from(header).toString('hex', 8, 16);
}

/** Of what the object holds: its length is never a secret. */
export function encryptedSize(sizeBytes: number): number {
  return HEADER_BYTES + sizeBytes + chunkCount(sizeBytes) * TAG_BYTES;
}

function chunkCount(sizeBytes: number): number {
  return Math.max(1, Math.ceil(sizeBytes / CHUNK_BYTES));
}

export interface Plain {
  /** {@link boundName}. */
  readonly name: string;
  readonly sizeBytes: number;
  /** Lower-case hex, of the content. */
  readonly sha256: string;
}

/**
 * The object, in pieces of a chunk. `source` must give exactly the content that `plain` speaks of: other content under the
 * same digest would be encrypted with the same stream, so nothing of it may be sent before it was hashed.
 */
export async function* encrypt(
  key: FleetKey,
  plain: Plain,
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<Buffer, void, undefined> {
  const header = headerOf(key, plain);
  const aad = aadOf(header, plain.name);
  const objectKey = objectKeyOf(key, header);
  yield header;
  let index = 0;
  const seal = (chunk: Uint8Array) => {
    const cipher = createCipheriv('aes-256-gcm', objectKey, nonceOf(index++));
    cipher.setAAD(aad);
    return Buffer.concat([cipher.update(chunk), cipher.final(), cipher.getAuthTag()]);
  };
  let left: Buffer = Buffer.alloc(0);
  for await (const piece of source) {
    left = left.length === 0 ? Buffer.from(piece.buffer, piece.byteOffset, piece.length) : Buffer.concat([left, piece]);
    let at = 0;
    for (; left.length - at >= CHUNK_BYTES; at += CHUNK_BYTES) yield seal(left.subarray(at, at + CHUNK_BYTES));
    left = left.subarray(at);
  }
  if (left.length > 0 || index === 0) yield seal(left);
}

/** An object that is being read. */
export interface Opened {
  readonly sizeBytes: number;
  /** Where the chunks lie that hold these bytes of the content. */
  locate(offset: number, length: number): { readonly offset: number; readonly length: number; readonly first: number };
  /** Content of whole chunks, from chunk `first`. @throws EspdError `store-damaged` */
  decrypt(first: number, chunks: Uint8Array): Buffer;
}

/**
 * @param header the first {@link HEADER_BYTES} of the object
 * @throws EspdError `store-key` for the object of a key that is not among `keys`; `store-damaged`
 */
export function openEncrypted(keys: readonly FleetKey[], name: string, header: Uint8Array): Opened {
  const bytes = Buffer.from(header);
  if (bytes.length !== HEADER_BYTES || !bytes.subarray(0, MAGIC.length).equals(MAGIC)) {
    throw damaged(name, 'it does not begin as an encrypted object');
  }
  const id = keyIdOf(bytes);
  const key = keys.find((each) => each.id === id);
  if (key === undefined) {
    throw new EspdError('store-key', `${name} is encrypted with the key ${id}, which is not in the key file`, {
      hint: 'Keep the keys of before in the key file, behind the new one',
    });
  }
  const sizeBytes = Number(bytes.readBigUInt64BE(36));
  if (bytes.readUInt32BE(32) !== CHUNK_BYTES || bytes.readUInt32BE(44) !== 0 || !Number.isSafeInteger(sizeBytes)) {
    throw damaged(name, 'its header is not one that espd writes');
  }
  const aad = aadOf(bytes, name);
  const objectKey = objectKeyOf(key, bytes);
  const count = chunkCount(sizeBytes);
  return {
    sizeBytes,
    locate(offset, length) {
      const first = Math.floor(offset / CHUNK_BYTES);
      const end = Math.min(count, Math.max(first + 1, Math.ceil((offset + length) / CHUNK_BYTES)));
      const start = HEADER_BYTES + first * (CHUNK_BYTES + TAG_BYTES);
      const stop = end === count ? encryptedSize(sizeBytes) : HEADER_BYTES + end * (CHUNK_BYTES + TAG_BYTES);
      return { offset: start, length: stop - start, first };
    },
    decrypt(first, chunks) {
      const out: Buffer[] = [];
      for (let at = 0, index = first; at < chunks.length; index++) {
        const plainBytes = index === count - 1 ? sizeBytes - index * CHUNK_BYTES : CHUNK_BYTES;
        const chunk = chunks.subarray(at, at + plainBytes + TAG_BYTES);
        if (index >= count || chunk.length !== plainBytes + TAG_BYTES) throw damaged(name, 'it is cut off');
        const decipher = createDecipheriv('aes-256-gcm', objectKey, nonceOf(index));
        decipher.setAAD(aad);
        decipher.setAuthTag(chunk.subarray(plainBytes));
        try {
          out.push(decipher.update(chunk.subarray(0, plainBytes)), decipher.final());
        } catch (error) {
          throw damaged(name, 'it was changed, or belongs elsewhere', error);
        }
        at += chunk.length;
      }
      return Buffer.concat(out);
    },
  };
}

/** The content of an object that is there as a whole. */
export function decryptWhole(keys: readonly FleetKey[], name: string, object: Uint8Array): Buffer {
  const opened = openEncrypted(keys, name, object.subarray(0, HEADER_BYTES));
  if (object.length !== encryptedSize(opened.sizeBytes)) throw damaged(name, 'it has another length than it says');
  return opened.decrypt(0, object.subarray(HEADER_BYTES));
}

/**
 * 8 bytes `ESPDENC1`, 8 the key's id, 16 the salt, 4 the chunk's length, 8 the content's length, 4 zero; big endian.
 * The salt is a digest under the key of name and content.
 */
function headerOf(key: FleetKey, { name, sizeBytes, sha256 }: Plain): Buffer {
  const salt = createHmac('sha256', key.bytes).update(`espd salt 1\0${name}\0${sha256}`).digest();
  const header = Buffer.alloc(HEADER_BYTES);
  MAGIC.copy(header, 0);
  header.write(key.id, 8, 'hex');
  salt.copy(header, 16, 0, SALT_BYTES);
  header.writeUInt32BE(CHUNK_BYTES, 32);
  header.writeBigUInt64BE(BigInt(sizeBytes), 36);
  return header;
}

function objectKeyOf(key: FleetKey, header: Buffer): Buffer {
  return Buffer.from(hkdfSync('sha256', key.bytes, header.subarray(16, 32), 'espd object 1', KEY_BYTES));
}

/** No chunk can be put in the place of another, nor an object in that of another. */
function aadOf(header: Buffer, name: string): Buffer {
  return Buffer.concat([header, Buffer.from(name)]);
}

function nonceOf(index: number): Buffer {
  const nonce = Buffer.alloc(12);
  nonce.writeUInt32BE(index, 8);
  return nonce;
}

function damaged(name: string, problem: string, cause?: unknown): EspdError {
  return new StoredDamage(name, problem, {
    hint: 'It is not used. Another backup of the board, or another copy of the bucket, may be sound',
    cause,
  });
}
