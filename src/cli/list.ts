/** `espd list`: the boards of the archive, those that are asked for. */

import { chipChangeText } from '../archive/chip-change.ts';
import type { ArchiveProblem, BoardOverview } from '../archive/types.ts';
import type { ArchiveSizes } from '../archive/size-types.ts';
import { stationTexts } from '../archive/station-text.ts';
import { EspdError } from '../errors.ts';
import { halfRestoredText } from '../transfer/half-restored.ts';
import { type Told, type boardJson, newestOf, overviewJson } from '../documents/board.ts';
import { problemJson } from '../documents/problem.ts';
import { noteForeign, noteProblems } from './archive-notes.ts';
import type { CommandContext } from './context.ts';
import { csvText } from './csv.ts';
import { type ListFilter, type ListedBoard, type SortKey, fits, hidesUnknownVersion, sorted } from './list-filter.ts';
import {
  freeText,
  measureBoards,
  savedText,
  sharedText,
  sizeJson,
  sizesCsv,
  sizesTable,
  totalsJson,
} from './list-sizes.ts';
import { listTable } from './list-table.ts';
import { plural, printable } from './text.ts';
import { useUsualHeap } from './usual-heap.ts';

/** So many boards between two looks at the line of progress. */
const PROGRESS_STEP = 64;

export interface ListCommandOptions extends ListFilter {
  readonly sort: SortKey;
  readonly reverse?: boolean;
  readonly csv?: boolean;
  readonly sizes?: boolean;
}

/** One board, as it was found, as it is told to scripts, and as filters and order see it. */
interface Row extends ListedBoard {
  readonly overview: BoardOverview;
  readonly json: ReturnType<typeof boardJson>;
}

export async function list(context: CommandContext, options: ListCommandOptions): Promise<undefined> {
  const { archive, out, signal, clock } = context;
  if (options.csv === true && out.json) {
    throw new EspdError('usage', '--csv and --json are two forms of one result', { hint: 'Give one of them' });
  }
  useUsualHeap();
  const onProgress = (done: number, of: number) => {
    if (done % PROGRESS_STEP === 0) out.status(`Reading the archive: ${done} of ${plural(of, 'board')}`);
  };
  const overview = await archive.overview({ signal, onProgress, allThreads: true }).finally(() => out.status(''));
  const all: Row[] = [];
  for (const board of overview.boards) all.push(await rowOf(context, board));
  const now = clock.date().getTime();
  const fitting = all.filter((row) => fits(row, options, now));
  const macs = fitting.map(({ overview: { mac } }) => mac);
  const sizes = options.sizes === true ? await measureBoards(context, macs) : null;
  const rows = sorted(
    sizes === null
      ? fitting
      : fitting.map((row) => ({ ...row, sizeBytes: sizeJson(sizes, row.overview.mac).diskBytes })),
    options.sort,
    options.reverse === true,
  );

  const shown = rows.map((row) => row.overview);
  const found = withMeasured([...overview.problems, ...shown.flatMap(({ problems }) => problems)], sizes);
  const strangers = [...overview.foreign, ...shown.flatMap(({ foreign }) => foreign)];
  const boards = rows.map(({ json }) => (sizes === null ? json : { ...json, ...sizeJson(sizes, json.mac) }));
  const totals = sizes === null ? {} : totalsJson(sizes);
  out.document({ boards, total: all.length, ...totals, problems: found.map(problemJson), foreign: strangers });
  if (options.csv === true) out.text(sizes === null ? csvOf(rows) : sizesCsv(boards, sizes));
  else printTable(context, rows, all.length, sizes);
  // A spreadsheet takes the table alone.
  const say = (line: string) => (options.csv === true ? out.note(line) : out.line(line));
  for (const { mac, chipChange } of shown) {
    if (chipChange !== null) say(`${mac}: ${chipChangeText(chipChange)}`);
  }
  for (const { mac, halfRestored } of shown) {
    if (halfRestored === null) continue;
    const { message, hint } = halfRestoredText(mac, halfRestored, context.call);
    say(message);
    say(`  ${hint}`);
  }
  const unknown = all.filter((row) => hidesUnknownVersion(row, options)).length;
  if (unknown > 0)
    out.note(`note: of ${plural(unknown, 'board')} with this firmware the version is unknown: not listed`);
  noteProblems(out, found);
  noteForeign(out, strangers);
  return undefined;
}

/** A fault that both looks at a board have met is told once. */
function withMeasured(found: readonly ArchiveProblem[], sizes: ArchiveSizes | null): readonly ArchiveProblem[] {
  const measured = sizes?.boards.flatMap(({ problems }) => problems) ?? [];
  const isNew = ({ file, problem }: ArchiveProblem) =>
    !found.some((each) => each.file === file && each.problem === problem);
  return [...found, ...measured.filter(isNew)];
}

async function rowOf(context: CommandContext, overview: BoardOverview): Promise<Row> {
  const { mac, about, problems, halfRestored } = overview;
  const newest = newestOf(overview);
  const { json, onIt } = await overviewJson(context, overview);
  return {
    ...{ mac, overview, json },
    ...{ label: about.label, group: about.group },
    ...{ sizeBytes: json.sizeBytes, backups: json.backups, lastSeen: json.lastSeen },
    chip: newest === null ? null : newest.manifest.chip,
    firmware: firmwareOf(onIt),
    isDamaged: problems.length > 0,
    isHalfRestored: halfRestored !== null,
  };
}

function firmwareOf(backup: Told | null): ListedBoard['firmware'] {
  return backup?.manifest.contents.firmware ?? null;
}

function printTable(
  { archive, out }: CommandContext,
  rows: readonly Row[],
  total: number,
  sizes: ArchiveSizes | null,
): void {
  if (total === 0) {
    out.line(`No backups yet in ${archive.root}`);
    return;
  }
  if (rows.length === 0) {
    out.line(`None of ${plural(total, 'board')} fits`);
    return;
  }
  if (sizes !== null) {
    const sized = rows.map(({ json }) => json);
    out.table(sizesTable(sized, sizes));
    out.line(freeText(sizes));
    const saved = savedText(sizes);
    if (saved !== null) out.line(saved);
    const shared = sharedText(sizes);
    if (shared !== null) out.note(shared);
    return;
  }
  const stationNames = stationTexts(rows.flatMap(({ json }) => json.lastSeenBy ?? []));
  const boards = rows.map(({ json }) => ({
    ...json,
    label: json.label === null ? null : printable(json.label),
    group: json.group === null ? null : printable(json.group),
    seenBy: json.lastSeenBy === null ? null : (stationNames.get(json.lastSeenBy) ?? null),
    about: json.chip === null && json.firmware === null ? reasonFor(json) : (json.firmware ?? '-'),
  }));
  const table = listTable(boards, out.columns);
  out.table(table.rows);
  if (table.leftOut.length > 0) out.note(`note: no room for ${table.leftOut.join(', ')}; --csv and --json tell all`);
}

/** Why a row has neither chip nor size. */
function reasonFor({ backups, halfRestored }: { backups: number; halfRestored: object | null }): string {
  if (backups > 0) return 'no backup that can be read: see below';
  return halfRestored === null ? 'no backup yet: the first was interrupted' : 'no backup; half restored: see below';
}

const CSV_HEADING = [
  ...['mac', 'label', 'group', 'note', 'chip', 'size_bytes', 'backups', 'first', 'latest', 'last_seen'],
  ...['firmware', 'firmware_version', 'half_restored', 'problems'],
];
/** Only where something lies in a store. */
const CSV_PLACES = ['here', 'in_store', 'last_seen_by'];

function csvOf(rows: readonly Row[]): string {
  const text = (value: string | null) => (value === null ? null : printable(value));
  const hasPlaces = rows.some(({ json }) => json.places !== null);
  return csvText([
    [...CSV_HEADING, ...(hasPlaces ? CSV_PLACES : [])],
    ...rows.map(({ json, firmware, isHalfRestored, overview }) => [
      ...[json.mac, text(json.label), text(json.group), text(json.note), text(json.chip)],
      ...[json.sizeBytes, json.backups, json.first, json.latest, json.lastSeen],
      ...[text(firmware?.name ?? null), text(firmware?.version ?? null)],
      ...[isHalfRestored ? 'yes' : 'no', overview.problems.length],
      ...(hasPlaces ? [json.places?.here ?? json.backups, json.places?.store ?? 0, json.lastSeenBy] : []),
    ]),
  ]);
}
