/** Eight boards at once, and a udev that takes its time. */

import assert from 'node:assert/strict';
import { field, makeBoard } from '../lab.ts';
import { systemTest } from '../session.ts';
import type { BridgeKind } from '../usb/plug.ts';
import { nextBackup, plugAndBackUp, sha256 } from './backup.ts';

systemTest('eight boards plugged in at once, each in the archive', async (lab) => {
  const kinds: BridgeKind[] = ['cp210x', 'ch341', 'ftdi', 'cdcAcm'];
  const boards = Array.from({ length: 8 }, (_, index) => {
    const kind = kinds[index % kinds.length]!;
    const board = makeBoard(
      kind === 'cdcAcm' ? { family: 'esp32c3', usb: 'usb-serial-jtag' } : { family: index < 4 ? 'esp32' : 'esp8266' },
    );
    return { board, options: { kind, serialNumber: board.mac.toUpperCase() } };
  });
  const outcomes = Promise.all(boards.map(({ board }) => nextBackup(lab, board.mac)));
  await Promise.all(boards.map(({ board, options }, index) => lab.plug(index + 1, board, options)));
  for (const [index, line] of (await outcomes).entries()) {
    const { board } = boards[index]!;
    assert.equal(await lab.archivedSha256(board.mac, field(line, 'id')), sha256(board.flash.snapshot()), board.mac);
    assert.equal(board.mode, 'app', board.mac);
  }
});

systemTest('a tty that stays with root for its first second is waited for', async (lab) => {
  const rule = '/etc/udev/rules.d/00-slow.rules';
  await lab.guest.check(`echo 'SUBSYSTEM=="tty", KERNEL=="ttyUSB*", PROGRAM="/bin/sleep 1"' > ${rule}`);
  await lab.guest.check('udevadm control --reload');
  try {
    await plugAndBackUp(lab, 1, makeBoard({ family: 'esp32' }), { kind: 'cp210x' });
  } finally {
    await lab.guest.check(`rm ${rule}; udevadm control --reload`);
  }
});
