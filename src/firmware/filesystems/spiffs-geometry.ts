/**
 * Which pages and blocks a SPIFFS partition has. Nothing on the flash says so; firmware is built for one geometry. The
 * magic of each block tells, and without magics the lookup tables, which fit the pages in one geometry only.
 *
 * https://github.com/pellepl/spiffs/blob/0b2e1290110b7bcc4e56c7141b6ca49f830a5fcf/src/spiffs_nucleus.h is the source of
 * every number here.
 */

import { SpiffsPages, lookupPages, pageSays } from './spiffs-pages.ts';

export interface SpiffsGeometry {
  readonly pageBytes: number;
  readonly blockBytes: number;
  /** Of the file system, as far as the partition has them. */
  readonly blockCount: number;
}

/** A geometry, and what is wrong with the blocks. */
export interface FoundGeometry extends SpiffsGeometry {
  /** How many blocks the magics say that there are; equal to {@link blockCount} where they say nothing. */
  readonly statedBlockCount: number;
  /** Blocks whose magic is missing; empty where the file system has no magics. */
  readonly withoutMagic: readonly number[];
}

/** 256 is what ESP-IDF, both Arduino cores and NodeMCU use. */
const PAGE_BYTES = [256, 512, 1024, 2048];
/** 4096 of ESP-IDF and small ESP8266 file systems, 8192 of larger ones, the others of NodeMCU and own configurations. */
const BLOCK_BYTES = [4096, 8192, 16_384, 32_768, 65_536];
/** SPIFFS_MAGIC: the lower half of this, XOR the page size, XOR what is left of the blocks if SPIFFS_USE_MAGIC_LENGTH. */
const MAGIC = 0x0529;
/** spiffs_page_ix has 16 bits. */
const MAX_PAGES = 0x10000;
/** One magic of 16 bits proves little. SPIFFS itself asks for the magics of all blocks but one. */
const MIN_MAGICS = 2;
/** A file system with more than a quarter of its magics lost is another one, or none. */
const MIN_MAGIC_SHARE = 0.75;
/** How many contradictions between lookup tables and pages are forgiven, of all pages in use; one always (power loss). */
const MAX_CONTRADICTIONS = 1 / 8;

/** The geometry that fits the partition; undefined if none does. */
export function findSpiffsGeometry(partition: Buffer): FoundGeometry | undefined {
  let best: { found: FoundGeometry; magics: number } | undefined;
  for (const { pageBytes, blockBytes, total } of geometries(partition)) {
    for (const found of [
      withLengthMagic(partition, pageBytes, blockBytes, total),
      withPlainMagic(partition, pageBytes, blockBytes, total),
    ]) {
      if (found === undefined) continue;
      const magics = found.blockCount - found.withoutMagic.length;
      if (magics < MIN_MAGICS || magics < found.blockCount * MIN_MAGIC_SHARE) continue;
      // Blocks of twice the size find every second magic: the most magics are right, and of equals the smaller blocks.
      if (best === undefined || magics > best.magics) best = { found, magics };
    }
  }
  return best?.found ?? withoutMagics(partition);
}

function* geometries(partition: Buffer): Generator<{ pageBytes: number; blockBytes: number; total: number }> {
  for (const blockBytes of BLOCK_BYTES) {
    for (const pageBytes of PAGE_BYTES) {
      const pagesPerBlock = blockBytes / pageBytes;
      const total = Math.min(Math.floor(partition.length / blockBytes), Math.floor(MAX_PAGES / pagesPerBlock));
      // "page_size must be block_size / (2^y) where y > 2"
      if (pagesPerBlock >= 8 && total >= 1) yield { pageBytes, blockBytes, total };
    }
  }
}

/** The last but one entry of the last lookup page of a block (SPIFFS_MAGIC_PADDR). */
function magicOf(partition: Buffer, pageBytes: number, blockBytes: number, block: number): number {
  return partition.readUInt16LE(block * blockBytes + lookupPages(pageBytes, blockBytes) * pageBytes - 4);
}

/** Magics that count the blocks down: they tell the size of the file system too. */
function withLengthMagic(
  partition: Buffer,
  pageBytes: number,
  blockBytes: number,
  total: number,
): FoundGeometry | undefined {
  const votes = new Map<number, number>();
  const countAt = (block: number) =>
    ((magicOf(partition, pageBytes, blockBytes, block) ^ MAGIC ^ pageBytes) + block) & 0xffff;
  for (let block = 0; block < total; block++) {
    const count = countAt(block);
    if (count > block) votes.set(count, (votes.get(count) ?? 0) + 1);
  }
  const [stated] = [...votes].sort((one, other) => other[1] - one[1])[0] ?? [];
  if (stated === undefined) return undefined;
  const blockCount = Math.min(stated, total);
  const withoutMagic = range(blockCount).filter((block) => countAt(block) !== stated);
  return { pageBytes, blockBytes, blockCount, statedBlockCount: stated, withoutMagic };
}

/** Magics that are all the same; the file system ends at the last one. */
function withPlainMagic(
  partition: Buffer,
  pageBytes: number,
  blockBytes: number,
  total: number,
): FoundGeometry | undefined {
  const has = (block: number) => magicOf(partition, pageBytes, blockBytes, block) === (MAGIC ^ pageBytes);
  let blockCount = total;
  while (blockCount > 0 && !has(blockCount - 1)) blockCount--;
  if (blockCount === 0) return undefined;
  const withoutMagic = range(blockCount).filter((block) => !has(block));
  return { pageBytes, blockBytes, blockCount, statedBlockCount: blockCount, withoutMagic };
}

/** SPIFFS_USE_MAGIC off: the geometry in which the most pages are what their lookup table says, and hardly one is not. */
function withoutMagics(partition: Buffer): FoundGeometry | undefined {
  let best: { found: FoundGeometry; agreeing: number } | undefined;
  for (const { pageBytes, blockBytes, total } of geometries(partition)) {
    const pages = new SpiffsPages(partition, { pageBytes, blockBytes, blockCount: total });
    let agreeing = 0;
    let contradicting = 0;
    let files = 0;
    for (const page of pages.all()) {
      if (contradicting > 1 + pages.count * MAX_CONTRADICTIONS) break;
      const says = pageSays(page);
      if (says === 'contradiction') contradicting++;
      else if (says === 'free') {
        if (!pages.isBlank(page.index)) contradicting++;
      } else if (says !== 'nothing') {
        agreeing++;
        if (says === 'index' && page.span === 0 && pages.hasPlausibleName(page.index)) files++;
      }
    }
    if (files === 0 || contradicting > 1 + agreeing * MAX_CONTRADICTIONS) continue;
    if (best !== undefined && agreeing <= best.agreeing) continue;
    const found = { pageBytes, blockBytes, blockCount: total, statedBlockCount: total, withoutMagic: [] };
    best = { found, agreeing };
  }
  return best?.found;
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}
