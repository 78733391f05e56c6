/** How facts are worded and laid out for people and scripts. Pure. */

import { replaceUnprintable } from '../printable.ts';

/** `4 MB`, `1.2 MB`, `1.5 TB`, `512 KB`, `96 bytes`: powers of 1024, as flash is sold and esptool words it. */
export function formatSize(bytes: number): string {
  const units = [
    { bytes: 1024 ** 4, name: 'TB' },
    { bytes: 1024 ** 3, name: 'GB' },
    { bytes: 1024 * 1024, name: 'MB' },
    { bytes: 1024, name: 'KB' },
  ];
  for (const unit of units) {
    if (bytes < unit.bytes) continue;
    const value = bytes / unit.bytes;
    return `${Number.isInteger(value) ? value : value.toFixed(1)} ${unit.name}`;
  }
  return plural(bytes, 'byte');
}

/** A long time, rounded up to minutes, in its two largest units: `6 d 23 h`, `45 min`. */
export function formatSpan(ms: number): string {
  const minutes = Math.max(1, Math.ceil(ms / 60_000));
  const parts: readonly (readonly [count: number, unit: string])[] = [
    [Math.floor(minutes / 1440), 'd'],
    [Math.floor(minutes / 60) % 24, 'h'],
    [minutes % 60, 'min'],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  const told = parts.slice(first, first + 2).filter(([count]) => count > 0);
  return told.map(([count, unit]) => `${count} ${unit}`).join(' ');
}

/** `1 board`, `3 boards`. */
export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/**
 * Broken between words into lines of at most `width` characters; a longer word has a line of its own. What is in double
 * quotes is one word, for it may be a command to copy.
 * @param indent before every line but the first, part of the width
 */
export function wrapText(text: string, width: number, indent = ''): string[] {
  const lines: string[] = [];
  for (const word of text.match(/(?:"[^"]*"|\S)+/g) ?? []) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(last === undefined ? word : indent + word);
  }
  return lines;
}

/** The same for a remark with commands of espd to copy, each in one piece: what is too long the terminal wraps itself. */
export function wrapRemark(text: string, width: number, indent = ''): string[] {
  if (text.length <= width) return [text];
  const pieces = text.split(/(?<=^|: )(?=espd )/);
  return pieces.flatMap((piece, index) => {
    const lines = piece.startsWith('espd ') ? [piece.trimEnd()] : wrapText(piece, width, indent);
    return index === 0 ? lines : lines.map((line, at) => (at === 0 ? indent + line : line));
  });
}

/** Columns padded to their widest cell, two spaces between; the first row is the heading. */
export function formatTable(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, index) => (widths[index] = Math.max(widths[index] ?? 0, cell.length)));
  return rows.map((row) =>
    row
      .map((cell, index) => (index === row.length - 1 ? cell : cell.padEnd(widths[index] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
}

/** A value as an indented JSON document in which no character can steer a terminal or reorder text. */
export function jsonText(value: unknown): string {
  return escaped(JSON.stringify(value, null, 2));
}

/** The same on one line, for streams. */
export function jsonLine(value: unknown): string {
  return escaped(JSON.stringify(value));
}

function escaped(json: string): string {
  // JSON.stringify escapes the characters below U+0020 itself.
  return json.replace(/[\u007f-\u009f\p{Cf}\p{Zl}\p{Zp}]/gu, (character) =>
    Array.from(
      { length: character.length },
      (_, unit) => `\\u${character.charCodeAt(unit).toString(16).padStart(4, '0')}`,
    ).join(''),
  );
}

/** A part of a line that stands out. The style is beside the text, never in it: no text can bring one along. */
export interface Styled {
  readonly style: keyof typeof STYLES;
  readonly text: string;
}

/** One part of a line of `Output`. */
export type Span = string | Styled;

/** SGR sequences that begin and end a style (ECMA-48, 8.3.117). */
const STYLES = {
  bold: ['\x1b[1m', '\x1b[22m'],
  dim: ['\x1b[2m', '\x1b[22m'],
  red: ['\x1b[31m', '\x1b[39m'],
  green: ['\x1b[32m', '\x1b[39m'],
  yellow: ['\x1b[33m', '\x1b[39m'],
  cyan: ['\x1b[36m', '\x1b[39m'],
  // Bands, to be told apart by their colour from where no letter can be read: inverse (SGR 7), so that the letters in
  // them have the ground's colour on every theme.
  greenBand: ['\x1b[32m\x1b[7m', '\x1b[27m\x1b[39m'],
  redBand: ['\x1b[31m\x1b[7m', '\x1b[27m\x1b[39m'],
  yellowBand: ['\x1b[33m\x1b[7m', '\x1b[27m\x1b[39m'],
  cyanBand: ['\x1b[36m\x1b[7m', '\x1b[27m\x1b[39m'],
  plainBand: ['\x1b[7m', '\x1b[27m'],
} as const;

export function bold(text: string): Styled {
  return { style: 'bold', text };
}

export function dim(text: string): Styled {
  return { style: 'dim', text };
}

export function red(text: string): Styled {
  return { style: 'red', text };
}

export function green(text: string): Styled {
  return { style: 'green', text };
}

export function yellow(text: string): Styled {
  return { style: 'yellow', text };
}

export function cyan(text: string): Styled {
  return { style: 'cyan', text };
}

/** One line of the parts, each made printable; the only control sequences in it are those of the styles. */
export function renderLine(spans: readonly Span[], styled: boolean): string {
  return spans
    .map((span) => {
      if (typeof span === 'string') return printable(span);
      const [begin, end] = styled ? STYLES[span.style] : ['', ''];
      return begin + printable(span.text) + end;
    })
    .join('');
}

/** Text in which nothing steers a terminal: texts of devices and archives must not. */
export function printable(text: string): string {
  return replaceUnprintable(text, '\u00b7');
}

/** Of a backup that was made with --flash-size, without a full stop. */
export const SIZE_TOLD = 'the size of the flash was told by a person: its id does not tell it';
