/** `espd stations`: who else uses the object store, and what a person says of a station that is gone for ever. */

import { EspdError } from '../../errors.ts';
import { type OtherStation, SILENT_DAYS, isAbout } from '../../replication/journal/freshness.ts';
import type { Journal } from '../../replication/journal/journal.ts';
import { countOf } from '../../replication/journal/unread.ts';
import type { OpenedFleet } from '../../replication/open.ts';
import { consentOf } from '../consent.ts';
import type { CommandContext } from '../context.ts';
import { plural, printable } from '../text.ts';
import { fleetOf, journalOf } from './open.ts';

export interface StationsCommandOptions {
  /** The name of a station, or how it begins. */
  readonly gone?: string;
  readonly back?: string;
  readonly giveUpPins: boolean;
  readonly dryRun: boolean;
  readonly yes: boolean;
}

const DEED = { infinitive: 'give up what cannot be read of its journal', participle: 'given up' };

export async function stations(
  context: CommandContext,
  options: StationsCommandOptions,
  env: NodeJS.ProcessEnv,
): Promise<EspdError | undefined> {
  const { gone, back, giveUpPins, dryRun } = options;
  if (gone !== undefined && back !== undefined) throw new EspdError('usage', 'Either --gone or --back, not both');
  if (gone === undefined && giveUpPins) throw new EspdError('usage', '--give-up-pins goes with --gone');
  if (gone === undefined && dryRun) throw new EspdError('usage', '--dry-run goes with --gone');
  const { archive, out, signal } = context;
  const fleet = fleetOf(context, env);
  try {
    const journal = journalOf(context, fleet);
    const name = gone ?? back;
    if (name === undefined) {
      await archive.checkReadable();
      list(context, await fleet.state.station(), await journal.stations());
      return undefined;
    }
    await archive.checkWritable();
    const bucket = await fleet.open(signal);
    await hearAll(context, journal, bucket);
    const station = named(name, await fleet.state.station(), await journal.stations());
    await (gone === undefined ? takeBack : giveUp)(context, { journal, bucket, station }, options);
    return undefined;
  } finally {
    out.status('');
    fleet.close();
  }
}

interface Meant {
  readonly journal: Journal;
  readonly bucket: OpenedFleet;
  readonly station: OtherStation;
}

async function hearAll({ out, signal }: CommandContext, journal: Journal, bucket: OpenedFleet): Promise<void> {
  const onProgress = (name: string, segments: number) =>
    out.status(`Reading the journal of ${printable(name)} (${plural(segments, 'segment')})`);
  while ((await journal.look(bucket, { signal, isThorough: true, onProgress })).isMore);
  out.status('');
}

async function giveUp(
  context: CommandContext,
  { journal, bucket, station }: Meant,
  { giveUpPins, ...how }: StationsCommandOptions,
): Promise<void> {
  const { clock, out, signal } = context;
  const { name, lost, gone, isOwn } = station;
  const shown = printable(name);
  const said = (isSaid: boolean) =>
    out.document({ station: name, segments: lost, keepsBackups: !giveUpPins, said: isSaid });
  if (lost.length === 0) {
    out.paragraph(`Nothing of the journal of ${shown} is lost, so nothing needs to be said of it`, '  ');
    said(false);
    return;
  }
  if (isAbout(station, clock.date())) {
    throw new EspdError('usage', `${shown} was heard at ${timeOf(station.heardAt)}, so it is not gone`, {
      hint: `Run "espd pull --scan" on it: it then says again what cannot be read. A station that has said nothing for ${SILENT_DAYS} days can be given up`,
    });
  }
  if (gone !== null && station.givenUp === countOf(lost) && gone.keepsBackups === !giveUpPins) {
    out.paragraph(`${shown} was given up at ${timeOf(gone.at)} by ${printable(gone.by)}`, '  ');
    said(false);
    return;
  }
  const lines = [
    isOwn === true
      ? `${shown} is this station itself: its archive does not have any more what it has said there`
      : `${shown} was last heard at ${timeOf(station.heardAt)}`,
    `${plural(countOf(lost), 'segment')} of its journal cannot be read. The first: ${printable(station.problem ?? '')}`,
    giveUpPins
      ? 'Pins that only these segments tell of are lost: retention may remove those backups'
      : 'Every backup that lies in the object store now stays there, since it may be pinned; later ones go by the policy',
    isOwn === true
      ? 'If a fuller copy of this archive exists, put it back first: what stands in the archive counts, whoever reads what'
      : 'Its backups stay, and so does all that was heard of it. If it comes back, it goes on as before',
  ];
  for (const line of lines) out.paragraph(line, '  ');
  const consent = consentOf(out, how, DEED);
  const question = isOwn === true ? 'Give up what cannot be read of it?' : `Is ${shown} gone for ever?`;
  if (!(await consent(question, []))) {
    if (how.dryRun) out.note('Nothing was said to the other stations: this was a dry run');
    else
      throw new EspdError('declined', 'Nothing was said to the other stations', {
        hint: 'Answer yes, or pass --yes in a script',
      });
    said(false);
    return;
  }
  await journal.sayGone(bucket, { station: name, segments: [...lost], keepsBackups: !giveUpPins }, signal);
  await hearAll(context, journal, bucket);
  out.paragraph(`Said to all stations: what cannot be read of the journal of ${shown} is given up`, '  ');
  said(true);
}

async function takeBack(context: CommandContext, { journal, bucket, station }: Meant): Promise<void> {
  const { out, signal } = context;
  const { name, gone } = station;
  if (gone === null) out.line(`Nobody has given ${printable(name)} up`);
  else {
    await journal.sayGone(bucket, { station: name, segments: [], keepsBackups: true }, signal);
    await hearAll(context, journal, bucket);
    out.paragraph(
      `Said to all stations: ${printable(name)} is not gone. What cannot be read of its journal is missed again`,
      '  ',
    );
  }
  out.document({ station: name, segments: [], keepsBackups: true, said: gone !== null });
}

/** @throws EspdError `usage` where it is none of them, or not the only one */
function named(text: string, own: string, all: readonly OtherStation[]): OtherStation {
  const exact = all.find(({ name }) => name === text);
  if (exact !== undefined) return exact;
  if (text === own) throw new EspdError('usage', `${printable(text)} is this station itself: it is not gone`);
  const found = all.filter(({ name }) => name.startsWith(text));
  const [only] = found;
  if (found.length === 1 && only !== undefined) return only;
  const names = (found.length === 0 ? all : found).map(({ name }) => printable(name)).join(', ');
  throw new EspdError(
    'usage',
    found.length === 0 ? `No station is called ${printable(text)}` : `${printable(text)} means several stations`,
    { hint: names === '' ? 'No other station has a journal in the object store' : `Those that are known: ${names}` },
  );
}

function list({ out }: CommandContext, own: string, all: readonly OtherStation[]): void {
  const rows = all.map((station) => [
    printable(station.name),
    station.isOwn === true ? 'this one' : timeOf(station.heardAt),
    journalText(station),
  ]);
  out.line(`This station is ${printable(own)}`);
  if (rows.length === 0) out.line('No other one is known; espd pull asks the object store');
  else out.table([['STATION', 'LAST HEARD', 'JOURNAL'], ...rows]);
  out.document({ station: own, stations: all });
}

function journalText({ unread, gone, givenUp, isOwn }: OtherStation): string {
  const left = unread - givenUp;
  const station = isOwn === true ? '' : 'gone; ';
  const parts = [
    ...(left > 0 ? [`${plural(left, 'segment')} cannot be read`] : []),
    ...(givenUp > 0 ? [`${station}${plural(givenUp, 'segment')} given up at ${timeOf(gone?.at ?? null)}`] : []),
  ];
  return parts.join('; ') || 'read';
}

function timeOf(at: string | null): string {
  return at === null ? 'never' : `${at.slice(0, 16).replace('T', ' ')} UTC`;
}
