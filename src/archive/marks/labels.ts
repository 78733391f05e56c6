/** What a label may be, and which board it names. Pure. */

import { EspdError } from '../../errors.ts';
import { type Mac, parseMac } from '../../mac.ts';
import { printable, replaceUnprintable } from '../../printable.ts';
import { isBackupId } from '../ids.ts';
import { editDistance, parseMoment, unknownBoard } from '../which.ts';
import { MAX_LABEL, MAX_NOTE } from './events.ts';
import { labelKey } from './label-key.ts';

/** Words that stand for a backup behind `@`. */
const WHICH_WORDS = ['latest', 'first'];
/** Three or more bytes in hex with signs between them, or six digits or more without: a MAC, or a part of one. */
const LIKE_A_MAC =
  /^[0-9a-f]{1,2}(?:[:.-][0-9a-f]{1,2}){2,7}[:.-]?$|^(?=.*\d)[0-9a-f]{6,16}$|^(?:[0-9a-f]{4}[.-]){2,3}[0-9a-f]{4}$/i;

/**
 * A label as it is kept: without blanks at its ends, in Unicode's composed form.
 * @throws EspdError `usage` where it could be taken for a MAC, a backup, an option or a path, or cannot be printed
 */
export function checkLabel(text: string): string {
  const label = text.normalize('NFC').trim();
  const refuse = (why: string) =>
    new EspdError('usage', `"${printable(text)}" cannot be a label: ${why}`, {
      hint: `A label has 1 to ${MAX_LABEL} letters, digits, blanks and signs, such as kitchen or "door sensor 2"`,
    });
  if (label === '') throw refuse('it is empty');
  if (label.length > MAX_LABEL) throw refuse(`it has ${label.length} characters`);
  if (replaceUnprintable(label, '') !== label) throw refuse('it has characters that cannot be printed');
  if (label.startsWith('-')) throw refuse('it would be taken for an option');
  if (/[@/\\]/.test(label)) throw refuse('@, / and \\ have a meaning of their own');
  if (parseMac(label) !== undefined || LIKE_A_MAC.test(label)) throw refuse('it looks like a MAC');
  if (WHICH_WORDS.includes(label.toLowerCase()) || isBackupId(label) || parseMoment(label) !== undefined)
    throw refuse('it looks like a backup of a board');
  return label;
}

/**
 * A group as it is kept. It stands in no place of a board's name, so only its length and its characters are checked.
 * @throws EspdError `usage`
 */
export function checkGroup(text: string): string {
  return checkText(text, 'group', MAX_LABEL);
}

/** A note as it is kept: one line. @throws EspdError `usage` */
export function checkNote(text: string): string {
  return checkText(text, 'note', MAX_NOTE);
}

function checkText(text: string, what: string, max: number): string {
  const value = text.normalize('NFC').trim();
  const refuse = (why: string) =>
    new EspdError('usage', `This cannot be a ${what}: ${why}`, {
      hint: `A ${what} has 1 to ${max} characters in one line; an empty one ('') clears it`,
    });
  if (value === '') throw refuse('it is empty');
  if (value.length > max) throw refuse(`it has ${value.length} characters`);
  if (replaceUnprintable(value, '') !== value) throw refuse('it has characters that cannot be printed');
  return value;
}

/** Changes of a character after which a label is still taken for a slip of the hand. */
const NEAR_EDITS = 2;

/**
 * The board that a person calls `text`.
 * @throws EspdError `label-ambiguous`, naming the boards; `archive-unknown-board`, naming labels and MACs like it
 */
export function selectBoard(text: string, macs: readonly Mac[], labels: ReadonlyMap<Mac, string>): Mac {
  const [mac, ...others] = boardsWithLabel(text, labels);
  if (mac === undefined) throw unknownBoard(text, macs, nearLabels(text, [...labels.values()]));
  if (others.length === 0) return mac;
  throw new EspdError('label-ambiguous', `"${printable(text)}" is the label of ${[mac, ...others].join(' and ')}`, {
    hint: `Say the MAC, and give one of them another label: espd label ${others[0]} NAME`,
  });
}

/** Labels that `text` may have meant: a part of them, or a slip or two away. */
function nearLabels(text: string, labels: readonly string[]): string[] {
  const key = labelKey(text).slice(0, MAX_LABEL);
  if (key === '') return [];
  return labels.filter((label) => {
    const other = labelKey(label);
    return other.includes(key) || key.includes(other) || editDistance(key, other) <= NEAR_EDITS;
  });
}

/** Boards with this label, sorted; more than one where two machines gave it at the same time. */
export function boardsWithLabel(text: string, labels: Iterable<readonly [Mac, string | null]>): Mac[] {
  const key = labelKey(text);
  return [...labels].flatMap(([mac, label]) => (label !== null && labelKey(label) === key ? [mac] : [])).sort();
}
