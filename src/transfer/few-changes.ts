/**
 * Where a flash differs from an image in a few sectors, when the MD5 of the whole flash is known already. It is looked for
 * where that is likeliest, and what was found is read at once: as soon as the image with these sectors has that MD5,
 * nothing else is asked. Blank flash is so hardly ever hashed again.
 */

import { BLOCK_BYTES, type Region, SECTOR_BYTES } from '../flash.ts';
import type { Board } from '../esp/board.ts';
import type { Costs } from '../esp/costs.ts';
import { type FlashPart, mapFlash } from '../firmware/index.ts';
import type { Manifest } from '../archive/manifest.ts';
import { BLANK, uniformDigest } from '../archive/uniform.ts';
import type { Budget } from './asking.ts';
import { type DigestPlan, inOrder, withoutRead } from './digest-plan.ts';
import type { AskDigest } from './flash-compare.ts';
import { likelyChanges, likelyToChange } from './likely-changes.ts';
import type { PatchedImage } from './patched-image.ts';
import { isTableCheaper } from './table-plan.ts';

export interface ChangeSearch {
  /** Of the whole flash, by the chip. */
  readonly flashMd5: string;
  /** Of the image. */
  readonly manifest: Pick<Manifest, 'blocks' | 'contents' | 'image'>;
  readonly image: PatchedImage;
  /** Of the flash, and of the image. */
  readonly sizeBytes: number;
  readonly board: Board;
  readonly budget: Budget;
  readonly ask: AskDigest;
  /** Reads regions of the flash into the image. */
  readonly read: (regions: readonly Region[]) => Promise<void>;
}

export interface ChangesFound {
  /** With all that was found, also where that is not all. */
  readonly image: PatchedImage;
  /** The image is what the chip has hashed. */
  readonly isProven: boolean;
  /** What was read into the image, in order. */
  readonly read: readonly Region[];
  /** What has become blank, by digests, and is so in the image, in order. */
  readonly blank: readonly Region[];
  /** Digests of single blocks of the flash that are known now, by index: of use to whoever must look further. */
  readonly probed: ReadonlyMap<number, string>;
}

/** More is no small change: a firmware was exchanged, and the planner knows more of what it may be. */
const MOST_CHANGED_BYTES = 64 * 1024;
/** The same of what has become blank: it is held in memory meanwhile, and an erased flash is all of it. */
const MOST_BLANK_BYTES = 1024 * 1024;
/**
 * Changes in more places are not looked for one by one, above all where one table tells of all; and each try hashes the
 * image, 30 ms for 16 MiB.
 */
const MOST_PLACES = 3;
const MOST_PLACES_BEFORE_TABLE = 1;
/** Digests of blocks that the budget must still have room for: whoever looks further has to begin with something. */
const BLOCKS_LEFT = 8;

/** Where no stub runs, nothing is looked for: it would be read slowly. */
export async function findFewChanges(search: ChangeSearch): Promise<ChangesFound> {
  const changes = new FewChanges(search);
  const isProven = search.board.loaderKind === 'stub' && (await changes.run());
  const { read, blank, probed } = changes;
  return { image: search.image, isProven, read: inOrder(read), blank: inOrder(blank), probed };
}

/** A plan that was made of the image with what was found, as it is to be reported. */
export function withFound<By extends string>(
  { explained, unexplained }: DigestPlan<By>,
  { read, blank }: Pick<ChangesFound, 'read' | 'blank'>,
): DigestPlan<By | 'blank'> {
  const becameBlank = withoutRead(blank, unexplained).map((region) => ({ ...region, by: 'blank' as const }));
  return {
    explained: inOrder([...withoutRead(explained, inOrder([...read, ...blank])), ...becameBlank]),
    unexplained: inOrder([...unexplained, ...withoutRead(read, unexplained)]),
  };
}

/** To be asked for as one. */
interface Group extends Region {
  /** An app begins here. One that has another beginning is another one. */
  readonly isBeginOfApp: boolean;
}

/** Thrown out of the depth of a search that is not worth going on with. */
class NotWorthIt extends Error {}

/** A region as the chip's digest has it, or as it follows from other digests. */
interface Leaf {
  readonly region: Region;
  readonly is: 'same' | 'blank' | 'other';
}

class FewChanges {
  readonly read: Region[] = [];
  readonly blank: Region[] = [];
  readonly probed = new Map<number, string>();
  readonly #search: ChangeSearch;
  readonly #parts: readonly FlashPart[];
  /** Differ, and are still to be read. */
  #found: Region[] = [];
  /** The image was changed since it was tried last. */
  #isChanged = false;
  /** Beside the settings. */
  #changedBytes = 0;
  #blankBytes = 0;
  /** Changed ones beside the settings. */
  #places = 0;

  constructor(search: ChangeSearch) {
    const { manifest, sizeBytes, board } = search;
    this.#search = search;
    this.#parts = mapFlash(manifest.contents.partitions, null, { sizeBytes, family: board.identity.family });
  }

  /** @returns whether the image is what the chip has hashed */
  async run(): Promise<boolean> {
    try {
      return await this.#isFound();
    } catch (error) {
      if (error instanceof NotWorthIt) return false;
      throw error;
    }
  }

  async #isFound(): Promise<boolean> {
    const { image, board, ask, sizeBytes, flashMd5, manifest } = this.#search;
    const whole = { offset: 0, sizeBytes };
    // Another copy is wanted of the same: of another chip, say. Unless the image has rotted, nothing differs anywhere.
    if (manifest.image.md5 === flashMd5 && (await image.md5(whole)) === flashMd5) return true;
    const settings = { within: whole, likely: likelyToChange(this.#parts) };
    // However many they are: to be read in any case.
    this.#found.push(...((await likelyChanges(settings, image.readable, board, ask)) ?? []));
    if (await this.#isProven()) return true;
    const groups = inSearchOrder(this.#search, this.#parts);
    for (const [index, group] of groups.entries()) {
      if (group.isBeginOfApp) {
        if ((await this.#ask(group)) !== 'same') return false;
        continue;
      }
      // Something differs: if it is nowhere else, then there.
      for await (const leaf of this.#leaves(group, index === groups.length - 1)) {
        if (leaf.is !== 'same') await this.#note(leaf);
        else if (await this.#isAll()) return true;
      }
    }
    return this.#isProven();
  }

  /** In order: parts that are as in the image, parts that are blank, and sectors that are neither. */
  async *#leaves(region: Region, isKnownToDiffer: boolean): AsyncGenerator<Leaf> {
    const is = isKnownToDiffer ? 'other' : await this.#ask(region);
    if (is !== 'other' || region.sizeBytes <= SECTOR_BYTES) {
      yield { region, is };
      return;
    }
    const [front, back] = halvesOf(region);
    let isFrontSame = true;
    for await (const leaf of this.#leaves(front, false)) {
      isFrontSame &&= leaf.is === 'same';
      yield leaf;
    }
    yield* this.#leaves(back, isFrontSame);
  }

  async #ask(region: Region): Promise<Leaf['is']> {
    const { ask, budget, image } = this.#search;
    if (!budget.affords(BLOCK_BYTES, BLOCKS_LEFT) || !budget.affords(region.sizeBytes)) throw new NotWorthIt();
    const digest = await ask(region);
    budget.asked(region.sizeBytes);
    const isSame = digest === (await image.md5(region));
    if (isSame) budget.explained(region, false);
    this.#remember(region, digest, isSame);
    if (isSame) return 'same';
    return digest === uniformDigest(BLANK, region.sizeBytes) ? 'blank' : 'other';
  }

  #remember({ offset, sizeBytes }: Region, digest: string, isSame: boolean): void {
    if (offset % BLOCK_BYTES !== 0) return;
    const first = offset / BLOCK_BYTES;
    if (sizeBytes === BLOCK_BYTES) this.probed.set(first, digest);
    if (!isSame) return;
    for (let block = first; (block + 1) * BLOCK_BYTES <= offset + sizeBytes; block++) {
      // With sectors that were read it has another than the manifest says.
      const md5 = this.#search.image.blockMd5(block);
      if (md5 !== undefined) this.probed.set(block, md5);
    }
  }

  async #note({ region, is }: Leaf): Promise<void> {
    if (is === 'blank') {
      this.#blankBytes += region.sizeBytes;
      if (this.#blankBytes > MOST_BLANK_BYTES) throw new NotWorthIt();
      this.blank.push(region);
      await this.#search.image.write(region.offset, Buffer.alloc(region.sizeBytes, BLANK));
      this.#isChanged = true;
      return;
    }
    this.#found.push(region);
    this.#changedBytes += region.sizeBytes;
    if (this.#changedBytes > MOST_CHANGED_BYTES) throw new NotWorthIt();
  }

  /** Where a change has come to its end: whether there are no others. */
  async #isAll(): Promise<boolean> {
    if (this.#found.length === 0 && !this.#isChanged) return false;
    if (await this.#isProven()) return true;
    const { board, sizeBytes } = this.#search;
    const hasTable = isTableCheaper(board.tableMs(sizeBytes, BLOCK_BYTES), sizeBytes, board.costs);
    if (++this.#places >= (hasTable ? MOST_PLACES_BEFORE_TABLE : MOST_PLACES)) throw new NotWorthIt();
    return false;
  }

  /** Whether the image with all that was found is what the chip has hashed. */
  async #isProven(): Promise<boolean> {
    const regions = inOrder(this.#found);
    if (regions.length === 0 && !this.#isChanged) return false;
    const { image, read, flashMd5, sizeBytes } = this.#search;
    this.#found = [];
    await read(regions);
    this.read.push(...regions);
    this.#isChanged = false;
    return (await image.md5({ offset: 0, sizeBytes })) === flashMd5;
  }
}

/**
 * The flash in regions to be asked for one after the other: data first, since firmware does not change itself; then where
 * apps begin; then all else in use; then what was blank.
 */
function inSearchOrder({ sizeBytes, manifest, board }: ChangeSearch, parts: readonly FlashPart[]): Group[] {
  const blank = uniformDigest(BLANK, BLOCK_BYTES);
  const partitions = parts.filter(({ kind }) => kind === 'partition');
  const isData = ({ offset, sizeBytes }: Region) =>
    partitions.some((part) => part.type !== 'app' && part.offset < offset + sizeBytes && offset < endOf(part));
  const isBegin = ({ offset, sizeBytes }: Region) =>
    partitions.some((part) => part.type === 'app' && part.offset >= offset && part.offset < offset + sizeBytes);
  const [ofData, begins, others, blanks]: [Region[], Region[], Region[], Region[]] = [[], [], [], []];
  for (const [index, md5] of manifest.blocks.md5.entries()) {
    const offset = index * BLOCK_BYTES;
    const block = { offset, sizeBytes: Math.min(BLOCK_BYTES, sizeBytes - offset) };
    if (md5 === blank) blanks.push(block);
    else if (isData(block)) ofData.push(block);
    else (isBegin(block) ? begins : others).push(block);
  }
  const groupBytes = BLOCK_BYTES * blocksAsked(ofData.length + others.length, board.costs);
  const inGroups = (blocks: readonly Region[], bytes: number) =>
    inOrder(blocks).flatMap((run) => groupsOf(run, bytes).map((group) => ({ ...group, isBeginOfApp: false })));
  return [
    ...inGroups(ofData, groupBytes),
    ...begins.map((block) => ({ ...block, isBeginOfApp: true })),
    ...inGroups(others, groupBytes),
    ...inGroups(blanks, Infinity),
  ];
}

function endOf({ offset, sizeBytes }: Region): number {
  return offset + sizeBytes;
}

/**
 * How many blocks to ask for at once. Few are hashed in vain where one of them has changed, many need fewer questions;
 * going through half of all in steps costs least where a step is the root of what one question costs in hashing.
 */
function blocksAsked(blocks: number, costs: Costs): number {
  const questionMs = costs.digestMs(0);
  const hashMs = costs.digestMs(BLOCK_BYTES) - questionMs;
  return Math.max(1, Math.round(Math.sqrt((blocks * questionMs) / (2 * hashMs))));
}

function groupsOf({ offset, sizeBytes }: Region, groupBytes: number): Region[] {
  const groups: Region[] = [];
  for (let at = 0; at < sizeBytes; at += groupBytes) {
    groups.push({ offset: offset + at, sizeBytes: Math.min(groupBytes, sizeBytes - at) });
  }
  return groups;
}

/** Divided between two blocks where it has more than one, else between two sectors. */
function halvesOf({ offset, sizeBytes }: Region): [Region, Region] {
  const unit = sizeBytes > BLOCK_BYTES ? BLOCK_BYTES : SECTOR_BYTES;
  const front = Math.ceil(Math.ceil(sizeBytes / unit) / 2) * unit;
  return [
    { offset, sizeBytes: front },
    { offset: offset + front, sizeBytes: sizeBytes - front },
  ];
}
