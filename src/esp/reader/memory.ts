/**
 * What is remembered of a reader that failed, by chip and build, so that the same fault does not cost a reset each time.
 * Pure; where it is kept is the caller's matter.
 */

import type { Mac } from '../../mac.ts';

export interface ReaderFacts {
  /** ISO 8601. */
  readonly failedAt: string;
  /** How often it has failed, at least 1. */
  readonly failures: number;
}

export interface ReaderMemory {
  /** What is remembered of that build on that chip; null where it has not failed. */
  recall(mac: Mac, build: number): ReaderFacts | null;
  remember(mac: Mac, build: number, facts: ReaderFacts): void;
}

const DAY_MS = 24 * 3600 * 1000;
/** It may have been the cable: tried again after a week, after the next fault in two, and so on up to a year. */
const FIRST_REST_MS = 7 * DAY_MS;
const LONGEST_REST_MS = 365 * DAY_MS;

/** Whether it is not to be tried now. Also not where a clock went back: by no more than the rest itself. */
export function isResting({ failedAt, failures }: ReaderFacts, now: Date): boolean {
  const restMs = Math.min(FIRST_REST_MS * 2 ** Math.min(failures - 1, 20), LONGEST_REST_MS);
  return Math.abs(now.getTime() - new Date(failedAt).getTime()) < restMs;
}

export function factsAfterFault(before: ReaderFacts | null, now: Date): ReaderFacts {
  return { failedAt: now.toISOString(), failures: Math.min((before?.failures ?? 0) + 1, 1000) };
}
