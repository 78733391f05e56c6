/** `espd status` for people: what is where, what is done, what needs somebody. Pure. */

import type { StatusDocument } from '../../client/status-document.ts';
import type { JobView, PortView } from '../../daemon/station.ts';
import { freshnessLines } from '../../replication/journal/freshness.ts';
import { formatTable, plural } from '../text.ts';
import { clockOf, markOf, placeOf, resultText } from './words.ts';

/** Of the last results so many are shown. */
const RESULTS = 5;
/** Of what cannot be read of other stations so much is told. */
const MAX_TROUBLES = 3;

/** @param rows lines that there is room for: longer lists are cut, and say so */
export function statusLines(status: StatusDocument, rows = Infinity): string[] {
  const { ports, jobs, attention, counters } = status;
  const called = new Map(ports.map((view) => [view.port, placeOf(view)]));
  const needy = attention.map(({ at, port, mac, about, error }) => {
    const where =
      [port === null ? null : (called.get(port) ?? port), mac].filter((part) => part !== null).join(' ') || about;
    return { text: `${clockOf(at)}  ${where}: ${error.message} (${error.code})`, hint: error.hint };
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
  const attentionRows = needy.flatMap(({ text, hint }) => [`  ${text}`, ...(hint === '' ? [] : [`    ${hint}`])]);
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
  const atPorts = take(portRows(ports), 'port', Math.ceil((room * 2) / 3));
  const working = take(queue.map(queueRow), 'job', 3);
  const ended = take(formatTable(results.map(resultRow)).map(indented), 'result', RESULTS);
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

function portRows(ports: readonly PortView[]): string[] {
  return formatTable(
    ports.map((view) => {
      const { mark, why } = markOf(view);
      const again = view.state === 'failed' && view.retryAt !== null ? `, again at ${clockOf(view.retryAt)}` : '';
      const said = `${mark}${again}${why === '' ? '' : `: ${why}`}`;
      return [placeOf(view), view.mac ?? '-', view.chip ?? '-', said];
    }),
  ).map(indented);
}

function queueRow({ job, kind, state, queuedAt }: JobView): string {
  return `  ${job}  ${kind}, ${state} since ${clockOf(queuedAt)}`;
}

function resultRow({ endedAt, kind, port, mac, result, error, state }: JobView): string[] {
  const said = result === null ? (error === null ? state : `${error.message} (${error.code})`) : resultText(result);
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
