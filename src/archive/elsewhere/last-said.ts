/**
 * What tells an elsewhere.jsonl that was made shorter from an older one that lies in its place: the first one still says
 * all that the last lines said, or something later. An older one has not got that far. Pure.
 */

import type { Mac } from '../../mac.ts';
import { type StoredClaim, readStoredClaim } from './stored-lines.ts';

/** A line may have been written twice, the first one long before; not so many in a row. */
const MAX_SAID = 8;
const LINE_FEED = 0x0a;

/** A shorter file is not made shorter still (stored-log.ts): half of that, as it may have grown since it was looked at. */
export const MIN_SAID_BYTES = 512 * 1024;
/** So much of the file's end holds the last lines: they are some 8 to 32 KB each. */
export const SAID_BYTES = 256 * 1024;

/** @param end of the file */
export function lastSaid(mac: Mac, end: Buffer): string[] {
  const said: string[] = [];
  for (let stop = end.lastIndexOf(LINE_FEED); stop > 0 && said.length < MAX_SAID;) {
    const start = end.lastIndexOf(LINE_FEED, stop - 1);
    const claim = start === -1 ? undefined : readStoredClaim(mac, end.subarray(start + 1, stop));
    if (claim !== undefined) said.push(`${claim.latest.atMs} ${claim.key}`);
    stop = start;
  }
  return said;
}

/** @param said by {@link lastSaid}; of nothing it cannot be told */
export function saysAll(mac: Mac, file: Buffer, said: readonly string[]): boolean {
  const missing = new Map(said.map((each) => [each.slice(each.indexOf(' ') + 1), Number.parseInt(each, 10)]));
  if (missing.size === 0) return false;
  for (let start = 0; missing.size > 0;) {
    const stop = file.indexOf(LINE_FEED, start);
    if (stop === -1) break;
    const claim: StoredClaim | undefined = readStoredClaim(mac, file.subarray(start, stop));
    const wanted = claim === undefined ? undefined : missing.get(claim.key);
    if (claim !== undefined && wanted !== undefined && claim.latest.atMs >= wanted) missing.delete(claim.key);
    start = stop + 1;
  }
  return missing.size === 0;
}
