/** What the schema finds wrong, in words for people: what was wanted, what was found, what was probably meant. */

import type { z } from 'zod';
import { brokerSchema, hookSchema, webhookSchema } from './outbound.ts';
import { overrideSchema } from './retention.ts';
import { configSchema, portMatcherSchema } from './schema.ts';

type Path = readonly PropertyKey[];

/**
 * One zod issue as clauses for people: one for each unknown key (`key` names it), else one for the value at its path.
 * @param data what was checked
 * @param written how the scalar at a path is written in the file, where there is one
 */
export function issueProblems(
  issue: z.core.$ZodIssue,
  data: unknown,
  written?: (path: Path) => string | undefined,
): { key?: string; text: string }[] {
  const name = issue.path.map(String).join('.') || 'the file';
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({ key, text: unknownKey(issue.path, key) }));
  }
  const value = valueAt(data, issue.path);
  return [{ text: `${name} ${wanted(issue)}, found ${found(value, written?.(issue.path))}${advice(issue, value)}` }];
}

const TYPE_NAMES: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a whole number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a section of keys',
};

function wanted(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return `wants ${TYPE_NAMES[issue.expected] ?? issue.expected}`;
    case 'invalid_value':
      return `wants one of ${issue.values.map(String).join(', ')}`;
    case 'too_small':
      return issue.origin === 'string' ? 'wants text that is not empty' : `wants at least ${issue.minimum}`;
    case 'too_big':
      return `wants at most ${issue.maximum}${issue.origin === 'string' ? ' characters' : ''}`;
    default:
      return issue.message;
  }
}

function found(value: unknown, written: string | undefined): string {
  switch (typeof value) {
    case 'string':
      return `the text ${JSON.stringify(value.slice(0, 60))}`;
    case 'number':
      return `the number ${(written ?? String(value)).slice(0, 60)}`;
    case 'boolean':
      return String(value);
    case 'object':
      if (value === null) return 'nothing';
      return Array.isArray(value) ? 'a list' : 'a section of keys';
    default:
      return 'nothing';
  }
}

function advice(issue: z.core.$ZodIssue, value: unknown): string {
  if (issue.code === 'invalid_type' && issue.expected === 'string' && typeof value === 'number') {
    return '; write it in quotes';
  }
  if (issue.code !== 'invalid_value' || typeof value !== 'string') return '';
  const near = nearest(value, issue.values.map(String));
  return near === null ? '' : `; did you mean ${near}?`;
}

function unknownKey(path: Path, key: string): string {
  const shown = JSON.stringify(key.slice(0, 60));
  const where = path.length === 0 ? '' : ` in ${path.map(String).join('.')}`;
  const near = nearest(key, keysAt(path));
  if (near !== null) return `unknown key ${shown}${where}; did you mean ${near}?`;
  const home = keysAt([]).find((section) => keysAt([section]).includes(key));
  return `unknown key ${shown}${where}${home === undefined ? '' : `; it belongs under ${home}`}`;
}

/** The keys that the schema knows at `path`: of the file, of a section, of a matcher in a list, of other rules. */
function keysAt(path: Path): string[] {
  const [section, ...below] = path;
  if (section === undefined) return Object.keys(configSchema.shape);
  if (!isSection(section)) return [];
  if (section === 'mqtt') return below.length > 0 ? ['file', 'env'] : Object.keys(brokerSchema.shape);
  const schema = configSchema.shape[section].unwrap();
  if (below.length === 0) return 'shape' in schema ? Object.keys(schema.shape) : [];
  if (section === 'hooks') return Object.keys(hookSchema.shape);
  if (section === 'webhooks') return below.length > 1 ? ['file', 'env'] : Object.keys(webhookSchema.shape);
  return Object.keys(section === 'retention' ? overrideSchema.shape : portMatcherSchema.shape);
}

function isSection(key: PropertyKey): key is keyof typeof configSchema.shape {
  return Object.hasOwn(configSchema.shape, key);
}

function valueAt(data: unknown, path: Path): unknown {
  let value = data;
  for (const step of path) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = (value as Record<PropertyKey, unknown>)[step];
  }
  return value;
}

/** The candidate that `word` is most likely a slip of; null when none is near. */
function nearest(word: string, candidates: readonly string[]): string | null {
  const near = candidates
    .map((candidate) => ({ candidate, distance: editDistance(word.toLowerCase(), candidate.toLowerCase()) }))
    .filter(({ candidate, distance }) => distance <= Math.ceil(candidate.length / 3))
    .sort((a, b) => a.distance - b.distance);
  return near[0]?.candidate ?? null;
}

/** Levenshtein distance; words longer than any key are infinitely far. */
function editDistance(a: string, b: string): number {
  if (a.length > 64 || b.length > 64) return Number.POSITIVE_INFINITY;
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [i, letter] of Array.from(a).entries()) {
    const next = [i + 1];
    for (const [j, other] of Array.from(b).entries()) {
      next.push(Math.min((row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1, (row[j] ?? 0) + (letter === other ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
