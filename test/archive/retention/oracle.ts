/**
 * What retention should decide, thought out a second time in the plainest way: sets and texts of dates, no cleverness. It
 * shares no code with what it judges.
 */

import type { KeepRules, RetentionPolicy } from '../../../src/archive/retention/policy.ts';
import type { RetentionBackup, RetentionBoard, RetentionFacts } from '../../../src/archive/retention/types.ts';

const byId = (a: { id: string }, b: { id: string }) => a.id.localeCompare(b.id);

function dateOf({ createdAt, id }: RetentionBackup): Date {
  return new Date(createdAt ?? id.replace(/T(..)-(..)-/, 'T$1:$2:'));
}

/** `2026-W01`, by counting: the week of a day is that of its Thursday, and the Thursdays of a year are numbered. */
function isoWeek(date: Date): string {
  const thursday = new Date(date);
  while (thursday.getUTCDay() !== 4) {
    thursday.setUTCDate(thursday.getUTCDate() + (date.getUTCDay() === 0 || date.getUTCDay() > 4 ? -1 : 1));
  }
  const year = thursday.getUTCFullYear();
  let number = 0;
  for (let day = new Date(Date.UTC(year, 0, 1)); day <= thursday; day.setUTCDate(day.getUTCDate() + 1)) {
    if (day.getUTCDay() === 4) number += 1;
  }
  return `${year}-W${number}`;
}

export function isKeptByRules(backups: readonly RetentionBackup[], rules: KeepRules): Set<string> {
  const sound = backups.filter(({ state }) => state === 'sound').sort(byId);
  const kept = new Set<string>();
  const oneOfEach = (nameOf: (backup: RetentionBackup) => string, howMany: number) => {
    const newest = new Map<string, string>();
    for (const backup of sound) newest.set(nameOf(backup), backup.id);
    for (const id of [...newest.values()].sort().reverse().slice(0, howMany)) kept.add(id);
  };
  const iso = (backup: RetentionBackup) => dateOf(backup).toISOString();
  oneOfEach(({ id }) => id, rules.last);
  oneOfEach((backup) => iso(backup).slice(0, 13), rules.hourly);
  oneOfEach((backup) => iso(backup).slice(0, 10), rules.daily);
  oneOfEach((backup) => isoWeek(dateOf(backup)), rules.weekly);
  oneOfEach((backup) => iso(backup).slice(0, 7), rules.monthly);
  oneOfEach((backup) => iso(backup).slice(0, 4), rules.yearly);
  const times = sound.map((backup) => dateOf(backup).getTime());
  if (rules.within !== null && times.length > 0) {
    const { years, months, days, hours } = rules.within;
    const newest = new Date(Math.max(...times));
    const limit = Date.UTC(
      newest.getUTCFullYear() - years,
      newest.getUTCMonth() - months,
      newest.getUTCDate() - days,
      newest.getUTCHours() - hours,
      newest.getUTCMinutes(),
      newest.getUTCSeconds(),
      newest.getUTCMilliseconds(),
    );
    for (const backup of sound) if (dateOf(backup).getTime() > limit) kept.add(backup.id);
  }
  for (const { firmware } of sound) {
    const same = sound.filter((other) => JSON.stringify(other.firmware) === JSON.stringify(firmware)).reverse();
    for (const { id } of same.slice(0, Math.min(same.length, rules.perFirmware))) kept.add(id);
  }
  return kept;
}

/** `mac id` of all that must never go. */
export function neverRemoved({ boards }: RetentionFacts): Set<string> {
  const keys = new Set<string>();
  for (const { mac, backups, restores, halfRestored, held } of boards) {
    const ids = [...backups].sort(byId).map(({ id }) => id);
    const sound = backups
      .filter(({ state }) => state === 'sound')
      .sort(byId)
      .map(({ id }) => id);
    const read = backups
      .filter(({ state, isImported }) => state === 'sound' && !isImported)
      .sort(byId)
      .map(({ id }) => id);
    for (const id of [ids[0], ids.at(-1), sound[0], sound.at(-1), read[0], read.at(-1)]) keys.add(`${mac} ${id}`);
    for (const backup of backups) {
      const isOdd = backup.state !== 'sound' || backup.pin !== null || !backup.isConfirmed || held !== null;
      if (isOdd) keys.add(`${mac} ${backup.id}`);
    }
    const named = [restores.at(-1), halfRestored];
    for (const restore of named) {
      if (!restore) continue;
      keys.add(`${restore.from.mac} ${restore.from.id}`);
      keys.add(`${mac} ${restore.snapshot}`);
    }
  }
  return keys;
}

function rulesOf({ mac, label, group }: RetentionBoard, policy: RetentionPolicy): KeepRules | null {
  if (policy.boards.has(mac)) return policy.boards.get(mac) as KeepRules;
  if (label !== null && policy.boards.has(label)) return policy.boards.get(label) as KeepRules;
  if (group !== null && policy.groups.has(group)) return policy.groups.get(group) as KeepRules;
  return policy.rules;
}

/** `mac id` of all that a rule keeps. */
export function keptKeys({ boards }: RetentionFacts, policy: RetentionPolicy): Set<string> {
  const keys = new Set<string>();
  for (const board of boards) {
    const rules = rulesOf(board, policy);
    if (rules === null) continue;
    for (const id of isKeptByRules(board.backups, rules)) keys.add(`${board.mac} ${id}`);
  }
  return keys;
}

/** Removes one after the other, looking at everything again each time. */
export function thinnedKeys(facts: RetentionFacts, fixed: ReadonlySet<string>, maxBytes: number): Set<string> {
  const boards = facts.boards.map(({ mac, backups }) => ({ mac, left: [...backups].sort(byId) }));
  const gone = new Set<string>();
  const bytes = () => boards.flatMap(({ left }) => left).reduce((sum, { sizeOnDiskBytes }) => sum + sizeOnDiskBytes, 0);
  while (bytes() > maxBytes) {
    const choices = boards.flatMap(({ mac, left }) => {
      const sound = left.filter(({ state }) => state === 'sound');
      return sound.flatMap((backup, index) => {
        const [earlier, later] = [sound[index - 1], sound[index + 1]];
        if (fixed.has(`${mac} ${backup.id}`) || backup.sizeOnDiskBytes === 0 || !earlier || !later) return [];
        return [{ mac, id: backup.id, gap: Math.abs(dateOf(later).getTime() - dateOf(earlier).getTime()) }];
      });
    });
    const [next] = choices.sort((a, b) => a.gap - b.gap || byId(a, b) || a.mac.localeCompare(b.mac));
    if (next === undefined) break;
    gone.add(`${next.mac} ${next.id}`);
    for (const board of boards) {
      if (board.mac === next.mac) board.left = board.left.filter(({ id }) => id !== next.id);
    }
  }
  return gone;
}
