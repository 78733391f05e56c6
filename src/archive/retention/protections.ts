/** Backups that no policy can remove, and why. Pure. */

import type { Mac } from '../../mac.ts';
import { latestMeant } from '../meant.ts';
import { timeOf } from './rules.ts';
import type { Protection, Reason, RetentionBackup, RetentionBoard, RetentionFacts } from './types.ts';

/** Reasons by MAC and id. */
export type Reasons = ReadonlyMap<Mac, ReadonlyMap<string, readonly Reason[]>>;

/**
 * - The first backup of a board, which is most often its factory firmware, and the first that looks sound. Where imports
 *   stand before it, also the first that espd has read from the board.
 * - The newest, the newest that looks sound, and what `latest` means after restores.
 * - Pinned ones, and those that a station may have pinned of which not all can be heard any more.
 * - Of each board's unfinished restore, and of its last: the backup that was put on it, of whichever board that is; and
 *   what was there before. If only a part was written last, those of the last whole restore, too.
 * - What is damaged, unreadable, or of a newer format: a person decides about it.
 * - Imported ones that no chip has confirmed: there may be no board to make them from again.
 * - What has somebody's own file in its folder.
 * - All of a board at which a job is at work, or of which it is not known what is pinned.
 */
export function protections(boards: readonly RetentionBoard[]): Reasons {
  const reasons = new Map<Mac, Map<string, Reason[]>>();
  const add = (mac: Mac, id: string | undefined, code: Protection, text: string) => {
    if (id === undefined) return;
    const ofBoard = reasons.get(mac) ?? new Map<string, Reason[]>();
    reasons.set(mac, ofBoard);
    const list = ofBoard.get(id) ?? [];
    ofBoard.set(id, list);
    if (!list.some((reason) => reason.code === code)) list.push({ code, text });
  };

  for (const { mac, backups, restores, halfRestored, halfRestoredElsewhere = [], held } of boards) {
    const sorted = sortedById(backups);
    const sound = sorted.filter(({ state }) => state === 'sound');
    const read = sound.filter(({ isImported }) => !isImported);
    add(mac, sorted[0]?.id, 'first', 'the first backup of the board');
    add(mac, sound[0]?.id, 'first', 'the first backup that looks sound');
    add(mac, read[0]?.id, 'first', 'the first that espd read from the board');
    add(mac, sorted.at(-1)?.id, 'newest', 'the newest backup of the board');
    add(mac, sound.at(-1)?.id, 'newest', 'the newest backup that looks sound');
    add(mac, read.at(-1)?.id, 'newest', 'the newest that espd read from the board');
    for (const meant of [sorted, sound]) {
      const ids = meant.map(({ id }) => id);
      for (const half of [halfRestored, ...halfRestoredElsewhere]) {
        add(mac, latestMeant(ids, restores, half), 'latest', 'the one that "latest" means');
      }
    }
    for (const backup of sorted) {
      if (held !== null) add(mac, backup.id, 'held', held);
      for (const { code, text } of ownProtections(backup)) add(mac, backup.id, code, text);
    }
    for (const { from, snapshot } of [...(halfRestored === null ? [] : [halfRestored]), ...halfRestoredElsewhere]) {
      add(from.mac, from.id, 'restoring', `an unfinished restore of ${mac} needs it`);
      add(mac, snapshot ?? undefined, 'restoring', 'what was on the board before the unfinished restore');
    }
    const last = [restores.at(-1), restores.findLast(({ partial }) => !partial)];
    for (const restore of last) {
      if (restore === undefined) continue;
      const { from, snapshot } = restore;
      const onto = from.mac === mac ? 'the board' : mac;
      add(from.mac, from.id, 'restored', `was put on ${onto} by its last restore`);
      add(mac, snapshot ?? undefined, 'before-restore', 'what was on the board before its last restore');
    }
  }
  return reasons;
}

function ownProtections({
  state,
  pin,
  mayBePinnedBy = null,
  isConfirmed,
  holdsForeign,
}: RetentionBackup): { code: Protection; text: string }[] {
  const found: { code: Protection; text: string }[] = [];
  if (state === 'damaged') found.push({ code: 'damaged', text: 'is damaged: a person decides' });
  if (state === 'unreadable') found.push({ code: 'unreadable', text: 'cannot be read: a person decides' });
  if (state === 'newer') found.push({ code: 'newer-format', text: 'is of a newer format: a person decides' });
  if (pin !== null) found.push({ code: 'pinned', text: pin.note ? `pinned: ${pin.note}` : 'pinned' });
  if (mayBePinnedBy !== null) {
    const text = `may be pinned by ${mayBePinnedBy}: a part of its journal cannot be read, and was given up`;
    found.push({ code: 'maybe-pinned', text });
  }
  if (holdsForeign) found.push({ code: 'foreign', text: "has a file in its folder that is not espd's" });
  if (state === 'sound' && !isConfirmed) {
    found.push({ code: 'unconfirmed', text: 'imported, and no chip has confirmed it' });
  }
  return found;
}

/**
 * Why nothing at all may be removed: an obstacle; or a clock that is behind the newest backup of any
 * board. Such a clock has lost the time (a dead battery shows 1970), or had lost it when that backup was made.
 */
export function blockades({ boards, obstacles, nowMs }: RetentionFacts): Reason[] {
  let newest: { mac: Mac; id: string; timeMs: number } | undefined;
  for (const { mac, backups } of boards) {
    for (const backup of backups) {
      const timeMs = timeOf(backup);
      const isNewer = newest === undefined || timeMs > newest.timeMs;
      const isFirstOfEqual = timeMs === newest?.timeMs && `${mac}${backup.id}` < `${newest.mac}${newest.id}`;
      if (isNewer || isFirstOfEqual) newest = { mac, id: backup.id, timeMs };
    }
  }
  const found: Reason[] = [...obstacles].sort().map((text) => ({ code: 'obstacle', text }));
  if (newest !== undefined && !(nowMs >= newest.timeMs)) {
    found.unshift({ code: 'clock', text: `the clock is behind the newest backup, ${newest.id} of ${newest.mac}` });
  }
  return found;
}

export function sortedById<T extends { readonly id: string }>(backups: readonly T[]): T[] {
  return [...backups].sort((a, b) => (a.id < b.id ? -1 : Number(a.id > b.id)));
}
