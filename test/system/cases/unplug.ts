/** Cables pulled out at the worst moments. */

import assert from 'node:assert/strict';
import { field, makeBoard } from '../lab.ts';
import { systemTest } from '../session.ts';
import { Witness } from '../usb/plug.ts';
import { assertAtRest, openDescriptors } from './at-rest.ts';
import { FAILURE, MIB, noise, plugAndBackUp, usbSerialJtagBoard, whenSent } from './backup.ts';

systemTest('pulled out in the middle of a read, and resumed in another socket as another tty', async (lab) => {
  const board = makeBoard({ family: 'esp32', content: noise(11) });
  const failure = lab.journal.next(FAILURE);
  const plugged = await lab.plug(1, board, { kind: 'cp210x' });
  await whenSent(board, MIB);
  plugged.unplug();
  assert.match(await failure, / port=\/dev\/ttyUSB0 .*code=port-vanished/);
  await assertAtRest(lab);
  assert.deepEqual(await lab.backupIds(board.mac), [], 'nothing incomplete is in the archive');

  await lab.plugGadget(2, new Witness(), { kind: 'cp210x', product: 'Zigbee stick' });
  await lab.until('the gadget has the old number', 'test -e /dev/ttyUSB0');
  const { line } = await plugAndBackUp(lab, 4, board, { kind: 'cp210x' });
  assert.equal(field(line, 'port'), '/dev/ttyUSB1');
  // 1 of 2 MiB had been sent before the accident. Some of it was still on its way to the archive.
  const readAgain = Number(field(line, 'flashBytesRead'));
  assert.ok(readAgain <= 1.5 * MIB, `${readAgain} bytes were read, as if nothing had been kept`);
});

systemTest('pulled out five times, on each kind of port, and the daemon is at rest and ready', async (lab) => {
  await plugAndBackUp(lab, 2, makeBoard({ family: 'esp32' }), { kind: 'cp210x' });
  await lab.clear();
  await assertAtRest(lab);
  const atRest = await openDescriptors(lab);

  const kinds = ['ch341', 'cdcAcm', 'ftdi', 'cp210x', 'cdcAcm'] as const;
  for (const [index, kind] of kinds.entries()) {
    const content = noise(20 + index);
    const { board, options } =
      kind === 'cdcAcm'
        ? usbSerialJtagBoard({ content })
        : { board: makeBoard({ family: 'esp32', content }), options: { kind } };
    const plugged = await lab.plug(1, board, options);
    // From the boot log of the reset to the middle of the flash.
    await whenSent(board, 200 + index * 100_000);
    const end = lab.journal.next(/ port=.* code=|Went away when it was reset/);
    plugged.unplug();
    assert.match(await end, / code=(port-vanished|port-missing)|Went away/);
  }
  await assertAtRest(lab);
  const descriptors = await openDescriptors(lab);
  assert.ok(descriptors <= atRest, `${descriptors} descriptors are open, ${atRest} were before`);
  await plugAndBackUp(lab, 1, makeBoard({ family: 'esp32' }), { kind: 'cp210x' });
});
