/** A guest to look around in: espd is installed, boards are plugged in one after the other, its console is here. */

import { Lab, makeBoard } from './lab.ts';
import { BRIDGES, type BridgeKind } from './usb/plug.ts';

const kinds = process.argv.slice(2);
const unknown = kinds.find((kind) => !(kind in BRIDGES));
if (unknown !== undefined) {
  process.stderr.write(`no kind of device: ${unknown}; there are ${Object.keys(BRIDGES).join(', ')}\n`);
  process.exit(2);
}

const lab = await Lab.open({ log: (line) => process.stderr.write(`${line}\r\n`), interactive: true });
for (const [index, kind] of (kinds.length > 0 ? kinds : Object.keys(BRIDGES)).entries()) {
  const board = makeBoard(kind === 'cdcAcm' ? { family: 'esp32c3', usb: 'usb-serial-jtag' } : { family: 'esp32' });
  await lab.plug(index + 1, board, { kind: kind as BridgeKind, serialNumber: board.mac.toUpperCase() });
}
await lab.guest.ended();
await lab.close();
