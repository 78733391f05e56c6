/** What a restore has made of a board, as the events that a daemon tells of it. Pure. */

import type { HalfRestored } from '../archive/restore-record.ts';
import type { Backup } from '../archive/types.ts';
import type { MarkMessage } from '../control/contract/session-messages.ts';
import type { Mac } from '../mac.ts';
import type { EspdCall } from '../transfer/finish-command.ts';
import { halfRestoredText } from '../transfer/half-restored.ts';
import type { RestoreOutcome } from '../transfer/restore/restore.ts';
import { type Port, type SessionResult, stuckError } from '../transfer/session.ts';

export function restoredMarks(
  port: Port,
  mac: Mac,
  { mac: from, id }: Backup,
  { left, value }: SessionResult<RestoreOutcome>,
): MarkMessage[] {
  const at = { port: port.address, mac };
  return [
    { type: 'board-restored', ...at, from, id, sectors: value.sectorsWritten },
    ...(left === 'stuck' ? [{ type: 'board-stuck', ...at, error: stuckError(port).toJSON() } as const] : []),
  ];
}

export function halfRestoredMark(port: Port, mac: Mac, half: HalfRestored, call: EspdCall): MarkMessage {
  const error = { code: 'half-restored', ...halfRestoredText(mac, half, call) } as const;
  return { type: 'half-restored', port: port.address, mac, error };
}
