/** `espd pin` and `espd unpin`: a pinned backup is never removed by a policy. */

import { selectId } from '../archive/which.ts';
import { sleep } from '../clock.ts';
import { EspdError } from '../errors.ts';
import type { Mac } from '../mac.ts';
import { meantBackup } from '../transfer/meant-backup.ts';
import type { CommandContext } from './context.ts';
import { printable } from './text.ts';

const MAX_NOTE = 1000;
/** While a backup is being removed it is away for a moment, and comes back if it was pinned in time. */
const LOOKS = 20;
const BETWEEN_LOOKS_MS = 100;

/** @param text MAC or label, and `@WHICH`; without it, `latest` */
export async function pin(context: CommandContext, text: string, note: string | undefined): Promise<undefined> {
  const { archive, out } = context;
  if (note !== undefined && note.length > MAX_NOTE) {
    throw new EspdError('usage', `The note has ${note.length} characters`, { hint: `At most ${MAX_NOTE} are kept` });
  }
  const { mac, id } = await find(context, text);
  await archive.marks.pin(mac, id, { pinned: true, note: note ?? null });
  if (!(await isThere(context, mac, id))) {
    throw new EspdError('archive-unknown-backup', `Backup ${id} of ${mac} was removed at this moment`, {
      hint: `See what is there: espd show ${mac}`,
    });
  }
  out.line(`Pinned ${id} of ${mac}: it is never removed by a policy`);
  out.document({ mac, id, pinned: true, note: note ?? null });
  return undefined;
}

export async function unpin(context: CommandContext, text: string): Promise<undefined> {
  const { archive, out } = context;
  const { mac, id } = await find(context, text);
  const { pins } = await archive.marks.of(mac);
  if (pins.some((each) => each.id === id)) {
    await archive.marks.pin(mac, id, { pinned: false, note: null });
    out.line(`Unpinned ${id} of ${mac}: a policy may remove it`);
  } else {
    out.line(`${id} of ${mac} was not pinned`);
  }
  out.document({ mac, id, pinned: false, note: null });
  return undefined;
}

/** A damaged backup can be pinned by its id: it may be all that is left. */
async function find({ archive }: CommandContext, text: string): Promise<{ mac: Mac; id: string }> {
  const [board = '', which = 'latest'] = text.split(/@(.*)/s);
  if (which === '') {
    throw new EspdError('usage', `"${printable(text)}" names no backup behind the @`, {
      hint: 'Use latest, first, a backup id or an ISO date such as 2026-11-23',
    });
  }
  const mac = await archive.resolveBoard(board);
  if (which === 'latest') return { mac, id: (await meantBackup(archive, mac, which)).id };
  return { mac, id: selectId(mac, await archive.backupIds(mac), which) };
}

async function isThere({ archive, clock, signal }: CommandContext, mac: Mac, id: string): Promise<boolean> {
  for (let look = 1; ; look++) {
    if ((await archive.backupIds(mac)).includes(id)) return true;
    if (look === LOOKS) return false;
    await sleep(clock, BETWEEN_LOOKS_MS, signal);
  }
}
