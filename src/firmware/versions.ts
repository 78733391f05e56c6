/**
 * Versions of firmware as the projects write them, which one is the later, and ranges of them.
 *
 * Not semver: of the versions that images carry, the packages `semver` and `compare-versions` take `v1.9.4-568-g4df1943`
 * (568 commits after the tag, as git describe says) for one before 1.9.4, and know no `1.7.4.0`, `2024.6.0b1`, `mega-20240822` or
 * `2.7.23.0cab43f`.
 */

const MAX_TEXT = 200;
const MAX_NUMBERS = 8;
const MAX_CONDITIONS = 8;

/** Before the release, in this order; what git describe counts from it, after. */
const BEFORE: ReadonlyMap<string, number> = new Map([
  ['dev', 0],
  ['alpha', 1],
  ['a', 1],
  ['beta', 2],
  ['b', 2],
  ['pre', 3],
  ['preview', 3],
  ['rc', 4],
]);
const RELEASE = 5;

export interface Version {
  /** `mega` of `mega-20240822`; empty for most. Different series have no order. Lower case. */
  readonly series: string;
  /** Decimal digits without leading zeros; at least one. */
  readonly numbers: readonly string[];
  /** Rank of `dev`, `b7`, `rc1` ..., or that of a release. */
  readonly stage: number;
  /** The 7 of `b7`, `0` where there is none. */
  readonly stageNumber: string;
  /** Commits behind the tag. */
  readonly commits: string;
  readonly isDirty: boolean;
  /** What has no order: commit, variant, build. Lower case. */
  readonly rest: string;
}

const NUMBERS = /^(\d+(?:\.\d+)*)(.*)$/s;
/** `mega-20240822`, `R120`; a single `v` is no series. */
const SERIES = /^([a-z]{1,24})[-_ ]?(?=\d)/;
const COMMIT = /^[0-9a-f]{7,40}$/;

/** Undefined for what is no version: no number at the start, or longer than 200 characters. */
export function parseVersion(text: string): Version | undefined {
  if (text.length > MAX_TEXT) return undefined;
  const lower = text.trim().toLowerCase();
  const series = SERIES.exec(lower)?.[1] ?? '';
  const parts = NUMBERS.exec(series === '' ? lower : lower.slice(series.length).replace(/^[-_ ]/, ''));
  if (parts === null) return undefined;
  const [, digits = '', tail = ''] = parts;
  // A lone commit, as git describe gives where there is no tag: `1234567`, `593ae04-dirty`.
  if (!digits.includes('.') && COMMIT.test(/^[0-9a-z]*/.exec(lower)?.[0] ?? '') && !/^\d{8}$/.test(digits))
    return undefined;

  const numbers = digits.split('.');
  let suffix = tail;
  // `2.7.23.0cab43f`: where the fourth number is as long as a commit it is one, whether or not it has a letter.
  const last = numbers.at(-1) ?? '';
  const glued = last + (/^[0-9a-z]*/.exec(tail)?.[0] ?? '');
  if (numbers.length > 3 && COMMIT.test(glued)) {
    numbers.pop();
    suffix = `-${glued}${tail.slice(glued.length - last.length)}`;
  }
  if (numbers.length > MAX_NUMBERS) return undefined;
  return { series: series === 'v' ? '' : series, numbers: numbers.map(withoutZeros), ...parseSuffix(suffix) };
}

function parseSuffix(suffix: string): Omit<Version, 'series' | 'numbers'> {
  let stage = RELEASE;
  let stageNumber = '0';
  let commits = '0';
  let isDirty = false;
  const rest: string[] = [];
  const words = suffix.split(/[-._+~ ]+/).filter((word) => word !== '');
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at] ?? '';
    const next = words[at + 1] ?? '';
    const [, name = '', number = ''] = /^([a-z]+)(\d*)$/.exec(word) ?? [];
    const rank = BEFORE.get(name);
    if (rank !== undefined && stage === RELEASE && rest.length === 0) {
      stage = rank;
      if (number !== '') stageNumber = withoutZeros(number);
      else if (/^\d+$/.test(next)) {
        stageNumber = withoutZeros(next);
        at += 1;
      }
    } else if (/^\d+$/.test(word) && /^g[0-9a-f]{4,40}$/.test(next)) {
      commits = withoutZeros(word);
    } else if (word === 'dirty') {
      isDirty = true;
    } else {
      rest.push(word);
    }
  }
  return { stage, stageNumber, commits, isDirty, rest: rest.join('.') };
}

function withoutZeros(digits: string): string {
  return digits.replace(/^0+(?=\d)/, '');
}

/** Of numbers as texts, of any length. */
function compareDigits(a: string, b: string): number {
  if (a.length !== b.length) return a.length - b.length;
  return a < b ? -1 : a > b ? 1 : 0;
}

function compareNumbers(a: readonly string[], b: readonly string[], count: number): number {
  for (let at = 0; at < count; at += 1) {
    const order = compareDigits(a[at] ?? '0', b[at] ?? '0');
    if (order !== 0) return order;
  }
  return 0;
}

/** By all that has an order. */
function compareKeys(a: Version, b: Version): number {
  return (
    compareNumbers(a.numbers, b.numbers, MAX_NUMBERS) ||
    a.stage - b.stage ||
    compareDigits(a.stageNumber, b.stageNumber) ||
    compareDigits(a.commits, b.commits) ||
    Number(a.isDirty) - Number(b.isDirty)
  );
}

/**
 * Negative where `a` is the earlier, positive where it is the later, 0 where both say the same; undefined where they have no
 * order: one is no version, they are of different series, or differ in nothing but a commit or a variant.
 *
 * 13.4 is 13.4.0, and `v1.0` is 1.0. Betas and the like come before their release, git's count of commits and a modified
 * tree (`-dirty`) after it.
 */
export function compareVersions(a: string, b: string): number | undefined {
  const first = parseVersion(a);
  const second = parseVersion(b);
  if (first === undefined || second === undefined || first.series !== second.series) return undefined;
  const order = compareKeys(first, second);
  return order === 0 && first.rest !== second.rest ? undefined : order;
}

export type Operator = '<' | '<=' | '=' | '>=' | '>';

export interface Condition {
  readonly operator: Operator;
  /** As it was written. */
  readonly version: string;
}

export interface FirmwareRange {
  /** As it was written; without case. */
  readonly name: string;
  /** All of them must hold. */
  readonly conditions: readonly Condition[];
}

/** A sentence without a full stop, for a person. */
export type RangeProblem = { readonly range: null; readonly problem: string };

const HOW = "Write a name, and conditions if need be: 'Tasmota', 'Tasmota <13', 'esphome >=2024.6 <2025'";
const TERM = /([<>=!~^]+)\s*([^\s,<>=!~^]*)/g;
const OPERATORS: readonly string[] = ['<', '<=', '=', '>=', '>'];

/** `NAME [<|<=|=|>=|>] VERSION ...`, conditions apart by space or comma. */
export function parseFirmwareRange(
  text: string,
): { readonly range: FirmwareRange; readonly problem: null } | RangeProblem {
  const bad = (problem: string): RangeProblem => ({ range: null, problem: `${problem}. ${HOW}` });
  if (text.length > MAX_TEXT) return bad('This is too long for a range of firmware');
  const firstOperator = text.search(/[<>=!~^]/);
  const name = (firstOperator < 0 ? text : text.slice(0, firstOperator)).replace(/[\s,]+$/, '').trim();
  if (name === '') return bad('No firmware is named');
  const lastWord = /(?:^|[\s,])(\S+)$/.exec(name)?.[1] ?? '';
  if (/^v?\d+(?:\.\d+)*\S*$/i.test(lastWord) && lastWord !== name) {
    return bad(`"${lastWord}" looks like a version, but =, < or > is missing before it`);
  }

  const conditions: Condition[] = [];
  const terms = firstOperator < 0 ? '' : text.slice(firstOperator);
  for (const [, operator = '', version = ''] of terms.matchAll(TERM)) {
    if (!OPERATORS.includes(operator)) return bad(`"${operator}" is none of <, <=, =, >= and >`);
    if (version === '') return bad(`A version is missing after ${operator}`);
    if (parseVersion(version) === undefined) return bad(`"${version}" is no version`);
    conditions.push({ operator: operator as Operator, version });
  }
  const left = terms
    .replace(TERM, '')
    .replace(/[\s,]+/g, ' ')
    .trim();
  if (left !== '') return bad(`"${left}" is neither a condition nor a part of one`);
  if (conditions.length > MAX_CONDITIONS) return bad(`More than ${MAX_CONDITIONS} conditions`);
  return { range: { name, conditions }, problem: null };
}

/**
 * Whether the name is that of the range: all of it or its first words, without case (`arduino` is `Arduino app`, `esp` is `ESP-AT`,
 * but not ESPHome).
 */
export function nameMatches(range: FirmwareRange, name: string): boolean {
  const wanted = range.name.toLowerCase();
  const actual = name.toLowerCase();
  if (!actual.startsWith(wanted)) return false;
  return !/^[a-z0-9]/.test(actual.slice(wanted.length));
}

/**
 * Whether name and version fulfil the range. A version that is unknown, or has no order with that of a condition, does not.
 *
 * A condition compares as many numbers as it has: 13.4.0 is `=13` and `<=13`, and not `>13`.
 */
export function rangeMatches(range: FirmwareRange, firmware: { name: string; version: string | null }): boolean {
  if (!nameMatches(range, firmware.name)) return false;
  return range.conditions.every((condition) => {
    const order = firmware.version === null ? undefined : orderFor(condition, firmware.version);
    return order !== undefined && holds(condition.operator, order);
  });
}

function orderFor({ version: limit }: Condition, version: string): number | undefined {
  const actual = parseVersion(version);
  const bound = parseVersion(limit);
  if (actual === undefined || bound === undefined || actual.series !== bound.series) return undefined;
  const count = bound.numbers.length;
  const isPlain = bound.stage === RELEASE && bound.commits === '0' && !bound.isDirty && bound.rest === '';
  if (isPlain && count < actual.numbers.length) return compareNumbers(actual.numbers, bound.numbers, count);
  const order = compareKeys(actual, bound);
  // A commit or a variant that the condition does not speak of is any.
  return order === 0 && bound.rest !== '' && bound.rest !== actual.rest ? undefined : order;
}

function holds(operator: Operator, order: number): boolean {
  switch (operator) {
    case '<':
      return order < 0;
    case '<=':
      return order <= 0;
    case '=':
      return order === 0;
    case '>=':
      return order >= 0;
    case '>':
      return order > 0;
  }
}

/**
 * An order of all texts, for lists: versions by what has an order, of each series on its own, then by the rest of their text;
 * behind them what is no version.
 */
export function orderInList(a: string, b: string): number {
  const first = parseVersion(a);
  const second = parseVersion(b);
  if (first === undefined || second === undefined) {
    return Number(first === undefined) - Number(second === undefined) || byText(a, b);
  }
  return (
    byText(first.series, second.series) || compareKeys(first, second) || byText(first.rest, second.rest) || byText(a, b)
  );
}

function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
