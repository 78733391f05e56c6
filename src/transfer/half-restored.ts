/**
 * Boards on which a restore has begun and not ended: how the next job finds that out, and what it may do. Everything
 * here only reads: the daemon comes this way too.
 */

import type { HalfRestored, RestoreRecord } from '../archive/restore-record.ts';
import type { Archive } from '../archive/types.ts';
import { EspdError } from '../errors.ts';
import type { Mac } from '../mac.ts';
import type { Session } from './session.ts';

/** The command that finishes a restore, as a person would type it. */
export function finishCommand({ from, mac, parts }: Pick<RestoreRecord, 'from' | 'mac' | 'parts'>): string {
  const to = from.mac === mac ? [] : ['--to', mac];
  return ['espd restore', '--mac', from.mac, ...to, '--at', from.id, ...(parts ?? []).flatMap(partOptions)].join(' ');
}

/** Names come out of partition tables: one that a shell could take for more is left to the place. */
function partOptions({ name, offset, sizeBytes }: NonNullable<RestoreRecord['parts']>[number]): string[] {
  if (name !== null && /^[\w.][\w.-]*$/.test(name)) return ['--partition', name];
  return ['--offset', `0x${offset.toString(16)}`, '--size', `0x${sizeBytes.toString(16)}`];
}

/** One sentence and a hint for people, without a full stop. */
export function halfRestoredText(mac: Mac, { record, problem }: HalfRestored): { message: string; hint: string } {
  if (record === null) {
    return {
      message: `${mac} is half restored, and the record of it (restoring.json) ${problem}`,
      hint: `Restore the backup that it should hold: espd restore --mac ${mac} --at WHICH`,
    };
  }
  const of = record.from.mac === mac ? '' : ` of ${record.from.mac}`;
  return {
    message: `${mac} is half restored to ${record.from.id}${of}, since ${record.startedAt}`,
    hint: `Finish with: ${finishCommand(record)}`,
  };
}

/**
 * Keeps a half restored board out of the history of backups. If its flash turns out to be whole, by the chip's digests,
 * what says otherwise is removed.
 *
 * @param allow the person wants a backup of the half restored board as it is
 * @throws EspdError `half-restored`
 */
export async function guardHalfRestored(session: Session, archive: Archive, allow: boolean): Promise<void> {
  const { board, options } = session;
  const { mac } = board.identity;
  const half = await archive.halfRestored(mac);
  if (half === null) return;
  const { message, hint } = halfRestoredText(mac, half);
  if (await isWhole(session, archive, half)) {
    await archive.endRestore(mac);
    options.log.info('The board counted as half restored, but its flash is whole', { mac, half: message });
    return;
  }
  if (!allow) {
    throw new EspdError('half-restored', message, {
      hint: `${hint}. "espd backup --half-restored" keeps it as it is now`,
    });
  }
  options.log.warn('Backing up a half restored board as it is', { mac, half: message });
}

/** Whether the flash holds what the restore was to put there, or what some backup of the board holds. */
async function isWhole({ board, options }: Session, archive: Archive, { record }: HalfRestored): Promise<boolean> {
  const { mac } = board.identity;
  const { sizeBytes } = await board.openFlash();
  const ask = (offset: number, length: number) => {
    options.signal.throwIfAborted();
    return board.digest(offset, length);
  };
  const whole = await ask(0, sizeBytes);
  const { backups } = await archive.history(mac);
  if (backups.some(({ manifest: { image } }) => image.sizeBytes === sizeBytes && image.md5 === whole)) return true;
  if (record === null) return false;
  let end = 0;
  for (const { offset, sizeBytes: length, md5 } of record.done) {
    if (offset !== end || offset + length > sizeBytes) return false;
    if ((length === sizeBytes ? whole : await ask(offset, length)) !== md5) return false;
    end = offset + length;
  }
  return end === sizeBytes;
}
