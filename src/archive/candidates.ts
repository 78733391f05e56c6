/** Images of the archive that a board's flash may equal in parts. */

import { join } from 'node:path';
import { BLOCK_BYTES } from '../flash.ts';
import type { Logger } from '../log.ts';
import { macToFolder } from '../mac.ts';
import type { Mac } from '../mac.ts';
import { MD5_BYTES, blockCount } from './block-file.ts';
import type { NewestBackup } from './block-file.ts';
import { PLAIN_IMAGE, isWithin } from './image.ts';
import type { Backup, Candidate, Candidates, ImageReader } from './types.ts';

/** Open files of images that are stored as they are. */
const MAX_OPEN = 6;
/**
 * Compressed images that are ever opened for one list. Each is inflated as a whole, takes its room on the disk until the
 * end, and costs a second on a small computer: opened again and again, they would take longer than reading the flash.
 */
const MAX_INFLATED = 4;

export interface CandidateParts {
  readonly root: string;
  readonly log: Logger;
  readonly openImage: (path: string, sizeBytes: number, mac: Mac) => Promise<ImageReader>;
  /** Once it is aborted, nothing can be read any more. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * @param own backups of the board, newest first
 * @param fleet newest backup of every board; that of `mac` itself is left out
 */
export function makeCandidates(
  parts: CandidateParts,
  mac: Mac,
  own: readonly Backup[],
  fleet: ReadonlyMap<Mac, NewestBackup>,
): Candidates {
  const shelf = new Shelf(parts);
  const list: Candidate[] = own.map(({ id, manifest }, index) => {
    const { sizeBytes, file } = manifest.image;
    const digests = () => Buffer.from(manifest.blocks.md5.join(''), 'hex');
    return new StoredCandidate(shelf, { kind: index === 0 ? 'newest' : 'older', mac, id, sizeBytes, file, digests });
  });
  const others = [...fleet].filter(([other]) => other !== mac);
  others.sort(([macA, a], [macB, b]) => compare(b.id, a.id) || compare(macA, macB));
  for (const [other, { id, sizeBytes, file, md5s }] of others) {
    const digests = () => md5s;
    list.push(new StoredCandidate(shelf, { kind: 'fleet', mac: other, id, sizeBytes, file, digests }));
  }
  return { list, close: () => shelf.close() };
}

/**
 * Of `list` those that may differ in blocks `first` to `first + count - 1`: of several with the same digests there the
 * first one. Who tries candidates one by one so reads no bytes twice. One that ends before, or within, is left out; one
 * without digests stays. At most `limit`, the first ones.
 */
export function distinctCandidates(
  list: readonly Candidate[],
  first: number,
  count: number,
  limit = Infinity,
): readonly Candidate[] {
  const seen = new Set<string>();
  const distinct: Candidate[] = [];
  for (const candidate of list) {
    if (distinct.length >= limit) break;
    if (candidate.sizeBytes <= (first + count - 1) * BLOCK_BYTES) continue;
    const md5s = candidate.blockMd5(first, count);
    if (md5s !== undefined && seen.has(md5s)) continue;
    if (md5s !== undefined) seen.add(md5s);
    distinct.push(candidate);
  }
  return distinct;
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

interface Facts {
  readonly kind: 'newest' | 'older' | 'fleet';
  readonly mac: Mac;
  readonly id: string;
  readonly sizeBytes: number;
  readonly file: string;
  /** All digests, one after the other: asked for once. */
  digests(): Buffer;
}

class StoredCandidate implements Candidate {
  readonly kind: Facts['kind'];
  readonly mac: Mac;
  readonly id: string;
  readonly sizeBytes: number;
  readonly file: string;
  readonly #shelf: Shelf;
  readonly #facts: Facts;
  #md5s: Buffer | undefined;

  constructor(shelf: Shelf, facts: Facts) {
    this.kind = facts.kind;
    this.mac = facts.mac;
    this.id = facts.id;
    this.sizeBytes = facts.sizeBytes;
    this.file = facts.file;
    this.#shelf = shelf;
    this.#facts = facts;
  }

  blockMd5(index: number, count = 1): string | undefined {
    if (!isWithin(index, count, blockCount(this.sizeBytes)) || count === 0) return undefined;
    // As text only now: a thousand images of 16 MiB would be 8 MB of it, for each board at work.
    this.#md5s ??= this.#facts.digests();
    return this.#md5s.toString('hex', index * MD5_BYTES, (index + count) * MD5_BYTES);
  }

  async read(offset: number, length: number): Promise<Buffer | undefined> {
    return isWithin(offset, length, this.sizeBytes) ? this.#shelf.read(this, offset, length) : undefined;
  }
}

function isCompressed({ file }: StoredCandidate): boolean {
  return file !== PLAIN_IMAGE;
}

interface Opened {
  readonly reader: Promise<ImageReader>;
  users: number;
}

/** The open images, the one used last at the end. */
class Shelf {
  readonly #parts: CandidateParts;
  readonly #open = new Map<StoredCandidate, Opened>();
  readonly #unreadable = new Set<StoredCandidate>();
  #maxOpen = MAX_OPEN;
  #inflated = 0;

  constructor(parts: CandidateParts) {
    this.#parts = parts;
  }

  async read(candidate: StoredCandidate, offset: number, length: number): Promise<Buffer | undefined> {
    if (this.#maxOpen === 0 || this.#unreadable.has(candidate) || this.#parts.signal?.aborted) return undefined;
    if (isCompressed(candidate) && !this.#open.has(candidate) && this.#inflated++ >= MAX_INFLATED) return undefined;
    const opened = this.#open.get(candidate) ?? { reader: this.#openImage(candidate), users: 0 };
    this.#open.delete(candidate);
    this.#open.set(candidate, opened);
    opened.users++;
    try {
      return await (await opened.reader).read(offset, length);
    } catch (error) {
      this.#giveUp(candidate, error);
      return undefined;
    } finally {
      opened.users--;
      await this.#closeSome();
    }
  }

  async close(): Promise<void> {
    this.#maxOpen = 0;
    await this.#closeSome();
  }

  #openImage({ mac, id, file, sizeBytes }: StoredCandidate): Promise<ImageReader> {
    const { root, openImage } = this.#parts;
    return openImage(join(root, macToFolder(mac), id, file), sizeBytes, mac);
  }

  #giveUp(candidate: StoredCandidate, error: unknown): void {
    if (this.#maxOpen === 0 || this.#unreadable.has(candidate)) return; // that it was closed is no news
    this.#unreadable.add(candidate);
    const { kind, mac, id } = candidate;
    const facts = { mac, id, error: String(error) };
    // Of another board's backup `verify` tells; here nobody asked for it.
    if (kind === 'fleet') this.#parts.log.debug('a backup of another board cannot be read', facts);
    else this.#parts.log.warn('an earlier backup cannot be read', facts);
  }

  /** Closes what nobody is reading from, the one used longest ago first, until no more are open than may be. */
  async #closeSome(): Promise<void> {
    for (const [candidate, { reader, users }] of this.#open) {
      const mayStay = this.#open.size <= this.#maxOpen || (isCompressed(candidate) && this.#maxOpen > 0);
      if (mayStay && !this.#unreadable.has(candidate)) continue;
      if (users > 0) continue;
      this.#open.delete(candidate);
      await reader.then((image) => image.close()).catch(() => undefined);
    }
  }
}
