/**
 * Which parts of a flash differ from what is known, found by asking the chip for digests of smaller and smaller
 * regions. Pure but for the two questions it asks: the chip for a digest, and the caller for an explanation.
 */

import { createHash } from 'node:crypto';

export interface Region {
  readonly offset: number;
  readonly sizeBytes: number;
}

/** What explains a region without reading it. */
export type Explanation = 'blank' | 'same';

export interface ExplainedRegion extends Region {
  readonly by: Explanation;
}

export interface DigestPlan {
  /** Regions that need no reading, in order, neighbours of one kind merged. */
  readonly explained: readonly ExplainedRegion[];
  /** Regions that nothing explains, in order, neighbours merged. */
  readonly unexplained: readonly Region[];
  readonly digestsAsked: number;
  /** Half the size or less, when the flash repeats itself from there on although it is not blank; else null. */
  readonly aliasedAtBytes: number | null;
}

export interface DigestQuestions {
  /** MD5 of a region of the flash, by the chip: lower-case hex. */
  ask(offset: number, sizeBytes: number): Promise<string>;
  /** What a region with this digest is known to be; null = nothing known. */
  explain(region: Region, digest: string): Promise<Explanation | null> | Explanation | null;
}

/**
 * @param sizeBytes of the flash
 * @param levels region sizes from large to small; each a multiple of the next, the last a divisor of `sizeBytes`
 */
export async function planByDigests(
  sizeBytes: number,
  levels: readonly number[],
  questions: DigestQuestions,
): Promise<DigestPlan> {
  const explained: ExplainedRegion[] = [];
  const unexplained: Region[] = [];
  const topDigests: string[] = [];
  let digestsAsked = 0;

  /** Plans the parts of one region. `mustDiffer`: as a whole it is not the same as before. */
  async function descend(region: Region, level: number, mustDiffer: boolean): Promise<void> {
    const partBytes = levels[level];
    if (partBytes === undefined) {
      append(unexplained, region);
      return;
    }
    const isFinest = level === levels.length - 1;
    let allSame = true;
    const end = region.offset + region.sizeBytes;
    for (let offset = region.offset; offset < end; offset += partBytes) {
      const part = { offset, sizeBytes: Math.min(partBytes, end - offset) };
      // A region that differs has a part that differs: when it was none of the others, it is the last. (Of a smallest
      // part it is asked all the same: it may have become blank, which saves reading it.)
      const isOnlyCandidate = mustDiffer && allSame && !isFinest && offset + part.sizeBytes === end;
      let by: Explanation | null = null;
      if (!isOnlyCandidate) {
        digestsAsked++;
        const digest = await questions.ask(part.offset, part.sizeBytes);
        if (level === 0) topDigests.push(digest);
        by = await questions.explain(part, digest);
      }
      allSame &&= by === 'same';
      if (by === null) await descend(part, level + 1, true);
      else append(explained, { ...part, by });
    }
  }

  await descend({ offset: 0, sizeBytes }, 0, false);
  return { explained, unexplained, digestsAsked, aliasedAtBytes: aliasOf(topDigests, sizeBytes, levels[0] ?? 0) };
}

/** Levels that fit a flash: {@link planByDigests} wants each to divide the one before. */
export function digestLevels(sizeBytes: number, finest: number): number[] {
  const levels = [1024 * 1024, 64 * 1024, 4096].filter((level) => level >= finest && level <= sizeBytes / 2);
  return levels.length > 0 ? levels : [Math.min(finest, sizeBytes)];
}

function append<R extends Region & { by?: Explanation }>(regions: R[], next: R): void {
  const last = regions.at(-1);
  if (last !== undefined && last.offset + last.sizeBytes === next.offset && last.by === next.by) {
    regions[regions.length - 1] = { ...last, sizeBytes: last.sizeBytes + next.sizeBytes };
  } else {
    regions.push(next);
  }
}

/** A flash smaller than it claims answers the same again behind its real end: its halves have equal digests. */
function aliasOf(digests: readonly string[], sizeBytes: number, regionBytes: number): number | null {
  let alias: number | null = null;
  let half = sizeBytes / 2;
  const blank = blankDigest(regionBytes);
  while (Number.isInteger(half / regionBytes) && half >= regionBytes) {
    const count = half / regionBytes;
    const lower = digests.slice(0, count);
    const repeats = lower.every((digest, index) => digest === digests[count + index]);
    if (!repeats || lower.every((digest) => digest === blank)) break;
    alias = half;
    half /= 2;
  }
  return alias;
}

const blankDigests = new Map<number, string>();

/** MD5 of `sizeBytes` bytes of 0xFF, lower-case hex; remembered, since few sizes are ever asked for. */
export function blankDigest(sizeBytes: number): string {
  let digest = blankDigests.get(sizeBytes);
  if (digest === undefined) {
    const hash = createHash('md5');
    const piece = Buffer.alloc(Math.min(sizeBytes, 65536), 0xff);
    for (let left = sizeBytes; left > 0; left -= piece.length)
      hash.update(piece.subarray(0, Math.min(left, piece.length)));
    digest = hash.digest('hex');
    blankDigests.set(sizeBytes, digest);
  }
  return digest;
}
