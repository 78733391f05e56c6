/** Segments that could not be read: when each is asked for again. Neighbours with one reason are one entry. Pure. */

import type { HeardStation, Unread, UnreadCode } from './state.ts';

const FIRST_RETRY_MS = 3_600_000;
/** Of what a store that is busy may give out soon. */
const SOON_MS = 60_000;
const MAX_RETRY_MS = 24 * 3_600_000;
/** Numbers of one entry that are asked for at one look. */
const MAX_AT_ONCE = 50;
/** Of a station: one with more is no station that anybody works at. */
const MAX_ENTRIES = 500;

export interface Numbers {
  readonly from: number;
  readonly to: number;
}

/** How many segments these are. */
export function countOf(entries: readonly Numbers[]): number {
  return entries.reduce((sum, { from, to }) => sum + to - from + 1, 0);
}

/** Why a segment is not read. */
export interface Reason {
  readonly code: UnreadCode;
  readonly message: string;
}

/** @param version of espd, where what could not be read is of a later one */
export function addUnread(
  station: HeardStation,
  { from, to }: Numbers,
  reason: Reason,
  { now, version }: { readonly now: Date; readonly version?: string | undefined },
): void {
  const isKnown = station.unread.some(
    (each) => each.from <= from && to <= each.to && each.code === reason.code && each.version === version,
  );
  if (isKnown) return;
  remove(station, { from, to });
  const entry: Unread = {
    ...{ from, to, code: reason.code, message: reason.message, since: now.toISOString(), tries: 0 },
    retryAt: new Date(now.getTime() + firstRetryMs(reason.code)).toISOString(),
    ...(version === undefined ? {} : { version }),
  };
  station.unread = merged([...station.unread, entry]);
}

/** It was read. */
export function settleUnread(station: HeardStation, seq: number): void {
  remove(station, { from: seq, to: seq });
}

/**
 * Numbers that are to be asked for again now; the next time is later.
 * @param version of espd; what was of a later one is asked for when it has changed. Null: all
 */
export function dueNumbers(station: HeardStation, now: Date, version: string | null): number[] {
  const nowMs = now.getTime();
  const due: number[] = [];
  station.unread = station.unread.map((entry) => {
    // A clock that went back asks at once.
    const isDue = nowMs >= Date.parse(entry.retryAt) || nowMs < Date.parse(entry.since);
    if (version !== null && !(entry.version === undefined ? isDue : entry.version !== version)) return entry;
    const count = entry.to - entry.from + 1;
    // Of a long one others each time.
    const start = (entry.tries * MAX_AT_ONCE) % count;
    for (let step = 0; step < Math.min(MAX_AT_ONCE, count); step++) due.push(entry.from + ((start + step) % count));
    const waitMs = Math.min(MAX_RETRY_MS, firstRetryMs(entry.code) * 2 ** Math.min(11, entry.tries + 1));
    return { ...entry, tries: entry.tries + 1, retryAt: new Date(nowMs + waitMs).toISOString() };
  });
  return due;
}

function firstRetryMs(code: UnreadCode): number {
  return code === 'store-busy' ? SOON_MS : FIRST_RETRY_MS;
}

function remove(station: HeardStation, { from, to }: Numbers): void {
  station.unread = station.unread.flatMap((entry) => {
    const before = { ...entry, to: Math.min(entry.to, from - 1) };
    const behind = { ...entry, from: Math.max(entry.from, to + 1) };
    const halves = before.to === entry.to || behind.from === entry.from ? [entry] : [before, behind];
    return halves.filter((half) => half.from <= half.to);
  });
}

function merged(entries: readonly Unread[]): Unread[] {
  const all: Unread[] = [];
  for (const entry of [...entries].sort((a, b) => a.from - b.from)) {
    const last = all.at(-1);
    const isSame = last?.to === entry.from - 1 && last.code === entry.code && last.version === entry.version;
    if (last === undefined || !isSame) all.push(entry);
    else all[all.length - 1] = { ...last, to: entry.to };
  }
  return all.slice(-MAX_ENTRIES);
}
