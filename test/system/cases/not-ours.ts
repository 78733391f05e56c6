/** What espd must leave alone: gadgets that are no boards, and ports that other programs use. */

import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { makeBoard } from '../lab.ts';
import { systemTest } from '../session.ts';
import { Witness } from '../usb/plug.ts';
import { plugAndBackUp } from './backup.ts';
import { withConfig } from './config.ts';

systemTest('a Zigbee stick with a CP2102 is never opened, as the stick sees it', async (lab) => {
  const stick = new Witness();
  const seen = lab.journal.next(/Left alone.*Zigbee/);
  await lab.plugGadget(1, stick, { kind: 'cp210x', product: 'Sonoff Zigbee 3.0 USB Dongle Plus' });
  await seen;
  // Commands that look for boards pass it by, too, and so does a daemon that finds it at its start and takes all.
  await lab.espd('identify --json');
  await withConfig(lab, 'watch: { existing: all }', async () => {
    // A board that comes later is served: the daemon has looked at all ports by then.
    await plugAndBackUp(lab, 2, makeBoard({ family: 'esp32' }), { kind: 'cp210x' });
  });
  assert.deepEqual(stick.lines, [], 'its control lines never moved');
  assert.deepEqual(stick.baudRates, []);
  assert.equal(stick.receivedBytes, 0);
});

for (const { program, command, name } of [
  {
    program: 'picocom, with a lock file',
    command: 'sleep 600 | picocom --quiet --noreset /dev/ttyUSB0',
    name: 'picocom',
  },
  { program: 'a program with flock, as esptool', command: 'flock --exclusive /dev/ttyUSB0 sleep 600', name: 'flock' },
]) {
  systemTest(`a port in use by ${program} is not touched`, async (lab) => {
    const board = makeBoard({ family: 'esp32' });
    await lab.guest.check('systemctl stop espd');
    await lab.plug(1, board, { kind: 'cp210x' });
    await lab.until('the port is there', 'test -e /dev/ttyUSB0');
    await lab.guest.check(`udevadm settle; systemd-run --quiet --unit=holder sh -c '${command}'`);
    await lab.until('the program has the port', 'fuser --silent /dev/ttyUSB0');
    // The kernel moves the lines when the program opens the port.
    await delay(1000);
    const { lineHistory, resets } = board;
    const before = lineHistory.length;

    const { status, stdout } = await lab.espd('backup --port /dev/ttyUSB0 --json');
    assert.notEqual(status, 0);
    assert.match(stdout, /"port-busy"/);
    const busy = lab.journal.next(/ port=\/dev\/ttyUSB0 code=port-busy/);
    await withConfig(lab, 'watch: { existing: all }', async () => {
      assert.match(await busy, new RegExp(`${name} \\(pid \\d+\\)`));
    });
    assert.equal(board.resets, resets);
    assert.deepEqual(lineHistory.slice(before), [], 'the control lines did not move');
    await lab.guest.run('systemctl stop holder');
  });
}
