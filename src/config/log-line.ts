/**
 * One log entry as one line. Pure.
 *
 * Texts in it come from devices and files: no control or formatting character of theirs reaches a terminal or the
 * journal, none of them ends the line, and none is endless.
 */

import { escapeOf, replaceUnprintable } from '../printable.ts';
import { EspdError } from '../errors.ts';
import type { LogFields } from '../log.ts';
import type { LogLevel } from './schema.ts';

export interface LogEntry {
  readonly time: Date;
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: LogFields;
}

const TEXT_LIMIT_CHARACTERS = 4000;
const BYTES_SHOWN = 64;

/** ANSI colors of the levels: red, yellow, green, gray. */
const COLORS: Readonly<Record<LogLevel, number>> = { error: 31, warn: 33, info: 32, debug: 90 };

/** Priorities of sd-daemon(3), which journald reads from `<N>` at the beginning of a line. */
const JOURNAL_PRIORITIES: Readonly<Record<LogLevel, number>> = { error: 3, warn: 4, info: 6, debug: 7 };

/** `2026-11-23T10:00:00.000Z INFO  board saved mac=50:02:91:c3:37:a5 seconds=9` */
export function textLine(entry: LogEntry, color: boolean): string {
  const paint = (code: number, text: string) => (color && text !== '' ? `\u001b[${code}m${text}\u001b[0m` : text);
  const level = entry.level.toUpperCase().padEnd(5);
  return `${paint(2, entry.time.toISOString())} ${paint(COLORS[entry.level], level)} ${visible(entry.message)}${paint(2, pairs(entry.fields))}`;
}

/** The journal has its own time stamp, and its own mark for the level. */
export function journalLine(entry: LogEntry): string {
  return `<${JOURNAL_PRIORITIES[entry.level]}>${visible(entry.message)}${pairs(entry.fields)}`;
}

/** One JSON object; a field named like one of the entry's own (`time`, `level`, `message`) gets `_` behind its name. */
export function jsonLine(entry: LogEntry): string {
  const own = { time: entry.time.toISOString(), level: entry.level, message: entry.message };
  const members = [
    ...Object.entries(own),
    ...present(entry.fields).map(([key, value]): [string, unknown] => [key in own ? `${key}_` : key, value]),
  ];
  return `{${members.map(([key, value]) => `${json(key)}:${json(value)}`).join(',')}}`;
}

/** Control, formatting, unpaired and unassigned characters and line separators as escapes; long texts cut. */
function visible(text: string): string {
  return replaceUnprintable(
    cut(text),
    (character) => ({ '\n': '\\n', '\r': '\\r', '\t': '\\t' })[character] ?? escapeOf(character),
  );
}

/** ` key=value` for every field that has a value. */
function pairs(fields: LogFields): string {
  return present(fields)
    .map(([key, value]) => ` ${visible(key)}=${fieldText(value)}`)
    .join('');
}

function present(fields: LogFields): [string, unknown][] {
  return Object.entries(fields).filter(([, value]) => value !== undefined);
}

function fieldText(value: unknown): string {
  if (typeof value !== 'string' && !(value instanceof Error)) return json(value);
  const text = typeof value === 'string' ? value : errorText(value);
  if (/^[\w.:/@+,%~-]+$/.test(text)) return cut(text);
  return `"${visible(text.replace(/["\\]/g, '\\$&'))}"`;
}

/** An error that a person can act on in one clause; any other with the stack that its mending needs. */
function errorText(error: Error): string {
  if (!(error instanceof EspdError)) return error.stack ?? `${error.name}: ${error.message}`;
  const cause = error.code === 'internal' && error.cause instanceof Error ? ` (${errorText(error.cause)})` : '';
  return `${error.code}: ${error.message}${cause}`;
}

/** JSON text in which nothing but printable characters is left. */
function json(value: unknown): string {
  let text: string | undefined;
  try {
    // Undefined for a function or a symbol, whatever the declaration says.
    text = JSON.stringify(value, plainMember);
  } catch {
    text = undefined;
  }
  return replaceUnprintable(text ?? '"(unprintable)"', (character) =>
    Array.from({ length: character.length }, (_, index) => {
      return `\\u${character.charCodeAt(index).toString(16).padStart(4, '0')}`;
    }).join(''),
  );
}

/** What JSON has no form for. `this` holds the value before its `toJSON`. */
function plainMember(this: unknown, key: string, value: unknown): unknown {
  const original = (this as Record<string, unknown>)[key];
  if (original instanceof Error) {
    return original instanceof EspdError ? { ...original.toJSON(), cause: original.cause } : errorText(original);
  }
  if (original instanceof Uint8Array) {
    const hex = Buffer.from(original.subarray(0, BYTES_SHOWN)).toString('hex');
    return original.length > BYTES_SHOWN ? `${hex}... (${original.length} bytes)` : hex;
  }
  if (typeof value === 'bigint') return value.toString();
  return typeof value === 'string' ? cut(value) : value;
}

function cut(text: string): string {
  return text.length > TEXT_LIMIT_CHARACTERS ? `${text.slice(0, TEXT_LIMIT_CHARACTERS)}...` : text;
}
