/** `espd import --label`: the board gets its name with its first backup. */

import { checkLabel } from '../../archive/marks/labels.ts';
import { EspdError, hasCode } from '../../errors.ts';
import type { Mac } from '../../mac.ts';
import { checkFree, labelBoard } from '../../transfer/label-board.ts';
import type { CommandContext } from '../context.ts';

/** A label that is free, and the board that gets it. */
export interface ImportLabel {
  readonly mac: Mac;
  readonly text: string;
}

/**
 * Before anything is written.
 * @param macs of the boards that the dumps are of
 * @throws EspdError `usage` for what can be no label, or is to name several boards; `label-taken`
 */
export async function importLabel(context: CommandContext, text: string, macs: Iterable<Mac>): Promise<ImportLabel> {
  const label = checkLabel(text);
  const [mac, ...others] = new Set(macs);
  if (mac === undefined || others.length > 0) {
    throw new EspdError('usage', `--label names one board, and these dumps are of ${others.length + 1}`, {
      hint: 'Import them board by board, or label the boards afterwards: espd label MAC NAME',
    });
  }
  try {
    await checkFree(context, mac, label);
  } catch (error) {
    if (!hasCode(error, 'archive-missing')) throw error; // there no board has a label
  }
  return { mac, text: label };
}

/** Nothing is written where the board has the label already. */
export async function giveLabel(context: CommandContext, { mac, text }: ImportLabel): Promise<void> {
  const { about, isNew } = await labelBoard(context, mac, { label: text });
  if (isNew) context.onMark({ type: 'board-described', mac, ...about });
}
