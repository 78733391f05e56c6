/** From the bytes of a config file to a checked config, every fault with its line and column. Pure. */

import {
  CST,
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  parseDocument,
  visit,
} from 'yaml';
import { EspdError } from '../errors.ts';
import { issueProblems } from './problems.ts';
import { type ConfigFile, configSchema } from './schema.ts';
import { isTimeout, withTimeLimit } from './time-limit.ts';

export const CONFIG_SIZE_LIMIT_BYTES = 1024 * 1024;

/** The parser behind looks up every key of a mapping in all others: this keeps the worst file at about a second. */
const TOKEN_LIMIT = 20_000;
/** The parser behind is recursive, and V8 ends the process when a regular expression finds no stack. */
const NESTING_LIMIT = 64;
const INDENT_LIMIT = 256;
/** How many values aliases (`*name`) may expand to: none is needed, and a bomb is made of them. */
const ALIAS_LIMIT = 100;
const PROBLEM_LIMIT = 10;
/**
 * A config takes some milliseconds, and the worst file within the limits above about a second. These are for the file
 * that nobody has thought of.
 *
 * They count time of the clock, which a busy or slow machine takes from any file. So a start has a long one: nothing
 * waits for it but the start itself, and a service that is refused its config is not started again.
 */
const START_TIME_LIMIT_MS = 60_000;
/** A running daemon hears nothing while it reads, must stop within 5 s, and keeps its old config where this is too short. */
export const RELOAD_TIME_LIMIT_MS = 3000;

interface Problem {
  readonly line: number;
  readonly column: number;
  readonly text: string;
}

/**
 * Parses and checks a config file; an empty file is the defaults, and so is a section without keys.
 * @param file how messages name the file
 * @param timeLimitMs how long reading may take, by the clock; default 60 s
 * @throws EspdError `config-invalid` naming `file:line:column` of at most ten faults
 */
export function parseConfig(bytes: Uint8Array, file: string, timeLimitMs = START_TIME_LIMIT_MS): ConfigFile {
  if (bytes.length > CONFIG_SIZE_LIMIT_BYTES) {
    throw invalid(file, [{ line: 1, column: 1, text: 'the file is larger than 1 MiB' }]);
  }
  const source = decode(bytes, file);
  try {
    return withTimeLimit(timeLimitMs, () => parseText(source, file));
  } catch (error) {
    if (!isTimeout(error)) throw error;
    throw invalid(file, [{ line: 1, column: 1, text: `took longer than ${timeLimitMs / 1000} s to read` }]);
  }
}

function parseText(source: string, file: string): ConfigFile {
  const tooMuch = excess(source);
  if (tooMuch !== null) throw invalid(file, [tooMuch]);

  const lines = new LineCounter();
  const document = parseDocument(source, { lineCounter: lines, prettyErrors: false });
  const at = (offset: number): Omit<Problem, 'text'> => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  const faults = [...document.errors, ...document.warnings];
  if (faults.length > 0) {
    throw invalid(
      file,
      faults.map((fault) => ({ ...at(fault.pos[0]), text: yamlProblem(fault.code, fault.message) })),
    );
  }

  // To make text of a key that is a list or a section takes twice as long with every level that it holds.
  const unfit = offsetsOfUnfitKeys(document);
  if (unfit.length > 0) {
    throw invalid(
      file,
      unfit.map((offset) => ({ ...at(offset), text: 'a key is one word or text, not a list, a section or an alias' })),
    );
  }

  let data: unknown;
  try {
    data = document.toJS({ maxAliasCount: ALIAS_LIMIT });
  } catch (error) {
    const aliasOffset = /(?:^|[\s,[:-])\*/.exec(source)?.index ?? 0;
    const message = error instanceof Error ? error.message : String(error);
    throw invalid(file, [{ ...at(aliasOffset), text: message.split('\n')[0] ?? message }]);
  }
  const result = configSchema.safeParse(withoutEmptySections(data));
  if (result.success) return result.data;
  throw invalid(
    file,
    result.error.issues.flatMap((issue) =>
      issueProblems(issue, data, writtenIn(document)).map(({ key, text }) => ({
        ...at(offsetOf(document, issue.path, key)),
        text,
      })),
    ),
  );
}

function invalid(file: string, problems: readonly Problem[]): EspdError {
  const shown = problems.slice(0, PROBLEM_LIMIT).map(({ line, column, text }) => `${file}:${line}:${column}: ${text}`);
  const rest = problems.length - shown.length;
  if (rest > 0) shown.push(`and ${rest} more`);
  return new EspdError('config-invalid', shown.join('\n'), { hint: 'Every key is described in config.example.yaml' });
}

/** UTF-8 to text, a byte order mark taken off. */
function decode(bytes: Uint8Array, file: string): string {
  const text = utf8(bytes);
  if (text !== null) return text;
  let line = 1;
  // No byte of a longer UTF-8 sequence is a line feed, so lines can be judged one by one.
  for (let start = 0; start < bytes.length; line += 1) {
    const feed = bytes.indexOf(0x0a, start);
    const end = feed < 0 ? bytes.length : feed;
    if (utf8(bytes.subarray(start, end)) === null) break;
    start = end + 1;
  }
  throw invalid(file, [{ line, column: 1, text: 'the file is not UTF-8 text' }]);
}

function utf8(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}

/** What of `source` is beyond the limits of the parser behind; the lexer itself is linear and not recursive. */
function excess(source: string): Problem | null {
  let line = 1;
  let tokens = 0;
  let flowDepth = 0;
  let inLine = 0;
  for (const token of new Lexer().lex(source)) {
    tokens += 1;
    const type = CST.tokenType(token);
    if (type === 'newline') inLine = 0;
    else if (type === 'flow-seq-start' || type === 'flow-map-start') flowDepth += 1;
    else if (type === 'flow-seq-end' || type === 'flow-map-end') flowDepth -= 1;
    else if (type === 'seq-item-ind' || type === 'explicit-key-ind') inLine += 1;
    const deepSpace = type === 'space' && token.length > INDENT_LIMIT;
    if (flowDepth > NESTING_LIMIT || inLine > NESTING_LIMIT || deepSpace) {
      return { line, column: 1, text: 'lists and sections are nested too deeply' };
    }
    if (tokens > TOKEN_LIMIT) return { line, column: 1, text: 'the file has too many entries for a config' };
    line += token.split('\n').length - 1;
  }
  return null;
}

/** A YAML fault in plain words where the library's own are for programmers. */
function yamlProblem(code: string, message: string): string {
  if (code === 'DUPLICATE_KEY') return 'this key stands here twice';
  if (code === 'TAB_AS_INDENT') return 'a tab indents this line; YAML wants spaces';
  if (code === 'MULTIPLE_DOCS') return 'a second document begins here (---); a config is one document';
  return `not YAML: ${message.split('\n')[0] ?? message}`;
}

/** Where keys stand that are no scalars. */
function offsetsOfUnfitKeys(document: Document): number[] {
  const offsets: number[] = [];
  visit(document, {
    Pair: (_, { key }) => {
      if (isScalar(key) || key === null) return undefined;
      offsets.push(isNode(key) ? (key.range?.[0] ?? 0) : 0);
      return visit.SKIP;
    },
  });
  return offsets;
}

/** A section whose keys are all commented out reads as null: it means the defaults. */
function withoutEmptySections(data: unknown): unknown {
  if (data === null || data === undefined) return {};
  if (typeof data !== 'object' || Array.isArray(data)) return data;
  return Object.fromEntries(
    Object.entries(data).filter(([key, value]) => value !== null || !Object.hasOwn(configSchema.shape, key)),
  );
}

/** How the number or word at a path is written in the file: `0700`, where the value is 700. */
function writtenIn(document: Document): (path: readonly PropertyKey[]) => string | undefined {
  return (path) => {
    const node = document.getIn(path, true);
    return isScalar(node) ? node.source : undefined;
  };
}

/** Where the value at `path` begins, or the key `key` in the mapping there; as near as the document allows. */
function offsetOf(document: Document, path: readonly PropertyKey[], key?: string): number {
  let node: unknown = document.contents;
  let offset = isNode(node) ? (node.range?.[0] ?? 0) : 0;
  const steps = key === undefined ? path : [...path, key];
  for (const [index, step] of steps.entries()) {
    const target: unknown = isAlias(node) ? node.resolve(document) : node;
    if (isMap(target)) {
      const pair = target.items.find((item) => String(isScalar(item.key) ? item.key.value : item.key) === String(step));
      const wantsKey = key !== undefined && index === steps.length - 1;
      node = wantsKey || !isNode(pair?.value) ? pair?.key : pair.value;
    } else if (isSeq(target)) {
      node = target.items[Number(step)];
    }
    if (!isNode(node) || !node.range) break;
    offset = node.range[0];
  }
  return offset;
}
