/** What most tests begin with: a board is plugged in and lands in the archive. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { seededRandom, type SimulatedBoard } from '../../../src/simulator/index.ts';
import { field, type Lab, makeBoard } from '../lab.ts';
import type { PlugOptions, PluggedBoard } from '../usb/plug.ts';

export const MIB = 1024 * 1024;

/** An error of espd; systemd has lines with `code=`, too. */
export const FAILURE = / port=.* code=/;
/** Any end of a job: a backup, or an error. */
export const OUTCOME = /^(Backed up and verified|Unchanged since its last backup)| port=.* code=/;

/** For the first bytes of a job: a limit, far beyond what it takes. */
const SENT_LIMIT_MS = 240_000;

export function sha256(content: Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}

/** The next outcome that the daemon reports for this board. @throws Error when it reports an error before */
export async function nextBackup(lab: Lab, mac: string): Promise<string> {
  const line = await lab.journal.next(
    new RegExp(`(?:Backed up and verified|Unchanged since).* mac=${mac}|${FAILURE.source}`),
  );
  assert.doesNotMatch(line, FAILURE);
  return line;
}

/** Plugs a board in, and checks that what is in the archive then is what its flash holds, and that its app runs. */
export async function plugAndBackUp(
  lab: Lab,
  socket: number,
  board: SimulatedBoard,
  options: PlugOptions,
): Promise<{ plugged: PluggedBoard; id: string; line: string }> {
  const outcome = nextBackup(lab, board.mac);
  const plugged = await lab.plug(socket, board, options);
  const line = await outcome.catch((error: unknown) => {
    throw new Error(`${(error as Error).message}\n${lineHistory(board)}`, { cause: error });
  });
  const id = field(line, 'id');
  assert.equal(await lab.archivedSha256(board.mac, id), sha256(board.flash.snapshot()), 'the archived image');
  assert.equal(board.mode, 'app', 'the board runs its app again');
  return { plugged, id, line };
}

/** A board on the chip's own USB, and how it is plugged in. */
export function usbSerialJtagBoard(more: Partial<Parameters<typeof makeBoard>[0]> = {}) {
  const board = makeBoard({ family: 'esp32c3', usb: 'usb-serial-jtag', ...more });
  const options: PlugOptions = { kind: 'cdcAcm', serialNumber: board.mac.toUpperCase() };
  return { board, options };
}

/** Content that nothing spares the wire: reading takes some twenty seconds, time enough for accidents. */
export function noise(seed: number): Uint8Array {
  return seededRandom(seed).bytes(2 * MIB);
}

/** Resolves when the board has sent so many bytes. */
export async function whenSent(board: SimulatedBoard, bytes: number): Promise<void> {
  const end = Date.now() + SENT_LIMIT_MS;
  while (board.wireBytes.toHost < bytes) {
    if (Date.now() > end) throw new Error(`the board has sent ${board.wireBytes.toHost} bytes, and no more`);
    await delay(20);
  }
}

/** The board's side of the story: what its control lines did, in milliseconds from the first change. */
function lineHistory({ lineHistory: changes, resets, mode }: SimulatedBoard): string {
  const [first] = changes;
  const story = changes.slice(-40).map(({ dtr, rts, atMs }) => {
    return `${Math.round(atMs - (first?.atMs ?? 0))}: ${dtr ? 'DTR' : '-'} ${rts ? 'RTS' : '-'}`;
  });
  return `the board: ${resets} resets, now ${mode}; lines ${story.join(', ')}`;
}
