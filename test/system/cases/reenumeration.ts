/** Boards whose port goes away and comes back when espd resets them: one plug-in is one job. */

import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { systemTest } from '../session.ts';
import { Witness } from '../usb/plug.ts';
import { nextBackup, OUTCOME, usbSerialJtagBoard } from './backup.ts';

/** Longer than the cooldown of the default config: what still comes then would come for ever. */
const SETTLE_MS = 20_000;

for (const takesOtherName of [false, true]) {
  const where = takesOtherName ? 'under another tty number' : 'under the same name';
  systemTest(`a board that re-enumerates ${where} is backed up once`, async (lab) => {
    const { board, options } = usbSerialJtagBoard({ reenumerates: true });
    const mark = lab.journal.lines.length;
    const outcome = nextBackup(lab, board.mac);
    const plugged = await lab.plug(1, board, options);
    if (takesOtherName) {
      // Another device takes the free number in the gap.
      plugged.onGone = async () => {
        plugged.onGone = undefined;
        await lab.plugGadget(2, new Witness(), { kind: 'cdcAcm', product: 'Zigbee stick' });
        await lab.until('the gadget has the number', 'test -e /dev/ttyACM0');
      };
    }
    await outcome;
    await delay(SETTLE_MS);
    assert.equal(lab.journal.since(mark, OUTCOME).length, 1, lab.journal.tail());
    assert.equal((await lab.backupIds(board.mac)).length, 1);
    assert.ok(plugged.reenumerations >= 1, 'it did re-enumerate');
    assert.equal(board.mode, 'app');
  });
}
