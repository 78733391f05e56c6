/** A plan of a restore as people read it. Pure. */

import type { PartShare } from '../firmware/index.ts';
import { SECTOR_BYTES } from '../flash.ts';
import type { RestorePlan, SnapshotPlan } from '../transfer/restore/plan.ts';
import { formatSize, formatTable, plural, printable, wrapText } from './text.ts';

const LABEL_WIDTH = 11;
/** A terminal that is one column wider than this does not wrap the lines. */
const PLAN_WIDTH = 79;
const TEXT_WIDTH = PLAN_WIDTH + 1 - 2 - LABEL_WIDTH;

/** Lines without styles, for a terminal or a file. */
export function planLines(plan: RestorePlan): string[] {
  const { backup, board } = plan;
  const firmware = [backup.firmware?.name ?? '', backup.firmware?.version ?? ''].join(' ').trim();
  const of = backup.mac === board.mac ? '' : ` of ${backup.mac}`;
  return [
    ...wrapText(`Restore of ${board.mac} (${board.chip} ${board.revision} at ${board.port})`, PLAN_WIDTH, '  '),
    ...labelled('backup', [
      ...wrapText(`${backup.id}${of}, ${formatAge(backup.ageSeconds)}, ${backup.why}; verified`, TEXT_WIDTH),
      ...wrapText(
        `${backup.chip}, ${formatSize(backup.sizeBytes)}${firmware === '' ? '' : `, ${firmware}`}`,
        TEXT_WIDTH,
      ),
    ]),
    ...(plan.scope === null ? [] : labelled('only', plan.scope.map(scopeText))),
    ...labelled('stays', [
      ...plan.kept.parts.map(scopeText),
      ...plan.kept.notes.flatMap((note) => wrapText(note, TEXT_WIDTH, '  ')),
    ]),
    ...(plan.halfRestored === null ? [] : labelled('unfinished', unfinishedLines(plan.halfRestored.snapshot))),
    ...labelled('differs', differenceLines(plan)),
    ...(plan.sectors === 0 ? [] : labelled('takes', [timeText(plan)])),
    ...(plan.sectors === 0 ? [] : labelled('kept', [snapshotText(plan.snapshot)])),
    ...labelled(
      'at risk',
      plan.risks.flatMap((risk) => wrapText(risk, TEXT_WIDTH, '  ')),
    ),
    ...labelled(
      'bound',
      plan.boundToMac.flatMap(({ part, offset, what }) =>
        wrapText(`${part}${offset === null ? '' : ` at ${hex(offset)}`} ${what}`, TEXT_WIDTH, '  '),
      ),
    ),
  ].map((line) => printable(line));
}

function labelled(label: string, lines: readonly string[]): string[] {
  return lines.map((line, index) => `  ${(index === 0 ? label : '').padEnd(LABEL_WIDTH)}${line}`);
}

function unfinishedLines(snapshot: string | null): string[] {
  const lines = ['an earlier restore of this board was interrupted'];
  return snapshot === null ? lines : [...lines, `what was on it before that is in the archive: ${snapshot}`];
}

function scopeText({ name, offset, sizeBytes }: { name: string | null; offset: number; sizeBytes: number }): string {
  return `${name === null ? '' : `${name}, `}${hex(offset)} to ${hex(offset + sizeBytes)} (${formatSize(sizeBytes)})`;
}

function differenceLines({ parts, sectors, bytes, backup }: RestorePlan): string[] {
  if (sectors === 0) return ['nothing: the flash holds it already'];
  const rows = parts.map((part) => [
    part.name,
    part.kind === 'partition' ? `${part.type}/${part.subtype}` : '',
    placeText(part),
    plural(part.sectors, 'sector'),
    formatSize(part.bytes),
  ]);
  return [
    `${sectors} of ${plural(backup.sizeBytes / SECTOR_BYTES, 'sector')}, ${formatSize(bytes)}`,
    ...formatTable(rows),
  ];
}

/** Where the difference is, not where its part begins; `in` where sectors between them are equal. */
function placeText({ from, to, bytes }: PartShare): string {
  if (bytes === SECTOR_BYTES) return `at ${hex(from)}`;
  return `${to - from === bytes ? 'from' : 'in'} ${hex(from)} to ${hex(to)}`;
}

function timeText({ estimate, snapshot }: RestorePlan): string {
  const seconds = Math.max(1, Math.ceil(estimate.seconds));
  return `about ${formatSeconds(seconds)}${snapshot.kind === 'made' ? ', and before that the time of a backup' : ''}`;
}

function snapshotText(snapshot: SnapshotPlan): string {
  if (snapshot.kind === 'made') return 'what is on the board now is backed up first';
  if (snapshot.kind === 'exists') return `what is on the board now is in the archive: ${snapshot.id}`;
  const reasons = {
    blank: 'nothing: the flash is blank',
    'not-wanted': 'nothing (--no-snapshot): what is on the board now is lost',
    'half-restored': 'nothing: what is on the board now is half of two images',
    'nothing-to-write': '',
  };
  return reasons[snapshot.because];
}

/** `12 minutes old`. */
export function formatAge(seconds: number): string {
  const units: [number, string][] = [
    [24 * 3600, 'day'],
    [3600, 'hour'],
    [60, 'minute'],
  ];
  for (const [length, name] of units) {
    if (seconds >= length) return `${plural(Math.floor(seconds / length), name)} old`;
  }
  return 'just made';
}

function formatSeconds(seconds: number): string {
  return seconds < 120 ? `${seconds} s` : `${Math.ceil(seconds / 60)} minutes`;
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
