/** Label, note and group of a board as they are changed, by a command or by the API. */

import { boardsWithLabel, checkGroup, checkLabel, checkNote } from '../archive/marks/labels.ts';
import type { AboutChange, BoardAbout } from '../archive/marks/marks.ts';
import type { Archive } from '../archive/types.ts';
import { EspdError } from '../errors.ts';
import type { Mac } from '../mac.ts';
import { printable } from '../printable.ts';
import { type EspdCall, commandLine } from './finish-command.ts';

/** What somebody has typed: null or an empty text clears, undefined leaves as it is. */
export interface WantedAbout {
  readonly label?: string | null | undefined;
  readonly note?: string | null | undefined;
  readonly group?: string | null | undefined;
}

export interface LabelParts {
  readonly archive: Archive;
  /** How espd was called, for commands that errors name. */
  readonly call: EspdCall;
}

/** @throws EspdError `usage` where a text cannot be kept */
export function checkedAbout({ label, note, group }: WantedAbout): AboutChange {
  return {
    ...checkedKey('label', label, checkLabel),
    ...checkedKey('note', note, checkNote),
    ...checkedKey('group', group, checkGroup),
  };
}

function checkedKey(
  key: keyof BoardAbout,
  text: string | null | undefined,
  check: (text: string) => string,
): AboutChange {
  if (text === undefined) return {};
  return { [key]: text === null || text.trim() === '' ? null : check(text) };
}

/**
 * @param change as {@link checkedAbout} gives it
 * @returns what is known of the board now; `isNew` false = it was so before, and nothing was written
 * @throws EspdError `label-taken`, and as {@link ArchiveMarks.describe}
 */
export async function labelBoard(
  parts: LabelParts,
  mac: Mac,
  change: AboutChange,
): Promise<{ readonly about: BoardAbout; readonly isNew: boolean }> {
  const { marks } = parts.archive;
  if (typeof change.label === 'string') await checkFree(parts, mac, change.label);
  const before = await marks.about(mac);
  const about: BoardAbout = {
    label: change.label === undefined ? before.label : change.label,
    note: change.note === undefined ? before.note : change.note,
    group: change.group === undefined ? before.group : change.group,
  };
  const isNew = (['label', 'note', 'group'] as const).some((key) => about[key] !== before[key]);
  // The file of a board that is named the same again every night must not grow.
  if (isNew) await marks.describe(mac, change);
  return { about, isNew };
}

/** @throws EspdError `label-taken` where another board has the label, in capitals or not */
export async function checkFree({ archive, call }: LabelParts, mac: Mac, label: string): Promise<void> {
  const [other] = boardsWithLabel(label, await archive.marks.labels()).filter((board) => board !== mac);
  if (other === undefined) return;
  throw new EspdError('label-taken', `"${printable(label)}" is the label of ${other} already`, {
    hint: `Choose another one, or clear it there: ${commandLine(call, 'label', other, '')}`,
  });
}
