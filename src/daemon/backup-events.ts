/** What is told of a backup that a job of the daemon, or a command that went through it, has made. Pure. */

import type { BackupOutcome } from '../transfer/backup.ts';
import { type Port, type SessionResult, stuckError } from '../transfer/session.ts';
import type { EventBody, FirmwareFacts } from './event-types.ts';

type BackupEvent = Extract<
  EventBody,
  { readonly type: 'backup-kept' | 'backup-unchanged' | 'new-board' | 'firmware-changed' | 'board-stuck' }
>;

/** @param job null = none of the daemon's */
export function backupEvents<Job extends number | null>(
  port: Port,
  job: Job,
  result: SessionResult<BackupOutcome>,
): (BackupEvent & { readonly job?: Job })[] {
  const { backup, before, isFirst, transfer, unchanged } = result.value;
  const { mac, id, manifest } = backup;
  const { sizeBytes, aliasedAtBytes } = manifest.flash;
  const chip = manifest.chip.name;
  const at = port.address;
  const firmware = firmwareOf(backup);
  const was = before === null ? null : firmwareOf(before);
  const kept = {
    ...{ job, port: at, mac, id, chip, sizeBytes, firmware },
    flashBytesRead: transfer.flashBytesRead,
    wireBytes: result.wireBytes,
    seconds: result.seconds,
    retries: transfer.retries,
    baudRate: transfer.baudRate,
  };
  const hasChanged = !unchanged && before !== null && !isSameFirmware(was, firmware);
  return [
    unchanged ? { type: 'backup-unchanged', ...kept } : { type: 'backup-kept', ...kept, aliasedAtBytes },
    ...(isFirst && !unchanged ? [{ type: 'new-board', port: at, mac, chip, id } as const] : []),
    ...(hasChanged ? [{ type: 'firmware-changed', port: at, mac, id, before: was, now: firmware } as const] : []),
    // The backup is kept, and yet the board's owner has an outage.
    ...(result.left === 'stuck'
      ? [{ type: 'board-stuck', port: at, mac, error: stuckError(port).toJSON() } as const]
      : []),
  ];
}

function firmwareOf({ manifest }: BackupOutcome['backup']): FirmwareFacts | null {
  const { firmware } = manifest.contents;
  return firmware === null ? null : { name: firmware.name, version: firmware.version };
}

function isSameFirmware(one: FirmwareFacts | null, other: FirmwareFacts | null): boolean {
  return one?.name === other?.name && one?.version === other?.version;
}
