/** `espd status` for people: what is where, what is done, what needs somebody. Pure. */

import type { StatusDocument } from '../../client/status-document.ts';
import type { JobView, PortView } from '../../daemon/station.ts';
import { freshnessLines } from '../../replication/journal/freshness.ts';
import { formatTable, plural, wrapText } from '../text.ts';
import { clockOf, markOf, placeOf, resultText } from './words.ts';

/** Of the last results so many are shown. */
const RESULTS = 5;
/** Of what cannot be read of other stations so much is told. */
const MAX_TROUBLES = 3;

/** Characters and lines that there is room for. */
interface Room {
  readonly rows: number;
  readonly columns: number;
}

/** Longer lists are cut, and say so; what somebody has to read is never cut, but goes on below. */
export function statusLines(
  status: StatusDocument,
  { rows, columns }: Room = { rows: Infinity, columns: Infinity },
): string[] {
  const { ports, jobs, attention, counters } = status;
  const called = new Map(ports.map((view) => [view.port, placeOf(view)]));
  const needy = attention.map(({ at, port, mac, about, error }) => {
    const where =
      [port === null ? null : (called.get(port) ?? port), mac].filter((part) => part !== null).join(' ') || about;
    return { at: `${clockOf(at)}  `, text: `${where}: ${error.message} (${error.code})`, hint: error.hint };
  });
  const results = jobs
    .filter(({ endedAt, state }) => endedAt !== null && state !== 'dropped')
    .slice(-RESULTS)
    .reverse();
  const queue = jobs.filter(({ port, endedAt }) => endedAt === null && port === null);
  const head = [
    `espd ${status.version}, ${status.isStopping ? 'stopping' : `watching since ${dayOf(status.startedAt)}`}`,
    `Archive ${status.archive}`,
    `${counters.backups} backed up, ${counters.unchanged} unchanged, ${counters.failures} failed since then`,
    ...fleetLines(status),
  ];
  // Each list has a blank line and a heading; a hint stands below what it is about.
  const fixed = head.length + 2 * [ports, results, needy, queue].filter((list) => list.length > 0).length + 1;
  const attentionRows = needy.flatMap(({ at, text, hint }) => [
    ...wrapText(text, columns - 2 - at.length).map((line, index) =>
      indented((index === 0 ? at : ' '.repeat(at.length)) + line),
    ),
    ...(hint === '' ? [] : wrapText(hint, columns - 4).map((line) => indented(indented(line)))),
  ]);
  let room = Math.max(6, rows - fixed);
  const take = (lines: readonly string[], what: string, most: number): string[] => {
    const share = Math.max(1, Math.min(most, room));
    const shown =
      lines.length <= share
        ? lines
        : [...lines.slice(0, share - 1), `  ... ${plural(lines.length - share + 1, what)} more`];
    room -= shown.length;
    return [...shown];
  };
  const needs = take(attentionRows, 'line', Math.ceil(room / 3));
  const atPorts = take(portRows(ports, columns), 'port', Math.ceil((room * 2) / 3));
  const working = take(queue.map(queueRow), 'job', 3);
  const ended = take(resultRows(results, columns), 'result', RESULTS);
  return [
    ...head,
    ...section('Needs attention', needs),
    ...(ports.length === 0 ? ['', 'No port is there: plug a board in'] : section('Ports', atPorts)),
    ...section('Jobs at no port', working),
    ...section('Last results', ended),
  ];
}

function section(heading: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : ['', heading, ...lines];
}

function indented(line: string): string {
  return `  ${line}`;
}

/** Column of the ports that is left out first. */
const CHIP = 2;

/** What comes of a port stands in full; where there is no room, the chip is left out, and then the reason is cut. */
function portRows(ports: readonly PortView[], columns: number): string[] {
  const rows = ports.map((view) => {
    const { mark, why } = markOf(view);
    const again = view.state === 'failed' && view.retryAt !== null ? `, again at ${clockOf(view.retryAt)}` : '';
    const short = `${mark}${again}`;
    return { view, short, said: `${short}${why === '' ? '' : `: ${why}`}` };
  });
  const full = rows.map(({ view, said }) => [placeOf(view), view.mac ?? '-', view.chip ?? '-', said]);
  const withShort = rows.map(({ view, short }) => [placeOf(view), view.mac ?? '-', view.chip ?? '-', short]);
  const isRoomFor = (cells: readonly string[][]) => formatTable(cells).every((line) => line.length <= columns - 2);
  return formatTable(isRoomFor(withShort) ? full : full.map((cells) => cells.filter((_, index) => index !== CHIP))).map(
    indented,
  );
}

function queueRow({ job, kind, state, queuedAt }: JobView): string {
  return `  ${job}  ${kind}, ${state} since ${clockOf(queuedAt)}`;
}

/** The id of a backup is left out where there is no room for all of it: `espd show` has it. */
function resultRows(results: readonly JobView[], columns: number): string[] {
  const tableOf = (hasId: boolean) => formatTable(results.map((job) => resultRow(job, hasId)));
  const isBackup = results.map(({ result }) => result !== null);
  const hasRoom = tableOf(true).every((line, index) => !isBackup[index] || line.length <= columns - 2);
  return tableOf(hasRoom).map(indented);
}

function resultRow({ endedAt, kind, port, mac, result, error, state }: JobView, hasId: boolean): string[] {
  const said =
    result === null ? (error === null ? state : `${error.message} (${error.code})`) : resultText(result, { hasId });
  return [clockOf(endedAt ?? ''), mac ?? port ?? '-', result === null ? `${kind}: ${said}` : said];
}

function dayOf(at: string | null): string {
  return at === null ? 'a moment ago' : `${at.slice(0, 10)} ${clockOf(at)}`;
}

/** Who is silent, and what cannot be read, has a line each; all is well in one. */
function fleetLines({ fleet }: StatusDocument): string[] {
  if (fleet === null) return [];
  const troubles = fleet.troubles.map(({ message }) => message);
  return [...freshnessLines(fleet), ...troubles.slice(0, MAX_TROUBLES)];
}
