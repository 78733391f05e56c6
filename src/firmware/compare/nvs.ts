/** Which keys of an NVS partition came, changed or went. Pure; values stay untold unless they are asked for. */

import { isSecretKey } from '../nvs-secrets.ts';
import type { NvsEntry, NvsReading } from '../nvs.ts';
import type { NvsContent, NvsKeyChange, NvsValue } from './types.ts';

/** A longer text is cut. */
const MAX_VALUE_CHARACTERS = 4096;

/** Of the types with a size of their own. */
const TYPE_BYTES: Readonly<Record<string, number>> = {
  ...{ u8: 1, i8: 1, u16: 2, i16: 2, u32: 4, i32: 4, u64: 8, i64: 8 },
  ...{ float: 4, double: 8 },
};

/** @param reveal whether values are told, but for those of {@link isSecretKey} */
export function compareNvs(
  before: readonly NvsEntry[],
  after: readonly NvsEntry[],
  { reveal }: { readonly reveal: boolean },
): NvsContent {
  const twice = new Set([...keysTwice(before), ...keysTwice(after)]);
  const [old, now] = [byKey(before, twice), byKey(after, twice)];
  const told = (entry: NvsEntry | undefined) => (entry === undefined ? null : nvsValue(entry, reveal));
  const added: NvsKeyChange[] = [];
  const changed: NvsKeyChange[] = [];
  const removed: NvsKeyChange[] = [];
  for (const [name, entry] of now) {
    const earlier = old.get(name);
    if (earlier !== undefined && isSameValue(earlier, entry)) continue;
    const { namespace, key } = entry;
    const change = { namespace, key, value: { before: told(earlier), after: told(entry) } };
    (earlier === undefined ? added : changed).push(change);
  }
  for (const [name, entry] of old) {
    if (now.has(name)) continue;
    removed.push({ namespace: entry.namespace, key: entry.key, value: { before: told(entry), after: null } });
  }
  return { kind: 'nvs', added: added.sort(inOrder), changed: changed.sort(inOrder), removed: removed.sort(inOrder) };
}

/** What keeps a reading from telling keys, or all of them; a sentence fragment each. */
export function nvsProblems({ kind, problems }: NvsReading): string[] {
  if (kind === 'encrypted') return ['its NVS is encrypted, so that its keys cannot be told'];
  if (kind === 'unknown') return ['it holds no NVS that espd can read'];
  return problems.length === 0 ? [] : [`its NVS is damaged (${firstOf(problems)}): keys may be missing`];
}

/** Some boards store a key twice, with different types: then the type is a part of its name. */
function byKey(entries: readonly NvsEntry[], twice: ReadonlySet<string>): Map<string, NvsEntry> {
  const named = (entry: NvsEntry) => (twice.has(nameOf(entry)) ? `${nameOf(entry)} ${entry.type}` : nameOf(entry));
  return new Map(entries.map((entry) => [named(entry), entry]));
}

function keysTwice(entries: readonly NvsEntry[]): string[] {
  const seen = new Set<string>();
  return entries.map(nameOf).filter((name) => seen.size === seen.add(name).size);
}

function nameOf({ namespace, key }: NvsEntry): string {
  return JSON.stringify([namespace, key]);
}

function isSameValue(one: NvsEntry, other: NvsEntry): boolean {
  if (one.type !== other.type) return false;
  if (typeof one.value !== 'object' || typeof other.value !== 'object') return one.value === other.value;
  return Buffer.from(one.value).equals(other.value);
}

/** As it is told: nothing of a secret but its type. */
export function nvsValue(entry: NvsEntry, reveal: boolean): NvsValue {
  const { type, value } = entry;
  const secret = isSecretKey(entry.namespace, entry.key);
  const length = typeof value === 'string' ? Buffer.byteLength(value) : typeof value === 'bigint' ? 8 : value.length;
  const sizeBytes = secret ? null : (TYPE_BYTES[type] ?? length);
  return { type, sizeBytes, secret, value: reveal && !secret ? textOf(value) : null };
}

function textOf(value: NvsEntry['value']): string {
  const most = MAX_VALUE_CHARACTERS;
  if (typeof value === 'bigint') return value.toString();
  if (typeof value !== 'string') {
    const hex = Buffer.from(value.subarray(0, most / 2)).toString('hex');
    return value.length > most / 2 ? `${hex}...` : hex;
  }
  return value.length > most ? `${value.slice(0, most)}...` : value;
}

function inOrder(one: NvsKeyChange, other: NvsKeyChange): number {
  const typeOf = ({ value }: NvsKeyChange) => (value.after ?? value.before)?.type ?? '';
  return (
    compareTexts(one.namespace, other.namespace) ||
    compareTexts(one.key, other.key) ||
    compareTexts(typeOf(one), typeOf(other))
  );
}

/** The first problem, and how many more there are. */
export function firstOf(problems: readonly string[]): string {
  const more = problems.length - 1;
  return more > 0 ? `${problems[0]}, and ${more} more` : (problems[0] ?? '');
}

/** By code unit, whatever the locale. */
export function compareTexts(one: string, other: string): number {
  return one < other ? -1 : one > other ? 1 : 0;
}
