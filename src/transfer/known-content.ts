/**
 * What a board's flash may hold that need not be read: blank flash, and what some image of the archive has at the same
 * place. A digest of the chip decides; the bytes are hashed here before they are taken.
 */

import { BLOCK_BYTES, type Region, SECTOR_BYTES } from '../flash.ts';
import { distinctCandidates } from '../archive/candidates.ts';
import type { Candidate } from '../archive/types.ts';
import type { Evidence } from './digest-plan.ts';
import { BLANK, UNIFORM_BYTES, ZERO, uniformDigest } from '../archive/uniform.ts';
import { md5Of, md5OfRegion } from './digests.ts';

/** What explains a region without reading it. */
export const EXPLANATIONS = ['blank', 'zero', 'sameAsBackup', 'olderBackup', 'leftover', 'fleet'] as const;
export type Explanation = (typeof EXPLANATIONS)[number];

const BY_KIND = {
  leftover: 'leftover',
  newest: 'sameAsBackup',
  older: 'olderBackup',
  fleet: 'fleet',
} as const satisfies Record<Candidate['kind'], Explanation>;

/** Where the bytes of an explained region go, in pieces, in order. */
export type RegionSink = (offset: number, bytes: Buffer) => Promise<void>;

/** Images that are hashed for a region which is no single block: the likeliest, since each costs a read of the disk. */
const MAX_IMAGES = 6;
/** Read, hashed and written at a time: larger pieces are no faster, and each is memory until the next collection. */
const PIECE_BYTES = 64 * 1024;
const UNIFORM_PIECES = { [BLANK]: Buffer.alloc(PIECE_BYTES, BLANK), [ZERO]: Buffer.alloc(PIECE_BYTES, ZERO) } as const;

export class KnownContent {
  readonly #candidates: readonly Candidate[];
  /** Whether an interrupted read got as far as a block; what it did not reach is zeros. */
  readonly #leftoverBlocks = new Map<number, boolean>();
  /** How far the largest image of each kind reaches. */
  readonly #reach: Readonly<Record<'own' | 'fleet', number>>;

  /** @param candidates the likeliest first */
  constructor(candidates: readonly Candidate[]) {
    this.#candidates = candidates;
    const reach = { own: 0, fleet: 0 };
    for (const { kind, sizeBytes } of candidates) {
      if (kind === 'leftover') continue;
      const whose = kind === 'fleet' ? 'fleet' : 'own';
      reach[whose] = Math.max(reach[whose], sizeBytes);
    }
    this.#reach = reach;
  }

  /** Looks where an interrupted read has got to; to be called once, before {@link evidence} is asked. */
  async prepare(sizeBytes: number): Promise<void> {
    const leftover = this.#candidates.find(({ kind }) => kind === 'leftover');
    if (leftover === undefined) return;
    for (let offset = 0; offset < sizeBytes; offset += BLOCK_BYTES) {
      const bytes = await leftover.read(offset, Math.min(BLOCK_BYTES, sizeBytes - offset));
      this.#leftoverBlocks.set(offset / BLOCK_BYTES, bytes?.some((byte) => byte !== ZERO) ?? false);
    }
  }

  evidence(block: number): Evidence {
    const offset = block * BLOCK_BYTES;
    if (offset < this.#reach.own || this.#leftoverBlocks.get(block) === true) return 'own';
    return offset < this.#reach.fleet ? 'fleet' : 'none';
  }

  /**
   * Where a region with this digest is known, its bytes go to `sink`.
   * @param digest of the chip, lower-case hex
   * @returns null = not known, and nothing has gone to the sink that later bytes do not replace
   */
  async explain(region: Region, digest: string, sink: RegionSink): Promise<Explanation | null> {
    for (const [byte, by] of [
      [BLANK, 'blank'],
      [ZERO, 'zero'],
    ] as const) {
      if (digest !== uniformDigest(byte, region.sizeBytes)) continue;
      await fill(region, byte, sink);
      return by;
    }
    for (const candidate of this.#holders(region, digest)) {
      if (await copyProven(candidate, region, digest, sink)) return BY_KIND[candidate.kind];
    }
    return null;
  }

  /**
   * The same of the sectors of a block, by the first bytes of their digests.
   * @param offset of the first one, a multiple of 64 KiB
   * @param digests of each, lower-case hex, cut to some length
   * @returns for each what it is known to be; the bytes of those that are known have gone to the sink
   */
  async explainSectors(offset: number, digests: readonly string[], sink: RegionSink): Promise<(Explanation | null)[]> {
    const found: (Explanation | null)[] = digests.map(() => null);
    const place = (sector: number): Region => ({ offset: offset + sector * SECTOR_BYTES, sizeBytes: SECTOR_BYTES });
    for (const [sector, digest] of digests.entries()) {
      const byte = UNIFORM_BYTES.find((each) => uniformDigest(each, SECTOR_BYTES).startsWith(digest));
      if (byte === undefined) continue;
      await fill(place(sector), byte, sink);
      found[sector] = byte === BLANK ? 'blank' : 'zero';
    }
    const block = offset / BLOCK_BYTES;
    const reaching = this.#candidates.filter((candidate) => this.#reaches(candidate, block));
    for (const candidate of distinctCandidates(reaching, block, 1, MAX_IMAGES)) {
      if (!found.includes(null)) break;
      const sizeBytes = Math.min(digests.length * SECTOR_BYTES, candidate.sizeBytes - offset);
      const bytes = await candidate.read(offset, sizeBytes);
      if (bytes === undefined) continue;
      for (const [sector, digest] of digests.entries()) {
        const part = bytes.subarray(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES);
        if (found[sector] !== null || part.length < SECTOR_BYTES || !md5Of(part).startsWith(digest)) continue;
        await sink(place(sector).offset, part);
        found[sector] = BY_KIND[candidate.kind];
      }
    }
    return found;
  }

  /** Candidates worth hashing for a region: by their manifests where it is one block, else each content once. */
  #holders({ offset, sizeBytes }: Region, digest: string): readonly Candidate[] {
    const first = Math.floor(offset / BLOCK_BYTES);
    const end = Math.ceil((offset + sizeBytes) / BLOCK_BYTES);
    const reaching = this.#candidates.filter(
      (candidate) => this.#reaches(candidate, first) && this.#reaches(candidate, end - 1),
    );
    const isBlock = offset === first * BLOCK_BYTES && sizeBytes === BLOCK_BYTES;
    if (!isBlock) return distinctCandidates(reaching, first, end - first, MAX_IMAGES);
    return reaching.filter((candidate) => (candidate.blockMd5(first) ?? digest) === digest).slice(0, MAX_IMAGES);
  }

  #reaches(candidate: Candidate, block: number): boolean {
    if (block * BLOCK_BYTES >= candidate.sizeBytes) return false;
    return candidate.kind !== 'leftover' || (this.#leftoverBlocks.get(block) ?? false);
  }
}

async function fill({ offset, sizeBytes }: Region, byte: typeof BLANK | typeof ZERO, sink: RegionSink): Promise<void> {
  for (let at = 0; at < sizeBytes; at += PIECE_BYTES) {
    await sink(offset + at, UNIFORM_PIECES[byte].subarray(0, sizeBytes - at));
  }
}

/** Hashes the region first, then copies it, and trusts neither: what was copied is hashed as it goes. */
async function copyProven(
  candidate: Candidate,
  { offset, sizeBytes }: Region,
  digest: string,
  sink: RegionSink,
): Promise<boolean> {
  if (offset + sizeBytes > candidate.sizeBytes) return false;
  if (sizeBytes <= PIECE_BYTES) {
    const bytes = await candidate.read(offset, sizeBytes);
    if (bytes === undefined || md5Of(bytes) !== digest) return false;
    await sink(offset, bytes);
    return true;
  }
  const read = (at: number, length: number) => candidate.read(at, length);
  if ((await md5OfRegion(read, offset, sizeBytes)) !== digest) return false;
  const copied = await md5OfRegion(
    async (at, length) => {
      const bytes = await candidate.read(at, length);
      if (bytes !== undefined) await sink(at, bytes);
      return bytes;
    },
    offset,
    sizeBytes,
  );
  return copied === digest;
}
