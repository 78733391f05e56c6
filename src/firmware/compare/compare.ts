/**
 * Two flash images compared: to the sector, and in words that matter for the parts that espd can read. Pure but for the
 * readers handed in; never throws on content.
 */

import { BLOCK_BYTES, SECTOR_BYTES } from '../../flash.ts';
import type { FlashSource } from '../contents.ts';
import { describeFirmware } from '../describe.ts';
import { mapFlash, type FlashRegion } from '../flash-map.ts';
import { contentOf, type DescribedImage } from './content.ts';
import { compareTables, matchParts, type MatchedPart } from './parts.ts';
import { differingSectors, isBlank, sectorCount, type Pace } from './sectors.ts';
import type { ContentsComparison, FlashComparison, Pair, PartComparison } from './types.ts';

export interface ComparedImage extends FlashSource {
  /** Flash encryption is on, so that the image is ciphertext. */
  readonly encrypted: boolean;
}

export interface CompareOptions extends Pace {
  /** Whether block `index` of 64 KiB is proven to be the same in both images: then it is not read. Default: none is. */
  readonly isSameBlock?: (index: number) => boolean;
  /** Values of NVS are told, but for those whose key names a secret. Default false. */
  readonly reveal?: boolean;
}

const MAX_PROBLEMS = 20;

/**
 * @throws what a reader throws; the signal's reason
 */
export async function compareFlash(
  before: ComparedImage,
  after: ComparedImage,
  options: CompareOptions = {},
): Promise<FlashComparison> {
  const common = Math.min(before.sizeBytes, after.sizeBytes);
  const regions = await differingSectors(
    { read: before.read, offset: 0 },
    { read: after.read, offset: 0 },
    common,
    options.isSameBlock,
    options,
  );
  const equal = regions.length === 0 && before.sizeBytes === after.sizeBytes;
  const opaque = before.encrypted || after.encrypted ? 'encryption' : null;
  return {
    equal,
    sizeBytes: { before: before.sizeBytes, after: after.sizeBytes },
    sectors: { compared: Math.ceil(common / SECTOR_BYTES), differing: sectorCount(regions) },
    regions,
    opaque,
    contents: equal || opaque !== null ? null : await compareContents({ before, after }, regions, options),
  };
}

async function compareContents(
  images: Pair<ComparedImage>,
  regions: readonly FlashRegion[],
  options: CompareOptions,
): Promise<ContentsComparison> {
  const described = { before: await describe(images.before), after: await describe(images.after) };
  const summaries = { before: described.before.summary, after: described.after.summary };
  const maps = { before: mapOf(described.before), after: mapOf(described.after) };
  const parts: PartComparison[] = [];
  for (const part of matchParts(maps, regions)) {
    const compared = await comparePart(described, part, options);
    if (compared !== undefined) parts.push(compared);
  }
  const hasLoader = [...maps.before, ...maps.after].some(({ kind }) => kind === 'bootloader');
  const otherLoader = parts.some(({ kind }) => kind === 'bootloader');
  return {
    firmware: pair(summaries, ({ firmware }) => firmware),
    boots: pair(summaries, ({ activePartition }) => activePartition),
    bootloader: otherLoader ? 'changed' : hasLoader ? 'same' : 'none',
    table: compareTables(
      pair(summaries, ({ tableOffset }) => tableOffset),
      pair(summaries, ({ partitions }) => partitions),
    ),
    parts,
    problems: pair(summaries, ({ problems }) => problems.slice(0, MAX_PROBLEMS)),
  };
}

async function describe(image: ComparedImage): Promise<DescribedImage> {
  return { ...image, summary: await describeFirmware(image.read, image.sizeBytes, image.family) };
}

function mapOf({ summary, sizeBytes, family }: DescribedImage) {
  return mapFlash(summary.partitions, summary.tableOffset, { sizeBytes, family });
}

/** Undefined where nothing of it differs. */
async function comparePart(
  images: Pair<DescribedImage>,
  matched: MatchedPart,
  options: CompareOptions,
): Promise<PartComparison | undefined> {
  const { before, after } = matched.parts;
  const shown = after ?? before;
  if (shown === null) return undefined;
  const { name, kind, type, subtype } = shown;
  const isMoved = before !== null && after !== null && before.offset !== after.offset;
  if (matched.sectors === 0 && before !== null && after !== null && !isMoved) return undefined;
  const place = { before: regionOf(before), after: regionOf(after) };
  const sectors = isMoved ? await movedSectors(images, before, after, options) : matched.sectors;
  const part = { name, kind, type, subtype, place, sectors };
  const { content, problems } = sectors === 0 ? NOTHING : await contentOf(images, part, options.reveal ?? false);
  return {
    ...part,
    change: before === null ? 'came' : after === null ? 'went' : isMoved ? 'moved' : 'changed',
    from: isMoved ? null : matched.from,
    to: isMoved ? null : matched.to,
    blank: {
      before: place.before && (await isBlank(images.before.read, place.before, options)),
      after: place.after && (await isBlank(images.after.read, place.after, options)),
    },
    content,
    problems,
  };
}

const NOTHING = { content: null, problems: [] };

/** Sectors in which the content of a part that begins elsewhere now differs. */
async function movedSectors(
  images: Pair<DescribedImage>,
  before: FlashRegion,
  after: FlashRegion,
  { signal }: CompareOptions,
): Promise<number> {
  const found = await differingSectors(
    { read: images.before.read, offset: before.offset },
    { read: images.after.read, offset: after.offset },
    Math.min(before.sizeBytes, after.sizeBytes),
    undefined,
    signal === undefined ? {} : { signal },
  );
  return sectorCount(found);
}

function regionOf(part: FlashRegion | null): FlashRegion | null {
  return part === null ? null : { offset: part.offset, sizeBytes: part.sizeBytes };
}

function pair<T, R>({ before, after }: Pair<T>, of: (one: T) => R): Pair<R> {
  return { before: of(before), after: of(after) };
}

/**
 * Which blocks digests prove to be the same: those of which both images have a digest, and both the same one.
 * @param digests of each block of 64 KiB in order; a last block that is shorter counts only where the images are as long
 */
export function sameBlocks(digests: Pair<readonly string[]>, sizeBytes: Pair<number>): (index: number) => boolean {
  const whole = Math.min(sizeBytes.before, sizeBytes.after);
  return (index) => {
    const digest = digests.before[index];
    if (digest === undefined || digest !== digests.after[index]) return false;
    return sizeBytes.before === sizeBytes.after || (index + 1) * BLOCK_BYTES <= whole;
  };
}
