/** How fresh what is known of the other stations is, in facts and in words. Pure. */

import { type Trouble, troublesOf } from './news.ts';
import { isGivenUp, lostSegments } from './gone.ts';
import type { Heard, HeardGone, HeardStation } from './state.ts';
import { type Numbers, countOf } from './unread.ts';

const DAY_MS = 24 * 3_600_000;
/** A station that is on says something each day. */
export const SILENT_DAYS = 3;
/** Then it is taken for one that is not used any more. */
export const RETIRED_DAYS = 60;

export interface Freshness {
  /** When the journals were last asked for, ISO 8601 UTC; null = never. */
  readonly lookedAt: string | null;
  readonly stations: readonly HeardOf[];
  /** What of their journals cannot be read. */
  readonly troubles: readonly Trouble[];
}

export interface HeardOf {
  readonly name: string;
  /** When it last said something; null = nothing of it could be read. */
  readonly heardAt: string | null;
  /** Whole days since then, where it is overdue; null where it is not, or was not used for long. */
  readonly silentDays: number | null;
}

/** One of the other stations, or this one where it misses some of what it has said itself, with what of its journal cannot be read. */
export interface OtherStation extends HeardOf {
  /** Segments. */
  readonly unread: number;
  /** What is wrong with the first of them; null where all was read. */
  readonly problem: string | null;
  /** Of the unread ones those that may never be read. */
  readonly lost: readonly Numbers[];
  /** What a person has said of them: see gone.ts. Null = nothing. */
  readonly gone: Omit<HeardGone, 'writtenMs'> | null;
  /** Of the unread ones so many does that speak of. */
  readonly givenUp: number;
  /** This station itself: its archive has lost what these segments say. */
  readonly isOwn?: true;
}

export const NOTHING_HEARD: Freshness = { lookedAt: null, stations: [], troubles: [] };

export function freshnessOf(heard: Heard, now: Date): Freshness {
  const others = Object.entries(heard.stations).filter(([, { isOwn }]) => isOwn !== true);
  const stations = others.map(([name, station]) => heardOf(name, station, now));
  stations.sort((a, b) => (a.name < b.name ? -1 : 1));
  return { lookedAt: heard.lookedAt, stations, troubles: troublesOf(heard) };
}

function heardOf(name: string, { heardAt, gone }: HeardStation, now: Date): HeardOf {
  const days = daysSince(heardAt, now);
  const isOverdue = days >= SILENT_DAYS && days < RETIRED_DAYS && gone === undefined;
  return { name, heardAt, silentDays: isOverdue ? days : null };
}

function daysSince(heardAt: string | null, now: Date): number {
  return heardAt === null ? 0 : Math.floor((now.getTime() - Date.parse(heardAt)) / DAY_MS);
}

export function otherStationsOf({ stations }: Heard, now: Date): OtherStation[] {
  const shown = Object.entries(stations).filter(([, { isOwn, unread }]) => isOwn !== true || unread.length > 0);
  const all = shown.map(([name, station]): OtherStation => {
    const { unread, gone } = station;
    return {
      ...heardOf(name, station, now),
      ...(station.isOwn === true ? { isOwn: true } : {}),
      ...{ unread: countOf(unread), problem: unread[0]?.message ?? null, lost: lostSegments(station) },
      givenUp: countOf(unread.filter((entry) => isGivenUp(station, entry))),
      gone:
        gone === undefined
          ? null
          : { segments: gone.segments, keepsBackups: gone.keepsBackups, by: gone.by, at: gone.at },
    };
  });
  return all.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Whether it was heard so lately that it cannot be gone. */
export function isAbout({ heardAt }: HeardOf, now: Date): boolean {
  return heardAt !== null && daysSince(heardAt, now) < SILENT_DAYS;
}

/** What ends a trouble with segments; undefined for what a newer espd or the disk here ends. */
export function wayOutOf({ station, code, segments, isOwn }: Trouble): string | undefined {
  if (segments === 0 || code === 'archive-newer') return undefined;
  if (isOwn === true) {
    return `It is asked for again. If it stays so, and this archive is as whole as it can be: espd stations --gone ${station}`;
  }
  if (code !== 'store-damaged' && code !== 'store-key') {
    return `It is asked for again. If ${station} is gone and the store never gives it out: espd stations --gone ${station}`;
  }
  return `${station} says it again by itself (now: espd pull --scan there). If it is gone for ever: espd stations --gone ${station}`;
}

/** What is wrong, and what ends it. */
export function troubleText(trouble: Trouble): string {
  const wayOut = wayOutOf(trouble);
  return wayOut === undefined ? trouble.message : `${trouble.message}. ${wayOut}`;
}

/** In sentences, the one that all read first; empty where there are no other stations. */
export function freshnessLines({ lookedAt, stations }: Pick<Freshness, 'lookedAt' | 'stations'>): string[] {
  if (stations.length === 0) return [];
  const last = lookedAt === null ? 'never' : `at ${lookedAt.slice(0, 16).replace('T', ' ')} UTC`;
  const heard =
    stations.length === 1 ? 'journal of one other station was' : `journals of ${stations.length} other stations were`;
  const silent = stations.flatMap(({ name, silentDays }) =>
    silentDays === null ? [] : [`${name} has said nothing for ${silentDays} days`],
  );
  return [`The ${heard} last read ${last}`, ...silent];
}

/** Only what somebody should look at. */
export function overdueOf(freshness: Freshness, now: Date): string[] {
  const { lookedAt, troubles } = freshness;
  const [read = '', ...silent] = freshnessLines(freshness);
  const isOld = lookedAt !== null && now.getTime() - Date.parse(lookedAt) > DAY_MS;
  return [...(isOld ? [read] : []), ...silent, ...troubles.map(troubleText)];
}
