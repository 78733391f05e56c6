/**
 * A board without auto-reset behind the FTDI bridge that QEMU itself models, which passes on neither control lines nor
 * baud rate: somebody holds BOOT while plugging in.
 */

import assert from 'node:assert/strict';
import type { SimulatedBoard } from '../../../src/simulator/index.ts';
import { field, type Lab, makeBoard } from '../lab.ts';
import { systemTest } from '../session.ts';
import { assertAtRest } from './at-rest.ts';
import { FAILURE, nextBackup, noise, sha256, whenSent } from './backup.ts';
import { withConfig } from './config.ts';

function boardWithoutAutoReset(more: Partial<Parameters<typeof makeBoard>[0]> = {}): SimulatedBoard {
  const board = makeBoard({ family: 'esp32', autoReset: false, ...more });
  board.unplug();
  return board;
}

/** Gives it power while BOOT is held, which is download mode. */
async function plugHoldingBoot(lab: Lab, board: SimulatedBoard) {
  board.pressBoot(true);
  board.plug();
  return lab.plugByHand(board);
}

systemTest('a board without auto-reset, BOOT held: backed up, and said to be still in download mode', async (lab) => {
  await withConfig(lab, 'serial: { baudRate: 115200 }', async () => {
    const board = boardWithoutAutoReset();
    const stuck = lab.journal.next(/code=still-in-bootloader/);
    const outcome = nextBackup(lab, board.mac);
    const plugged = await plugHoldingBoot(lab, board);
    const id = field(await outcome, 'id');
    await stuck;
    assert.equal(await lab.archivedSha256(board.mac, id), sha256(board.flash.snapshot()));
    board.pressBoot(false);
    board.pressReset();
    await plugged.unplug();

    const full = boardWithoutAutoReset({ content: noise(61) });
    const vanished = lab.journal.next(FAILURE);
    const again = await plugHoldingBoot(lab, full);
    await whenSent(full, 50_000);
    await again.unplug();
    assert.match(await vanished, / code=port-vanished/);
    await assertAtRest(lab);
    assert.deepEqual(await lab.backupIds(full.mac), []);
  });
});
