/** A comparison of two images as people read it, in lines of at most 79 characters. Pure. */

import type {
  ContentsComparison,
  FileChange,
  FlashComparison,
  NvsKeyChange,
  NvsValue,
  Pair,
  PartComparison,
  TableComparison,
} from '../firmware/compare/index.ts';
import type { AppFacts } from '../firmware/compare/index.ts';
import { type Region, SECTOR_BYTES } from '../flash.ts';
import { formatSize, plural, printable, wrapText } from './text.ts';

/** A terminal that is one column wider than this does not wrap the lines. */
const WIDTH = 79;
/** Keys or files of one part; the JSON document has all. */
const MAX_ITEMS = 40;
const MAX_PROBLEMS = 5;

/** What differs, behind a line that says of what; none for images that are equal. */
export function comparisonLines(comparison: FlashComparison): string[] {
  const { sectors, sizeBytes, contents, opaque } = comparison;
  const differing = `${sectors.differing} of ${plural(sectors.compared, 'sector')} differ`;
  const bytes = formatSize(sectors.differing * SECTOR_BYTES);
  const [before, after] = [sizeBytes.before, sizeBytes.after];
  const rows: Row[] = [['', [sectors.differing === 0 ? 'no sector differs' : `${differing} (${bytes})`]]];
  if (before !== after) {
    const common = formatSize(Math.min(before, after));
    rows.push(['size', [`${formatSize(before)} ${ARROW} ${formatSize(after)}; the first ${common} are compared`]]);
  }
  if (opaque !== null) {
    rows.push(['', ['Flash encryption is on: the image is ciphertext, so only sectors can be told']]);
  }
  return layOut([...rows, ...(contents === null ? [] : contentRows(contents))]);
}

/** Where regions lie: a line each, cut at the borders of the parts that differ. */
export function regionLines(regions: readonly Region[], parts: readonly NamedPlace[]): string[] {
  const digits = Math.max(...regions.map(({ offset, sizeBytes }) => hex(offset + sizeBytes).length));
  const pieces = regions.flatMap((region) => cut(region, parts));
  return pieces.map(({ offset, sizeBytes, name }) => {
    const range = `${hex(offset).padStart(digits)} to ${hex(offset + sizeBytes).padStart(digits)}`;
    const count = plural(Math.ceil(sizeBytes / SECTOR_BYTES), 'sector');
    return printable(`  ${range}  ${count.padEnd(13)}  ${name}`.trimEnd());
  });
}

export interface NamedPlace extends Region {
  readonly name: string;
}

/** Of the second image, and of what only the first one has. */
export function placesOf({ parts }: ContentsComparison): NamedPlace[] {
  return parts.flatMap(({ name, place }) => {
    const region = place.after ?? place.before;
    return region === null ? [] : [{ ...region, name }];
  });
}

function cut(region: Region, places: readonly NamedPlace[]): NamedPlace[] {
  const pieces: NamedPlace[] = [];
  const end = region.offset + region.sizeBytes;
  const reaches = (place: Region, at: number) => place.offset <= at && at < place.offset + place.sizeBytes;
  for (let at = region.offset; at < end;) {
    const inside = places.find((place) => reaches(place, at));
    const borders = places.flatMap(({ offset, sizeBytes }) => [offset, offset + sizeBytes]);
    const next = Math.min(end, ...borders.filter((border) => border > at));
    pieces.push({ offset: at, sizeBytes: next - at, name: inside?.name ?? '' });
    at = next;
  }
  return pieces;
}

/** What a line is about, and what is said of it. */
type Row = readonly [label: string, texts: readonly string[], items?: readonly string[]];

const ARROW = '\u2192';

function layOut(rows: readonly Row[]): string[] {
  const width = Math.max(...rows.map(([label]) => label.length), 'bootloader'.length);
  const lines: string[] = [];
  for (const [label, texts, items = []] of rows) {
    // What has no label stands at its place: it is said of the whole.
    const indent = label === '' ? 2 : 2 + width + 2;
    const wrapped = texts.flatMap((text) => wrapText(text, WIDTH - indent - 2, '  '));
    for (const [index, line] of wrapped.entries()) {
      const head = label === '' ? '  ' : `  ${(index === 0 ? label : '').padEnd(width)}  `;
      lines.push(head + line);
    }
    for (const item of items) lines.push(cutLine(`      ${item}`));
  }
  return lines.map((line) => printable(line));
}

/** Long names are cut: wrapped, they would look like two. */
function cutLine(line: string): string {
  return line.length <= WIDTH ? line : `${line.slice(0, WIDTH - 1)}\u2026`;
}

function contentRows(contents: ContentsComparison): Row[] {
  const { firmware, boots, bootloader, table, parts, problems } = contents;
  const rows: Row[] = [];
  const [was, is] = [nameText(firmware.before), nameText(firmware.after)];
  if (was !== is) rows.push(['firmware', [changeText(firmware)]]);
  if (boots.before !== boots.after)
    rows.push(['boots', [`${boots.after ?? 'nothing'}, not ${boots.before ?? 'nothing'}`]]);
  if (bootloader === 'same') rows.push(['bootloader', ['same']]);
  for (const part of parts) if (part.kind === 'bootloader') rows.push([part.name, [partText(part)]]);
  if (table !== null) rows.push(['table', tableTexts(table)]);
  for (const part of parts) {
    // What came and went is said of the table; of a part that is blank there is no more to say.
    if (part.kind === 'partition-table' || part.kind === 'bootloader') continue;
    rows.push([part.name, [partText(part), ...part.problems], items(part)]);
  }
  for (const side of ['before', 'after'] as const) {
    // What is wrong with both is no difference.
    const others = side === 'before' ? problems.after : problems.before;
    const own = problems[side].filter((problem) => !others.includes(problem));
    for (const problem of own.slice(0, MAX_PROBLEMS)) rows.push([side, [problem]]);
  }
  return rows;
}

function tableTexts({ same, offset, came, went, altered }: TableComparison): string[] {
  if (same) return ['same'];
  const texts: string[] = [];
  if (offset.before !== offset.after) {
    const place = (at: number | null) => (at === null ? 'none' : `at ${hex(at)}`);
    texts.push(`${place(offset.before)} ${ARROW} ${place(offset.after)}`);
  }
  const names = (rows: readonly { readonly name: string }[]) => rows.map(({ name }) => name).join(', ');
  if (came.length > 0) texts.push(`new: ${names(came)}`);
  if (went.length > 0) texts.push(`gone: ${names(went)}`);
  for (const { before, after } of altered) {
    const changes: string[] = [];
    if (before.offset !== after.offset) changes.push(`${hex(before.offset)} ${ARROW} ${hex(after.offset)}`);
    if (before.sizeBytes !== after.sizeBytes) {
      changes.push(`${formatSize(before.sizeBytes)} ${ARROW} ${formatSize(after.sizeBytes)}`);
    }
    const types = [before, after].map(({ type, subtype }) => `${type}/${subtype}`);
    if (types[0] !== types[1]) changes.push(types.join(` ${ARROW} `));
    if (before.encrypted !== after.encrypted) changes.push(after.encrypted ? 'now encrypted' : 'no longer encrypted');
    texts.push(`${after.name}: ${changes.join(', ')}`);
  }
  return texts.length === 0 ? ['in another order'] : texts;
}

function partText(part: PartComparison): string {
  const { change, content, sectors } = part;
  const what = content === null ? null : contentText(part);
  const count = sectors === 0 ? '' : plural(sectors, 'sector');
  if (change === 'moved') {
    const from = `moved from ${hex(part.place.before?.offset ?? 0)}`;
    return sectors === 0
      ? `${from}, content the same`
      : [from, what, `${count} of its content`].filter(Boolean).join('; ');
  }
  if (change === 'came') return ['new', what, count].filter(Boolean).join('; ');
  if (change === 'went') return ['gone', what, count].filter(Boolean).join('; ');
  return what === null ? bareText(part) : `${what}; ${count}`;
}

/** Where nothing but sectors can be told. */
function bareText({ blank, sectors, from, to }: PartComparison): string {
  const [start, end] = [from ?? 0, to ?? 0];
  const isOneRun = end - start <= sectors * SECTOR_BYTES;
  const where = sectors === 1 ? `at ${hex(start)}` : `${isOneRun ? 'from' : 'in'} ${hex(start)} to ${hex(end)}`;
  const state = blank.before === true ? ', was blank' : blank.after === true ? ', is blank now' : '';
  return `${plural(sectors, 'sector')} ${where}${state}`;
}

function contentText({ content, blank, change, problems }: PartComparison): string | null {
  switch (content?.kind) {
    case 'app':
      if (change === 'came') return appText(content.apps.after, blank.after);
      if (change === 'went') return appText(content.apps.before, blank.before);
      return appsText(content.apps, blank);
    case 'bootloader': {
      const [was, is] = [content.descriptions.before, content.descriptions.after].map((one) => one?.idfVersion ?? null);
      return was !== is
        ? `ESP-IDF ${was ?? '?'} ${ARROW} ${is ?? '?'}`
        : was === null
          ? 'changed'
          : `changed, ESP-IDF ${was}`;
    }
    case 'ota': {
      const { slot } = content;
      if (slot.before === slot.after) return `written anew; ${slot.after ?? 'nothing'} boots as before`;
      return `${slot.before ?? 'nothing'} ${ARROW} ${slot.after ?? 'nothing'} boots`;
    }
    case 'nvs':
      return countsText(content, 'key') ?? `written anew; ${unchangedText(problems, 'key')}`;
    case 'files': {
      const { before, after } = content.fileSystem;
      const kind =
        before === after ? `${after}: ` : `${before ?? 'no file system'} ${ARROW} ${after ?? 'no file system'}; `;
      const some = content.unknown.length > 0 ? `${plural(content.unknown.length, 'file')} not compared` : null;
      return kind + ([countsText(content, 'file'), some].filter(Boolean).join(', ') || unchangedText(problems, 'file'));
    }
    case undefined:
      return null;
  }
}

/** Where something could not be read, not of all. */
function unchangedText(problems: readonly string[], noun: string): string {
  return problems.length === 0 ? `every ${noun} is as it was` : `no ${noun} that could be read differs`;
}

function countsText(
  { added, changed, removed }: { added: readonly unknown[]; changed: readonly unknown[]; removed: readonly unknown[] },
  noun: string,
): string | null {
  const counts = Object.entries({ added, changed, removed }).filter(([, list]) => list.length > 0);
  if (counts.length === 0) return null;
  return counts.map(([word, { length }], index) => `${index === 0 ? plural(length, noun) : length} ${word}`).join(', ');
}

function appsText({ before, after }: Pair<AppFacts | null>, blank: PartComparison['blank']): string | null {
  if (before === null && after === null) {
    return blank.before === true ? 'an app that does not say what it is, was blank' : null;
  }
  if (before !== null && after !== null && nameText(before) === nameText(after)) {
    const builds = before.built === after.built ? '' : ` (${before.built ?? '?'} ${ARROW} ${after.built ?? '?'})`;
    return `${nameText(after)}, another build or other bytes${builds}`;
  }
  if (before !== null && after !== null) return changeText({ before, after });
  return `${appText(before, blank.before)} ${ARROW} ${appText(after, blank.after)}`;
}

function appText(app: AppFacts | null, isBlank: boolean | null): string {
  return app === null ? (isBlank === true ? 'blank' : 'no known app') : nameText(app);
}

type Named = { readonly name: string; readonly version: string | null } | null;

function nameText(named: Named): string {
  return named === null ? 'unknown' : `${named.name} ${named.version ?? ''}`.trim();
}

/** `door-sensor 1.0.0 → 1.1.0`; both names where they differ. */
function changeText({ before, after }: Pair<Named>): string {
  const isOneName = before !== null && after?.name === before.name && after.version !== null;
  return `${nameText(before)} ${ARROW} ${isOneName ? after.version : nameText(after)}`;
}

function items({ content }: PartComparison): string[] {
  if (content?.kind !== 'nvs' && content?.kind !== 'files') return [];
  const lines =
    content.kind === 'nvs'
      ? [
          ...content.added.map((change) => keyLine('+', change)),
          ...content.changed.map((change) => keyLine('~', change)),
          ...content.removed.map((change) => keyLine('-', change)),
        ]
      : [
          ...content.added.map((change) => fileLine('+', change)),
          ...content.changed.map((change) => fileLine('~', change)),
          ...content.removed.map((change) => fileLine('-', change)),
          ...content.unknown.map((change) => fileLine('?', change)),
        ];
  const more = lines.length - MAX_ITEMS;
  return more <= 0 ? lines : [...lines.slice(0, MAX_ITEMS), `... and ${more} more; --json has all`];
}

function keyLine(sign: string, { namespace, key, value }: NvsKeyChange): string {
  const { before, after } = value;
  const both = before !== null && after !== null;
  const secret = before?.secret === true || after?.secret === true ? '  (secret)' : '';
  const facts = both ? bothText(before, after) : valueText(after ?? before);
  return `${sign} ${printable(namespace)}/${printable(key)}  ${facts}${secret}`;
}

function bothText(before: NvsValue, after: NvsValue): string {
  if (before.type !== after.type) return `${valueText(before)} ${ARROW} ${valueText(after)}`;
  if (before.value !== null && after.value !== null) {
    return `${after.type} ${shownValue(before)} ${ARROW} ${shownValue(after)}`;
  }
  if (before.sizeBytes === after.sizeBytes || before.sizeBytes === null || after.sizeBytes === null) {
    return valueText(after);
  }
  return `${after.type}, ${before.sizeBytes} ${ARROW} ${plural(after.sizeBytes, 'byte')}`;
}

function valueText(value: NvsValue | null): string {
  if (value === null) return '';
  const { type, sizeBytes } = value;
  if (value.value !== null) return `${type} ${shownValue(value)}`;
  const isLong = sizeBytes !== null && (type === 'str' || type === 'blob');
  return isLong ? `${type}, ${plural(sizeBytes, 'byte')}` : type;
}

function shownValue({ type, value }: NvsValue): string {
  return type === 'str' ? `"${printable(value ?? '')}"` : printable(value ?? '');
}

function fileLine(sign: string, { path, isFolder, sizeBytes }: FileChange): string {
  const { before, after } = sizeBytes;
  const size =
    before !== null && after !== null && before !== after
      ? `${formatSize(before)} ${ARROW} ${formatSize(after)}`
      : formatSize(after ?? before ?? 0);
  return `${sign} ${printable(path)}${isFolder ? '/' : `  ${size}`}`;
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
