/** What people say of boards and backups: the rules are those of `espd label` and `espd pin`. */

import type { Archive } from '../../archive/types.ts';
import type { Clock } from '../../clock.ts';
import type { EventBody } from '../../daemon/event-types.ts';
import type { EspdCall } from '../../transfer/finish-command.ts';
import { checkedAbout, labelBoard } from '../../transfer/label-board.ts';
import { checkPinNote, pinBackup, pinnableId, unpinBackup } from '../../transfer/pin-backup.ts';
import { labelRequest, pinRequest } from '../contract/requests.ts';
import type { ApiRequest } from '../server.ts';
import { validate } from '../validate.ts';

export interface MarkParts {
  readonly archive: Archive;
  readonly call: EspdCall;
  readonly clock: Clock;
  /** Tells what was changed, so that others who show it read it anew. */
  readonly emit: (event: EventBody) => void;
}

/** `PATCH /v1/boards/{board}` */
export async function changeLabel(parts: MarkParts, { params, body }: ApiRequest): Promise<object> {
  const change = checkedAbout(validate(labelRequest, await body()));
  const mac = await parts.archive.resolveBoard(params['board'] ?? '');
  const { about, isNew } = await labelBoard(parts, mac, change);
  if (isNew) parts.emit({ type: 'board-described', mac, ...about });
  return { mac, ...about };
}

/** `PATCH /v1/boards/{board}/backups/{id}` */
export async function changePin(parts: MarkParts, { params, body, signal }: ApiRequest): Promise<object> {
  const { pinned, note } = validate(pinRequest, await body());
  const { archive, clock } = parts;
  const noted = note === null ? null : checkPinNote(note);
  const mac = await archive.resolveBoard(params['board'] ?? '');
  const id = await pinnableId(archive, mac, params['id'] ?? '');
  if (pinned) await pinBackup({ archive, clock, signal }, { mac, id, note: noted });
  const isNew = pinned || (await unpinBackup(parts, mac, id));
  if (isNew) parts.emit({ type: 'backup-pinned', mac, id, pinned });
  return { mac, id, pinned, note: pinned ? noted : null };
}
