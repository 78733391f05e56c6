/** Images of the archive that a board's flash may equal in parts. */

import { join } from 'node:path';
import type { Logger } from '../log.ts';
import { macToFolder } from '../mac.ts';
import type { Mac } from '../mac.ts';
import { MD5_BYTES, blockCount } from './block-file.ts';
import type { NewestBackup } from './block-file.ts';
import { BLOCK_BYTES } from './digest.ts';
import { isWithin } from './image.ts';
import type { Backup, Candidate, Candidates, ImageReader } from './types.ts';

/** An image that was compressed takes room on the disk while it is open, so there are not many at a time. */
const MAX_OPEN = 4;

export interface CandidateParts {
  readonly root: string;
  readonly log: Logger;
  readonly openImage: (path: string, sizeBytes: number, mac: Mac) => Promise<ImageReader>;
}

/**
 * @param own backups of the board, oldest first
 * @param fleet newest backup of every board; that of `mac` itself is left out
 */
export function makeCandidates(
  parts: CandidateParts,
  mac: Mac,
  own: readonly Backup[],
  fleet: ReadonlyMap<Mac, NewestBackup>,
): Candidates {
  const shelf = new Shelf(parts);
  const list: Candidate[] = own.toReversed().map(({ id, manifest }, index) => {
    const { sizeBytes, file } = manifest.image;
    const digests = () => manifest.blocks.md5.join('');
    return new StoredCandidate(shelf, { kind: index === 0 ? 'newest' : 'older', mac, id, sizeBytes, file, digests });
  });
  const others = [...fleet].filter(([other]) => other !== mac);
  others.sort(([macA, a], [macB, b]) => compare(b.id, a.id) || compare(macA, macB));
  for (const [other, { id, sizeBytes, file, md5s }] of others) {
    const digests = () => md5s.toString('hex');
    list.push(new StoredCandidate(shelf, { kind: 'fleet', mac: other, id, sizeBytes, file, digests }));
  }
  return { list, close: () => shelf.close() };
}

/**
 * Of `list` those that may differ in blocks `first` to `first + count - 1`: of several with the same digests there the
 * first one. Who tries candidates one by one so reads no bytes twice. One that ends before, or within, is left out; one
 * without digests stays.
 */
export function distinctCandidates(list: readonly Candidate[], first: number, count: number): readonly Candidate[] {
  const seen = new Set<string>();
  return list.filter((candidate) => {
    if (candidate.sizeBytes <= (first + count - 1) * BLOCK_BYTES) return false;
    let key = '';
    for (let index = first; index < first + count; index++) {
      const md5 = candidate.blockMd5(index);
      if (md5 === undefined) return true;
      key += md5;
    }
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
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
  /** All digests, one after the other, in hex: asked for once. */
  digests(): string;
}

class StoredCandidate implements Candidate {
  readonly kind: Facts['kind'];
  readonly mac: Mac;
  readonly id: string;
  readonly sizeBytes: number;
  readonly file: string;
  readonly #shelf: Shelf;
  readonly #facts: Facts;
  #hex: string | undefined;

  constructor(shelf: Shelf, facts: Facts) {
    this.kind = facts.kind;
    this.mac = facts.mac;
    this.id = facts.id;
    this.sizeBytes = facts.sizeBytes;
    this.file = facts.file;
    this.#shelf = shelf;
    this.#facts = facts;
  }

  blockMd5(index: number): string | undefined {
    if (!Number.isInteger(index) || index < 0 || index >= blockCount(this.sizeBytes)) return undefined;
    this.#hex ??= this.#facts.digests();
    return this.#hex.slice(index * MD5_BYTES * 2, (index + 1) * MD5_BYTES * 2);
  }

  async read(offset: number, length: number): Promise<Buffer | undefined> {
    return isWithin(offset, length, this.sizeBytes) ? this.#shelf.read(this, offset, length) : undefined;
  }
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

  constructor(parts: CandidateParts) {
    this.#parts = parts;
  }

  async read(candidate: StoredCandidate, offset: number, length: number): Promise<Buffer | undefined> {
    if (this.#maxOpen === 0 || this.#unreadable.has(candidate)) return undefined;
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
      if (this.#open.size <= this.#maxOpen && !this.#unreadable.has(candidate)) continue;
      if (users > 0) continue;
      this.#open.delete(candidate);
      await reader.then((image) => image.close()).catch(() => undefined);
    }
  }
}
