/** `espd label`: how a person calls a board, what is noted of it, and which group it is in. */

import type { AboutChange } from '../archive/marks/marks.ts';
import { EspdError } from '../errors.ts';
import { checkedAbout, labelBoard } from '../transfer/label-board.ts';
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
  const { about, isNew } = await labelBoard(context, mac, change);
  if (isNew) context.onMark({ type: 'board-described', mac, ...about });
  out.document({ mac, ...about });
  const is = isNew ? 'is' : 'is already';
  out.line(
    about.label === null
      ? `${mac}  ${isNew ? 'has' : 'has still'} no label`
      : `${mac}  ${is} "${printable(about.label)}"`,
  );
  if (about.group !== null) out.line(`  group ${about.group}`);
  if (about.note !== null) out.paragraph(`  note: ${about.note}`, '    ');
  return undefined;
}

/** @throws EspdError `usage` where nothing is to be changed, or a text cannot be kept */
function changeOf({ name, note, group, clear }: LabelCommandOptions): AboutChange {
  if (name === undefined && note === undefined && group === undefined && clear !== true) {
    throw new EspdError('usage', 'Nothing is to be changed: give a label, --note, --group or --clear', {
      hint: 'espd label 50:02:91:c3:37:a5 kitchen',
    });
  }
  const rest = clear === true ? null : undefined;
  return checkedAbout({ label: name ?? rest, note: note ?? rest, group: group ?? rest });
}
