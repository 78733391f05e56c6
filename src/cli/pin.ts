/** `espd pin` and `espd unpin`: a pinned backup is never removed by a policy. */

import { EspdError } from '../errors.ts';
import type { Mac } from '../mac.ts';
import { checkPinNote, pinBackup, pinnableId, unpinBackup } from '../transfer/pin-backup.ts';
import type { CommandContext } from './context.ts';
import { printable } from './text.ts';

/** @param text MAC or label, and `@WHICH`; without it, `latest` */
export async function pin(context: CommandContext, text: string, note: string | undefined): Promise<undefined> {
  const { out } = context;
  const noted = note === undefined ? null : checkPinNote(note);
  const { mac, id } = await find(context, text);
  await pinBackup(context, { mac, id, note: noted });
  context.onMark({ type: 'backup-pinned', mac, id, pinned: true });
  out.line(`Pinned ${id} of ${mac}: it is never removed by a policy`);
  out.document({ mac, id, pinned: true, note: noted });
  return undefined;
}

export async function unpin(context: CommandContext, text: string): Promise<undefined> {
  const { out } = context;
  const { mac, id } = await find(context, text);
  const wasPinned = await unpinBackup(context, mac, id);
  if (wasPinned) context.onMark({ type: 'backup-pinned', mac, id, pinned: false });
  out.line(wasPinned ? `Unpinned ${id} of ${mac}: a policy may remove it` : `${id} of ${mac} was not pinned`);
  out.document({ mac, id, pinned: false, note: null });
  return undefined;
}

async function find({ archive }: CommandContext, text: string): Promise<{ mac: Mac; id: string }> {
  const [board = '', which = 'latest'] = text.split(/@(.*)/s);
  if (which === '') {
    throw new EspdError('usage', `"${printable(text)}" names no backup behind the @`, {
      hint: 'Use latest, first, a backup id or an ISO date such as 2026-11-23',
    });
  }
  const mac = await archive.resolveBoard(board);
  return { mac, id: await pinnableId(archive, mac, which) };
}
