/**
 * The syntax of a cron expression, so that the config names a fault with its line before any schedule is made.
 *
 * What passes here is a subset of what node-cron takes (a test compares both): five fields, lists, ranges, steps and
 * three-letter names. Its seconds field, nicknames and `L`, `W`, `#`, `?` are not for config files.
 */

interface Field {
  readonly name: string;
  readonly min: number;
  readonly max: number;
  /** Three-letter names; the first one means `min`. */
  readonly names: readonly string[];
}

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
const WEEKDAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
/** Most days that a month has, January first. */
const MONTH_DAYS = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

const MINUTE: Field = { name: 'minute', min: 0, max: 59, names: [] };
const HOUR: Field = { name: 'hour', min: 0, max: 23, names: [] };
const DAY: Field = { name: 'day of month', min: 1, max: 31, names: [] };
const MONTH: Field = { name: 'month', min: 1, max: 12, names: MONTHS };
const WEEKDAY: Field = { name: 'day of week', min: 0, max: 7, names: WEEKDAYS };
const FIELDS = [MINUTE, HOUR, DAY, MONTH, WEEKDAY];

/** What is wrong with `expression`, in one clause; null when it is a cron expression that can come true. */
export function cronProblem(expression: string): string | null {
  const parts = expression.trim().split(/\s+/);
  if (parts.length !== FIELDS.length) {
    return 'five fields are needed: minute, hour, day of month, month, day of week';
  }
  const values: number[][] = [];
  for (const [index, field] of FIELDS.entries()) {
    const parsed = fieldValues(parts[index] ?? '', field);
    if (typeof parsed === 'string') return parsed;
    values.push(parsed);
  }
  const [, , days = [], months = []] = values;
  const longest = Math.max(...months.map((month) => MONTH_DAYS[month - 1] ?? 0));
  return Math.min(...days) > longest ? 'no month chosen has such a day' : null;
}

/** All values that one field stands for, or what is wrong with it. */
function fieldValues(text: string, field: Field): number[] | string {
  const values: number[] = [];
  for (const item of text.split(',')) {
    const match = /^(?:(\*)|([0-9a-z]{1,3})(?:-([0-9a-z]{1,3}))?)(?:\/(\d{1,3}))?$/i.exec(item);
    if (match === null) return `"${item}" is no ${field.name}`;
    const [, star, from = '', to, step] = match;
    if (step !== undefined && star === undefined && to === undefined) return `"${item}" has a step but no range`;
    const first = star === undefined ? fieldValue(from, field) : field.min;
    const last = star !== undefined ? field.max : to === undefined ? first : fieldValue(to, field);
    if (first === null || last === null) {
      return `"${item}" is no ${field.name} (${field.min} to ${field.max})`;
    }
    if (first > last) return `the range "${item}" runs backwards`;
    const every = Number(step ?? 1);
    if (every < 1 || every > field.max) return `"${item}" has a step that is not from 1 to ${field.max}`;
    for (let value = first; value <= last; value += every) values.push(value);
  }
  return values;
}

function fieldValue(text: string, field: Field): number | null {
  const named = field.names.indexOf(text.toLowerCase());
  if (named >= 0) return field.min + named;
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  return value >= field.min && value <= field.max ? value : null;
}
