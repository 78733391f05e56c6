/** Every kind of USB connection, through the kernel's own driver: backup after plugging in, and restore. */

import assert from 'node:assert/strict';
import type { SimulatedBoard } from '../../../src/simulator/index.ts';
import { makeBoard } from '../lab.ts';
import { systemTest } from '../session.ts';
import type { PlugOptions } from '../usb/plug.ts';
import { plugAndBackUp, usbSerialJtagBoard } from './backup.ts';

interface Connection {
  readonly name: string;
  readonly make: () => { board: SimulatedBoard; options: PlugOptions };
}

const CONNECTIONS: readonly Connection[] = [
  {
    name: 'ESP32 behind a CP2102',
    make: () => ({ board: makeBoard({ family: 'esp32' }), options: { kind: 'cp210x' } }),
  },
  {
    name: 'ESP8266 behind a CH340',
    make: () => ({ board: makeBoard({ family: 'esp8266' }), options: { kind: 'ch341' } }),
  },
  {
    name: 'ESP32-S3 behind an FT232R',
    make: () => ({ board: makeBoard({ family: 'esp32s3' }), options: { kind: 'ftdi' } }),
  },
  { name: 'ESP32-C3 on its USB-Serial/JTAG', make: () => usbSerialJtagBoard() },
];

for (const { name, make } of CONNECTIONS) {
  systemTest(`${name}: plugged in, backed up; wiped, restored`, async (lab) => {
    const { board, options } = make();
    await plugAndBackUp(lab, 1, board, options);

    const factory = board.flash.snapshot();
    board.flash.erase(0, board.flash.sizeBytes);
    board.powerCycle();
    assert.notEqual(board.mode, 'download', 'it is for espd to reset it into download mode');
    const { status, stdout, stderr } = await lab.espd(`restore --mac ${board.mac} --yes --json`);
    assert.equal(status, 0, stderr + stdout);
    assert.ok((JSON.parse(stdout) as { verified: boolean }).verified);
    assert.ok(board.flash.snapshot().equals(factory), 'the flash is what it was, byte for byte');
    assert.equal(board.mode, 'app', 'the restored app runs');
  });
}
