/**
 * What tells cheaply that a file or folder has not changed: five numbers of its lstat. Pure.
 *
 * The change time is the one that counts: no program can set it (utimensat(2) sets the other two), so a file whose
 * content was replaced and whose modification time was put back is seen. A file system without one (FAT) shows the
 * modification time in its place; then such a change stays unseen where the size is the same, too.
 */

import type { Stats } from 'node:fs';

/** In this order. Numbers of 64 bits may lose their last bits: times keep 244 ns or better until 2242. */
const FIELDS = ['ino', 'size', 'mtimeMs', 'ctimeMs', 'mode'] as const;

export const EVIDENCE_NUMBERS = FIELDS.length;

/**
 * A change within the same tick of the clock that stamps files leaves no mark, so what changed so shortly before it was
 * looked at is not to be trusted. FAT keeps modification times to 2 s, the coarsest that is in use.
 */
const TICK_MS = 2000;

/** Writes the evidence of one file to `at` and behind. */
export function writeEvidence(target: Float64Array, at: number, stats: Stats): void {
  for (const [index, field] of FIELDS.entries()) target[at + index] = stats[field];
}

/** Whether the file is as it was when `known` was written. */
export function isSame(known: Float64Array, at: number, stats: Stats): boolean {
  return FIELDS.every((field, index) => known[at + index] === stats[field]);
}

/**
 * Whether every change of the file from `nowMs` on will show.
 * @param nowMs before it was looked at, by the clock that stamps it; ms since 1970
 */
export function isSettled({ mtimeMs, ctimeMs }: Stats, nowMs: number): boolean {
  return Math.max(mtimeMs, ctimeMs) + TICK_MS <= nowMs;
}
