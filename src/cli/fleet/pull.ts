/** `espd pull`: what other stations have put into the object store, now, and what of it is new. */

import type { EspdError } from '../../errors.ts';
import type { Fleet } from '../../replication/open.ts';
import { freshnessLines, troubleText } from '../../replication/journal/freshness.ts';
import type { Journal } from '../../replication/journal/journal.ts';
import type { News, Trouble } from '../../replication/journal/news.ts';
import { type Scan, scanFault } from '../../replication/journal/scan.ts';
import type { Bucket } from '../../replication/push-backup.ts';
import type { CommandContext } from '../context.ts';
import { endedBy } from '../ended-by.ts';
import { plural, printable } from '../text.ts';
import { fleetOf, journalOf } from './open.ts';

export interface PullCommandOptions {
  /** Compare with everything that lies in the store, and not only with what the journals say. */
  readonly scan: boolean;
}

/** So many are named in text; `--json` has all. */
const MAX_NAMED = 20;

export async function pull(
  context: CommandContext,
  options: PullCommandOptions,
  env: NodeJS.ProcessEnv,
): Promise<EspdError | undefined> {
  const { archive, out, signal } = context;
  const fleet = fleetOf(context, env);
  try {
    await archive.checkWritable();
    const journal = journalOf(context, fleet);
    const bucket = await fleet.open(signal);
    return await hear(context, { fleet, journal, bucket }, options);
  } finally {
    out.status('');
    fleet.close();
  }
}

type Told = Omit<News, 'isMore' | 'mayHavePinned'>;

interface Parts {
  readonly fleet: Fleet;
  readonly journal: Journal;
  readonly bucket: Bucket;
}

async function hear(
  { out, signal }: CommandContext,
  { fleet, journal, bucket }: Parts,
  { scan }: PullCommandOptions,
): Promise<EspdError | undefined> {
  const looks: News[] = [];
  let scanned: Scan | null = null;
  let error: EspdError | undefined;
  try {
    out.status('Telling the other stations what this one did');
    if ((await journal.write(bucket, signal)) === undefined)
      out.note('Another espd of this station is writing its journal');
    do {
      looks.push(
        await journal.look(bucket, {
          signal,
          isThorough: looks.length === 0,
          onProgress: (station, segments) =>
            out.status(`Reading the journal of ${station} (${plural(segments, 'segment')})`),
        }),
      );
    } while (looks.at(-1)?.isMore === true);
    if (scan)
      scanned = await journal.scan(bucket, {
        signal,
        onProgress: (objects) => out.status(`${objects} objects listed`),
      });
  } catch (fault) {
    error = endedBy(signal, fault);
  }
  if (scanned !== null) error ??= scanFault(scanned);
  out.status('');
  const news = together(looks);
  const freshness = await journal.freshness();
  if (error === undefined || scanned !== null || news.macs.length > 0) out.line(newsLine(news, printable(fleet.place)));
  if (scanned !== null) for (const line of scanLines(scanned)) out.line(line);
  for (const line of freshnessLines(freshness)) out.line(printable(line));
  for (const trouble of news.troubles) out.note(printable(troubleText(trouble)));
  if (news.foreign.length > 0) out.note(`Not of espd, among the journals: ${printable(news.foreign.join(', '))}`);
  out.document({
    store: fleet.place,
    station: await fleet.state.station(),
    news,
    ...{ scan: scanned, stations: freshness.stations },
    ...(error === undefined ? {} : { error }),
  });
  return error;
}

function newsLine({ stations, macs, backups, removed, marks }: Told, place: string): string {
  if (macs.length === 0) return `Nothing new of other stations in the object store, ${place}`;
  const parts = [
    ...(backups > 0 ? [plural(backups, 'backup')] : []),
    ...(removed > 0 ? [`${plural(removed, 'backup')} removed there`] : []),
    ...(marks > 0 ? [`${plural(marks, 'line')} of labels, pins, sightings and the like`] : []),
  ];
  return `New of ${plural(macs.length, 'board')}, by ${stations.map(printable).join(', ')}: ${parts.join('; ')}`;
}

function scanLines({ backups, incomplete, found, lost, unreadable, mended, foreign, foreignNames }: Scan): string[] {
  const named = (each: { readonly mac: string; readonly id: string }) => `  ${each.mac}  ${each.id}`;
  const list = <T extends { readonly mac: string; readonly id: string }>(
    all: readonly T[],
    line: (each: T) => string,
  ) => [
    ...all.slice(0, MAX_NAMED).map(line),
    ...(all.length > MAX_NAMED ? [`  and ${all.length - MAX_NAMED} more`] : []),
  ];
  return [
    `${plural(backups, 'complete backup')} in the object store${incomplete === 0 ? '' : `, ${incomplete} not complete`}`,
    ...(found.length === 0 ? [] : [`Not known before: ${found.length}`, ...list(found, named)]),
    ...(lost.length === 0 ? [] : [`Missing there: ${lost.length}`, ...list(lost, named)]),
    ...(mended === 0 ? [] : [`Of this station's own journal said again: ${plural(mended, 'segment')}`]),
    ...list(unreadable, (each) => `  FAILED  ${each.mac} ${each.id}: ${printable(each.error.message)}`),
    ...(foreign === 0
      ? []
      : [`Not of espd: ${plural(foreign, 'object')}, such as ${printable(foreignNames.join(', '))}`]),
  ];
}

/** Of several looks in a row what all of them brought, and the troubles of the last one. */
function together(looks: readonly News[]): Told {
  const all = <T>(of: (news: News) => readonly T[]) => [...new Set(looks.flatMap(of))].sort();
  const sum = (of: (news: News) => number) => looks.reduce((total, news) => total + of(news), 0);
  const troubles = new Map<string, Trouble>();
  for (const { troubles: each } of looks) for (const trouble of each) troubles.set(trouble.message, trouble);
  return {
    ...{ stations: all((news) => news.stations), macs: all((news) => news.macs) },
    ...{ described: all((news) => news.described), foreign: all((news) => news.foreign) },
    ...{ backups: sum((news) => news.backups), removed: sum((news) => news.removed), marks: sum((news) => news.marks) },
    troubles: [...troubles.values()],
  };
}
