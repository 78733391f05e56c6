/** What espd must leave alone: gadgets that are no boards, and ports that other programs use. */

import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { makeBoard } from '../lab.ts';
import { systemTest } from '../session.ts';
import { Witness } from '../usb/plug.ts';

systemTest('a Zigbee stick with a CP2102 is never opened, as the stick sees it', async (lab) => {
  const stick = new Witness();
  const seen = lab.journal.next(/Left alone.*Zigbee/);
  await lab.plugGadget(1, stick, { kind: 'cp210x', product: 'Sonoff Zigbee 3.0 USB Dongle Plus' });
  await seen;
  // Commands that look for boards pass it by, too.
  await lab.espd('identify --json');
  await lab.restartDaemon();
  await delay(5000);
  assert.deepEqual(stick.lines, [], 'its control lines never moved');
  assert.deepEqual(stick.baudRates, []);
  assert.equal(stick.receivedBytes, 0);
});

for (const { program, command } of [
  { program: 'picocom, with a lock file', command: 'sleep 300 | picocom --quiet --noreset /dev/ttyUSB0' },
  { program: 'a program with flock, as esptool', command: 'flock --exclusive /dev/ttyUSB0 sleep 300' },
]) {
  systemTest(`a port in use by ${program} is not touched`, async (lab) => {
    const board = makeBoard({ family: 'esp32' });
    await lab.guest.check('systemctl stop espd');
    try {
      await lab.plug(1, board, { kind: 'cp210x' });
      await lab.until('the port is there', 'test -e /dev/ttyUSB0');
      await lab.guest.check(`systemd-run --quiet --unit=holder sh -c '${command}'`);
      await lab.until('the program has the port', 'fuser --silent /dev/ttyUSB0');
      await delay(1000);
      const { lineHistory, resets } = board;
      const before = lineHistory.length;

      const { status, stdout } = await lab.espd('backup --port /dev/ttyUSB0 --json');
      assert.notEqual(status, 0);
      assert.match(stdout, /"port-busy"/);
      assert.equal(board.resets, resets);
      assert.deepEqual(board.lineHistory.slice(before), [], 'the control lines did not move');
    } finally {
      await lab.guest.run('systemctl stop holder');
      await lab.guest.check('systemctl start espd', 120_000);
    }
  });
}
