/** Cables pulled out at the worst moments. */

import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { seededRandom, type SimulatedBoard } from '../../../src/simulator/index.ts';
import { type Lab, makeBoard } from '../lab.ts';
import { systemTest } from '../session.ts';
import { FAILURE, plugAndBackUp } from './backup.ts';

const MIB = 1024 * 1024;
/** A busy loop takes all of this; a daemon that waits takes next to nothing, even in an emulated guest. */
const OBSERVED_MS = 4000;
const BUSY_SHARE = 0.5;

/** Content that nothing spares the wire: reading takes some twenty seconds. */
function fullBoard(seed: number): SimulatedBoard {
  return makeBoard({ family: 'esp32', content: seededRandom(seed).bytes(2 * MIB) });
}

/** Resolves when the board has sent so many bytes. */
export async function whenSent(board: SimulatedBoard, bytes: number): Promise<void> {
  const end = Date.now() + 90_000;
  while (board.wireBytes.toHost < bytes) {
    if (Date.now() > end) throw new Error(`the board has sent ${board.wireBytes.toHost} bytes, and no more`);
    await delay(20);
  }
}

async function assertAtRest(lab: Lab): Promise<void> {
  const pid = await lab.mainPid();
  await lab.until('no tty is held open', `! ls -l /proc/${pid}/fd | grep -E 'tty(USB|ACM)'`, 15_000);
  const ticks = async () =>
    Number(await lab.guest.check(`cut -d')' -f2 /proc/${pid}/stat | awk '{ print $12 + $13 }'`));
  const before = await ticks();
  await delay(OBSERVED_MS);
  // 100 ticks a second.
  const share = ((await ticks()) - before) / (OBSERVED_MS / 10);
  assert.ok(share < BUSY_SHARE, `the daemon uses ${(share * 100).toFixed(0)} % of a core`);
}

systemTest('pulled out in the middle of a read, and backed up in another socket', async (lab) => {
  const board = fullBoard(11);
  const failure = lab.journal.next(FAILURE);
  const plugged = await lab.plug(1, board, { kind: 'cp210x' });
  await whenSent(board, 0.6 * MIB);
  plugged.unplug();
  assert.match(await failure, / code=port-vanished/);
  await assertAtRest(lab);
  assert.deepEqual(await lab.backupIds(board.mac), [], 'nothing incomplete is in the archive');

  await plugAndBackUp(lab, 4, board, { kind: 'cp210x' });
});

systemTest('pulled out five times, on each kind of port, and the daemon is at rest and ready', async (lab) => {
  const kinds = ['ch341', 'cdcAcm', 'ftdi', 'cp210x', 'cdcAcm'] as const;
  for (const [index, kind] of kinds.entries()) {
    const board =
      kind === 'cdcAcm'
        ? makeBoard({ family: 'esp32c3', usb: 'usb-serial-jtag', content: seededRandom(20 + index).bytes(2 * MIB) })
        : fullBoard(20 + index);
    const plugged = await lab.plug(1, board, { kind, serialNumber: board.mac.toUpperCase() });
    // From the boot log of the reset to the middle of the flash.
    await whenSent(board, 200 + index * 100_000);
    const end = lab.journal.next(/ port=.* code=|Went away when it was reset/);
    plugged.unplug();
    assert.match(await end, / code=(port-vanished|port-missing)|Went away/);
  }
  await assertAtRest(lab);
  await plugAndBackUp(lab, 1, makeBoard({ family: 'esp32' }), { kind: 'cp210x' });
});
