/** Eight boards at once, and a udev that takes its time. */

import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { field, makeBoard } from '../lab.ts';
import { systemTest } from '../session.ts';
import type { BridgeKind } from '../usb/plug.ts';
import { nextBackup, plugAndBackUp, sha256, usbSerialJtagBoard } from './backup.ts';

systemTest('eight boards plugged in at once, each in the archive', async (lab) => {
  const kinds: BridgeKind[] = ['cp210x', 'ch341', 'ftdi', 'cdcAcm'];
  const boards = Array.from({ length: 8 }, (_, index) => {
    const kind = kinds[index % kinds.length]!;
    if (kind === 'cdcAcm') return usbSerialJtagBoard();
    const board = makeBoard({ family: index < 4 ? 'esp32' : 'esp8266' });
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

systemTest("a tty that is root's alone for its first moments is waited for", async (lab) => {
  const rule = '/etc/udev/rules.d/00-slow.rules';
  const go = '/run/udev-may-go-on';
  const wait = `PROGRAM="/bin/sh -c 'until test -e ${go}; do sleep 0.1; done'"`;
  await lab.guest.check(`cat > ${rule} << 'END'\nSUBSYSTEM=="tty", KERNEL=="ttyUSB*", ${wait}\nEND`);
  await lab.guest.check('udevadm control --reload');
  try {
    const seen = lab.journal.next(/Plugged in.* port=\/dev\/ttyUSB0/);
    const backedUp = plugAndBackUp(lab, 1, makeBoard({ family: 'esp32' }), { kind: 'cp210x' });
    backedUp.catch(() => undefined);
    await seen;
    // In this time it is refused.
    await delay(1000);
    assert.equal(await lab.guest.check("stat -c '%U %a' /dev/ttyUSB0"), 'root 600');
    await lab.guest.check(`touch ${go}`);
    await backedUp;
    assert.equal(await lab.guest.check("stat -c '%G %a' /dev/ttyUSB0"), 'dialout 660');
  } finally {
    await lab.guest.check(`touch ${go}; rm ${rule}; udevadm control --reload; udevadm settle; rm ${go}`);
  }
});
