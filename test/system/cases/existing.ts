/** Ports that are there before the daemon: only those that are ESP boards without doubt are touched. */

import assert from 'node:assert/strict';
import { makeBoard } from '../lab.ts';
import { systemTest } from '../session.ts';
import { nextBackup, usbSerialJtagBoard } from './backup.ts';

systemTest('of two boards present at the start, the one known by its USB ids is backed up', async (lab) => {
  const bridged = makeBoard({ family: 'esp32' });
  const { board: native, options } = usbSerialJtagBoard();
  await lab.guest.check('systemctl stop espd');
  await lab.plug(1, bridged, { kind: 'cp210x' });
  await lab.plug(2, native, options);
  await lab.until('both ttys are there', 'test -e /dev/ttyUSB0 -a -e /dev/ttyACM0');
  await lab.guest.check('udevadm settle');
  const leftAlone = lab.journal.next(/Left alone: it was there at the start.* port=\/dev\/ttyUSB0/);
  const outcome = nextBackup(lab, native.mac);
  await lab.startDaemon();
  await Promise.all([leftAlone, outcome]);
  assert.deepEqual(bridged.lineHistory, [], 'the other was not even opened');
  assert.equal(native.mode, 'app');
});
