/** How fresh what is known of the other stations is, in facts and in words. Pure. */

import { type Trouble, troublesOf } from './news.ts';
import type { Heard } from './state.ts';

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

export const NOTHING_HEARD: Freshness = { lookedAt: null, stations: [], troubles: [] };

export function freshnessOf(heard: Heard, now: Date): Freshness {
  const stations = Object.entries(heard.stations).map(([name, { heardAt }]): HeardOf => {
    const days = heardAt === null ? 0 : Math.floor((now.getTime() - Date.parse(heardAt)) / DAY_MS);
    return { name, heardAt, silentDays: days >= SILENT_DAYS && days < RETIRED_DAYS ? days : null };
  });
  stations.sort((a, b) => (a.name < b.name ? -1 : 1));
  return { lookedAt: heard.lookedAt, stations, troubles: troublesOf(heard) };
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
  return [...(isOld ? [read] : []), ...silent, ...troubles.map(({ message }) => message)];
}
