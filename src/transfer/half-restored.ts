/**
 * Boards on which a restore has begun and not ended: how the next job finds that out, and what it may do. Everything
 * here only reads: the daemon comes this way too.
 */

import type { Region } from '../flash.ts';
import type { HalfRestored, RestoreRecord } from '../archive/restore-record.ts';
import type { Archive } from '../archive/types.ts';
import { EspdError } from '../errors.ts';
import type { Mac } from '../mac.ts';
import { type EspdCall, PLAIN_CALL, commandLine, finishCommand } from './finish-command.ts';
import { stationText } from '../archive/station-text.ts';
import { type Session, whileHeld } from './session.ts';

/**
 * One sentence and a hint for people, without a full stop.
 * @param call how espd was called, for the command in the hint
 */
export function halfRestoredText(mac: Mac, half: HalfRestored, call: EspdCall): { message: string; hint: string } {
  const { record } = half;
  if (record === null) {
    const restore = commandLine(call, 'restore', '--mac', mac, '--at', 'WHICH');
    return {
      message: `${mac} is half restored, and the record of it (restoring.json) ${half.problem}`,
      // A record that can be read tomorrow says what belongs on the board: no reason to write anything else today.
      hint: half.hint ?? `Restore the backup that it should hold: ${restore}`,
    };
  }
  const of = record.from.mac === mac ? '' : ` of ${record.from.mac}`;
  const at = half.station === undefined ? '' : `, at ${stationText(half.station)}`;
  return {
    message: `${mac} is half restored to ${record.from.id}${of}, since ${record.startedAt}${at}`,
    hint: `Finish with: ${finishCommand(record, call)}`,
  };
}

/**
 * Keeps a half restored board out of the history of backups. If its flash turns out to be whole, by the chip's digests,
 * what says otherwise is removed.
 *
 * @param allow the person wants a backup of the half restored board as it is
 * @param reading what the archive says of it, for a caller who has begun to ask already
 * @throws EspdError `half-restored`
 */
export async function guardHalfRestored(
  session: Session,
  archive: Archive,
  allow: boolean,
  reading = archive.halfRestored(session.board.identity.mac),
): Promise<void> {
  const { board, options } = session;
  const { mac } = board.identity;
  const half = await whileHeld(session, reading);
  if (half === null) return;
  const call = options.call ?? PLAIN_CALL;
  const { message, hint } = halfRestoredText(mac, half, call);
  const found = await lookAt(session, archive, half);
  if (found !== 'half') {
    await whileHeld(session, archive.endRestore(mac, found));
    options.log.info('The board counted as half restored, but its flash is whole', { mac, half: message });
    return;
  }
  if (!allow) {
    throw new EspdError('half-restored', message, {
      hint: `${hint}. "${commandLine(call, 'backup', '--half-restored')}" keeps it as it is now`,
    });
  }
  options.log.warn('Backing up a half restored board as it is', { mac, half: message });
}

/** `done`: the flash holds what the restore was to put there. `nothing-written`: it holds another backup of the board. */
async function lookAt(
  session: Session,
  archive: Archive,
  { record }: HalfRestored,
): Promise<'done' | 'nothing-written' | 'half'> {
  const { board, options } = session;
  const { sizeBytes } = await board.openFlash();
  const ask = ({ offset, sizeBytes: length }: Region) => {
    options.signal.throwIfAborted();
    return board.digest(offset, length);
  };
  const whole = await ask({ offset: 0, sizeBytes });
  if (record !== null && (await holds(record.done, sizeBytes, whole, ask))) return 'done';
  return (await whileHeld(session, isKnown(archive, board.identity.mac, sizeBytes, whole)))
    ? 'nothing-written'
    : 'half';
}

async function isKnown(archive: Archive, mac: Mac, sizeBytes: number, md5: string): Promise<boolean> {
  for await (const { manifest } of archive.newestFirst(mac)) {
    if (manifest.image.sizeBytes === sizeBytes && manifest.image.md5 === md5) return true;
  }
  const elsewhere = await archive.elsewhere.of(mac);
  return elsewhere.some(({ manifest }) => manifest.image.sizeBytes === sizeBytes && manifest.image.md5 === md5);
}

/** A record may come from anywhere: only one whose parts are the whole flash says something about it. */
async function holds(
  done: RestoreRecord['done'],
  flashBytes: number,
  whole: string,
  ask: (region: Region) => Promise<string>,
): Promise<boolean> {
  let end = 0;
  for (const { offset, sizeBytes } of done) {
    if (offset !== end || sizeBytes === 0) return false;
    end = offset + sizeBytes;
  }
  if (end !== flashBytes) return false;
  for (const { md5, ...region } of done) {
    if ((region.sizeBytes === flashBytes ? whole : await ask(region)) !== md5) return false;
  }
  return true;
}
