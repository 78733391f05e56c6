/** `espd label`: how a person calls a board, what is noted of it, and which group it is in. */

import { boardsWithLabel, checkGroup, checkLabel, checkNote } from '../archive/marks/labels.ts';
import type { AboutChange, BoardAbout } from '../archive/marks/marks.ts';
import { EspdError } from '../errors.ts';
import type { Mac } from '../mac.ts';
import { commandLine } from '../transfer/finish-command.ts';
import type { CommandContext } from './context.ts';
import { printable } from './text.ts';

export interface LabelCommandOptions {
  /** As the person typed it; empty clears it, undefined leaves it. So with note and group. */
  readonly name?: string;
  readonly note?: string;
  readonly group?: string;
  /** Clears what is not given. */
  readonly clear?: boolean;
}

export const LABEL_HELP = `
A label has 1 to 64 characters and names one board, whether in capitals or not.
It is taken wherever a MAC is: espd show kitchen, espd restore kitchen@first.
An empty text clears: espd label kitchen '' --note ''. --clear clears all that
is not given with it. The backups stay as they are.`;

export async function label(context: CommandContext, board: string, options: LabelCommandOptions): Promise<undefined> {
  const { archive, out } = context;
  const change = changeOf(options);
  const mac = await archive.resolveBoard(board);
  if (typeof change.label === 'string') await checkFree(context, mac, change.label);
  const before = await archive.marks.about(mac);
  const after: BoardAbout = {
    label: change.label === undefined ? before.label : change.label,
    note: change.note === undefined ? before.note : change.note,
    group: change.group === undefined ? before.group : change.group,
  };
  const isNew = (['label', 'note', 'group'] as const).some((key) => after[key] !== before[key]);
  // The file of a board that is named the same again every night must not grow.
  if (isNew) await archive.marks.describe(mac, change);
  out.document({ mac, ...after });
  const is = isNew ? 'is' : 'is already';
  out.line(
    after.label === null
      ? `${mac}  ${isNew ? 'has' : 'has still'} no label`
      : `${mac}  ${is} "${printable(after.label)}"`,
  );
  if (after.group !== null) out.line(`  group ${after.group}`);
  if (after.note !== null) out.paragraph(`  note: ${after.note}`, '    ');
  return undefined;
}

/** @throws EspdError `usage` where nothing is to be changed, or a text cannot be kept */
function changeOf({ name, note, group, clear }: LabelCommandOptions): AboutChange {
  if (name === undefined && note === undefined && group === undefined && clear !== true) {
    throw new EspdError('usage', 'Nothing is to be changed: give a label, --note, --group or --clear', {
      hint: 'espd label 50:02:91:c3:37:a5 kitchen',
    });
  }
  return {
    ...keyOf('label', name, checkLabel, clear),
    ...keyOf('note', note, checkNote, clear),
    ...keyOf('group', group, checkGroup, clear),
  };
}

function keyOf(
  key: keyof BoardAbout,
  text: string | undefined,
  check: (text: string) => string,
  clear: boolean | undefined,
): AboutChange {
  if (text === undefined) return clear === true ? { [key]: null } : {};
  return { [key]: text.trim() === '' ? null : check(text) };
}

/** @throws EspdError `label-taken` where another board has the label, in capitals or not */
export async function checkFree({ archive, call }: CommandContext, mac: Mac, label: string): Promise<void> {
  const [other] = boardsWithLabel(label, await archive.marks.labels()).filter((board) => board !== mac);
  if (other === undefined) return;
  throw new EspdError('label-taken', `"${printable(label)}" is the label of ${other} already`, {
    hint: `Choose another one, or clear it there: ${commandLine(call, 'label', other, '')}`,
  });
}
