/**
 * What counts of all that the lines of a file say: of each folder in a store the latest line that is sound. Of a board that
 * was backed up every day for years most lines are of backups that are gone, so a line is looked at as a whole only where
 * nothing later says that its backup was removed. Pure.
 */

import { type StoredClaim, type StoredLine, outdates, withDigest } from './stored-lines.ts';

export interface LatestLine {
  readonly line: StoredLine;
  /** Of the last line that was taken and says that it is there; null = none does. */
  readonly manifestSha256: string | null;
}

/** A line that counts, or may count for a later espd. */
export interface KeptLine {
  readonly claim: StoredClaim;
  /** Undefined where it is not sound to this espd. */
  readonly line: StoredLine | undefined;
  /** With what is to be known of it when all other lines of its folder are gone. */
  readonly bytes: Buffer;
}

interface Place {
  /** What may count, the latest first; behind a removal nothing does. */
  readonly claims: readonly StoredClaim[];
  readonly manifestSha256: string | null;
}

export class LatestLines {
  readonly #places = new Map<string, Place>();

  /** In the order of the file, though it decides nothing. */
  take(claim: StoredClaim): void {
    const before = this.#places.get(claim.key);
    const isBehind = (each: StoredClaim) => outdates(claim.latest, each.latest);
    const known = before?.claims ?? [];
    const claims = [...known.filter((each) => !isBehind(each)), claim, ...known.filter(isBehind)];
    const removal = claims.findIndex((each) => each.latest.removed);
    this.#places.set(claim.key, {
      claims: removal === -1 ? claims : claims.slice(0, removal + 1),
      manifestSha256: claim.manifestSha256 ?? before?.manifestSha256 ?? null,
    });
  }

  /** One of each folder of which a line is sound. */
  *lines(): Generator<LatestLine, void, undefined> {
    for (const { claims, manifestSha256 } of this.#places.values()) {
      for (const { check } of claims) {
        const line = check();
        if (line === undefined) continue;
        yield { line, manifestSha256 };
        break;
      }
    }
  }

  /** Of each folder the line that counts, and later ones that are not sound to this espd: all others say nothing any more. */
  *kept(): Generator<KeptLine, void, undefined> {
    for (const { claims, manifestSha256 } of this.#places.values()) {
      for (const claim of claims) {
        const line = claim.check();
        const lacksDigest =
          line?.removed === true && manifestSha256 !== null && claim.manifestSha256 !== manifestSha256;
        yield { claim, line, bytes: lacksDigest ? withDigest(claim.bytes, manifestSha256) : claim.bytes };
        if (line !== undefined) break;
      }
    }
  }
}
