/** `espd undo`: a restore of what was on a board before the last restore of it, or before its last change. */

import type { Backup } from '../archive/types.ts';
import type { UndoChoice } from '../archive/undo.ts';
import { EspdError } from '../errors.ts';
import type { Mac } from '../mac.ts';
import { commandLine } from '../transfer/finish-command.ts';
import { halfRestoredText } from '../transfer/half-restored.ts';
import { chooseUndo } from '../transfer/undo-choice.ts';
import { consentOf } from './consent.ts';
import type { CommandContext } from './context.ts';
import { type PutBackOptions, putBack } from './put-back.ts';
import { soundBackup } from './restore-which.ts';
import { plural } from './text.ts';

export interface UndoCommandOptions extends PutBackOptions {
  /** A MAC or a label, as the person typed it. */
  readonly board: string;
}

export async function undo(context: CommandContext, options: UndoCommandOptions): Promise<EspdError | undefined> {
  const { archive, call, out } = context;
  if (options.board.includes('@')) {
    throw new EspdError('usage', 'undo itself knows which backup it puts back: name the board alone', {
      hint: `To put back one of your choice: ${commandLine(call, 'restore', 'MAC@WHICH')}`,
    });
  }
  if (options.wait !== undefined && options.port !== undefined) {
    throw new EspdError('usage', '--wait finds the port itself: leave out --port');
  }
  const consent = consentOf(out, options);
  const mac = await archive.resolveBoard(options.board);
  await refuseHalfRestored(context, mac);
  const choice = await chooseUndo(archive, mac);
  const id = idOf(context, mac, choice);
  const backup = await soundBackup(context, mac, id);
  for (const remark of remarksOn(context, backup, choice)) out.note(remark);
  const why = whyOf(choice);
  const about = { undo: undoJson(choice) };
  try {
    return await putBack(context, { backup, why, targetMac: mac, consent, about }, options);
  } catch (error) {
    // What would be put back is known without the board; what that would change is not.
    if (!options.dryRun || !(error instanceof EspdError) || error.code !== 'board-not-found') throw error;
    out.paragraph(`${mac}  would be put back to ${backup.id}, ${why}`, '  ');
    const { sizeBytes, sha256 } = backup.manifest.image;
    out.document({ mac, id: backup.id, sizeBytes, sha256, ...about, plan: null, sectorsWritten: 0, error });
    return error;
  }
}

/** What was on it before cannot be told from half of two images; what has begun is finished, or taken back by name. */
async function refuseHalfRestored({ archive, call }: CommandContext, mac: Mac): Promise<void> {
  const half = await archive.halfRestored(mac);
  if (half === null) return;
  const { message, hint } = halfRestoredText(mac, half, call);
  const snapshot = half.record?.snapshot ?? null;
  const back = snapshot === null ? '' : `. Or go back: ${commandLine(call, 'restore', '--mac', mac, '--at', snapshot)}`;
  throw new EspdError('half-restored', message, { hint: `${hint}${back}` });
}

/** @throws EspdError `archive-unknown-backup`, `archive-damaged` where there is nothing to go back to */
function idOf({ call }: CommandContext, mac: Mac, choice: UndoChoice): string {
  const others = `"${commandLine(call, 'show', mac)}" lists the backups, "${commandLine(call, 'restore', `${mac}@WHICH`)}" puts one back`;
  const refuse = (message: string, hint = others) => new EspdError('archive-unknown-backup', message, { hint });
  switch (choice.kind) {
    case 'restore':
    case 'change':
      return choice.id;
    case 'not-kept':
      throw refuse(`What was on ${mac} before the restore of ${choice.of.at} was not kept`);
    case 'gone':
      throw refuse(
        `What was on ${mac} before the restore of ${choice.of.at} is not in the archive any more (${choice.id})`,
      );
    case 'damaged':
      throw new EspdError('archive-damaged', `The newest backup of ${mac} (${choice.id}) cannot be understood`, {
        hint: `So nothing tells what its last change was. ${others}`,
      });
    case 'nothing':
      throw refuse(
        choice.backups === 0
          ? `The archive holds no backup of ${mac} yet`
          : `There is nothing to go back to: ${choice.backups === 1 ? 'there is one backup' : 'all backups'} of ${mac}${choice.backups === 1 ? '' : ' hold the same'}`,
        choice.backups === 0
          ? 'Plug the board in and run "espd backup"'
          : `If the board was changed after it, this puts it back: ${commandLine(call, 'restore', mac)}`,
      );
  }
}

function whyOf(choice: UndoChoice): string {
  if (choice.kind === 'restore') return `what was on it before the restore of ${choice.of.at}`;
  return choice.kind === 'change' ? `what was on it before it changed to ${choice.changed}` : '';
}

/** What somebody who undoes should know besides the plan. */
function remarksOn({ call }: CommandContext, { mac }: Backup, choice: UndoChoice): string[] {
  if (choice.kind !== 'restore') return [];
  const { of, since } = choice;
  const remarks: string[] = [];
  if (of.partial) {
    remarks.push('That restore wrote only a part of the flash. Undo puts all of it back to what it was before');
  }
  if (since.length > 0) {
    const other = commandLine(call, 'restore', `${mac}@${since.at(-1) ?? ''}`);
    remarks.push(
      `Since that restore ${plural(since.length, 'backup')} of it ${since.length === 1 ? 'was' : 'were'} made. To go back to the newest of them instead: ${other}`,
    );
  }
  return remarks;
}

function undoJson(choice: UndoChoice): object {
  if (choice.kind === 'change') return { before: 'change', changed: choice.changed };
  if (choice.kind !== 'restore') return {};
  const { at, from, partial } = choice.of;
  return { before: 'restore', restore: { at, from, partial }, since: choice.since };
}
