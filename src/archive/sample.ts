/** A part of the archive that is verified instead of all of it. Pure. */

import { crc32 } from 'node:zlib';
import { EspdError } from '../errors.ts';
import type { Mac } from '../mac.ts';
import { printable } from '../printable.ts';

/**
 * `share`: so much of the backups, those that were verified longest ago. `group`: the backups of one group of several,
 * always the same ones, so that all groups together are the archive.
 */
export type Sample =
  | { readonly kind: 'share'; /** Above 0, at most 1. */ readonly share: number }
  | { readonly kind: 'group'; /** From 1. */ readonly number: number; readonly of: number };

export interface BackupName {
  readonly mac: Mac;
  readonly id: string;
}

const PERCENT = /^(\d{1,3}(?:\.\d{1,3})?)%$/;
const GROUP = /^(\d{1,5})\/(\d{1,5})$/;

/** `5%` or `2/7`. @throws EspdError `usage` */
export function parseSample(text: string): Sample {
  const percent = Number(PERCENT.exec(text)?.[1] ?? NaN);
  if (percent > 0 && percent <= 100) return { kind: 'share', share: percent / 100 };
  const [, number = NaN, of = NaN] = (GROUP.exec(text) ?? []).map(Number);
  if (number >= 1 && number <= of) return { kind: 'group', number, of };
  throw new EspdError('usage', `"${printable(text)}" is no sample`, {
    hint: 'Say how much of the backups, such as 5%, or which group of how many, such as 2/7',
  });
}

/**
 * What of `backups` is to be verified, in this order: what was verified longest ago first.
 * @param verifiedMs when that was; 0 = never. Equal ones keep the order of `backups`
 */
export function chooseSample<T extends BackupName>(
  backups: readonly T[],
  sample: Sample,
  verifiedMs: (backup: T) => number,
): T[] {
  const oldest = sortOldest(backups, verifiedMs);
  if (sample.kind === 'share') return oldest.slice(0, Math.ceil(backups.length * sample.share));
  return oldest.filter((backup) => groupOf(backup, sample.of) === sample.number);
}

export function sortOldest<T>(items: readonly T[], timeOf: (item: T) => number): T[] {
  const timed = items.map((item) => ({ item, time: timeOf(item) }));
  return timed.sort((a, b) => a.time - b.time).map(({ item }) => item);
}

/** The group of a backup, 1 to `of`; depends on nothing else, so other backups may come and go. */
export function groupOf({ mac, id }: BackupName, of: number): number {
  return (crc32(`${mac} ${id}`) % of) + 1;
}
