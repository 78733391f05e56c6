/**
 * The FT232 that QEMU itself models (hw/usb/dev-serial.c), plugged in by `device_add` and pulled out by `device_del`.
 * It carries bytes and nothing else: DTR, RTS and the baud rate do not leave QEMU. So the board behind it has no
 * auto-reset, and all of it runs at 115200 baud.
 */

import { once } from 'node:events';
import { type Socket, connect } from 'node:net';
import type { SimulatedBoard } from '../../../src/simulator/index.ts';
import type { Machine } from '../guest/machine.ts';

const DEVICE = 'ftdi-of-qemu';

export class QemuSerial {
  readonly #machine: Machine;
  readonly #board: SimulatedBoard;
  readonly #wire: Socket;
  #plugged = true;

  private constructor(machine: Machine, board: SimulatedBoard, wire: Socket) {
    this.#machine = machine;
    this.#board = board;
    this.#wire = wire;
    wire.on('error', () => undefined);
    wire.on('data', (data) => board.receive(data));
    board.onTransmit = (data) => wire.write(data);
  }

  /** One at a time. */
  static async plug(machine: Machine, board: SimulatedBoard): Promise<QemuSerial> {
    const { path, chardev, port } = machine.ownSerial;
    const wire = connect(path);
    await once(wire, 'connect');
    const plugged = new QemuSerial(machine, board, wire);
    const place = { bus: 'xhci.0', port: String(port) };
    await machine.qmp.execute('device_add', { driver: 'usb-serial', id: DEVICE, chardev, ...place });
    return plugged;
  }

  /** Pulls the cable: power and connection are gone. */
  async unplug(): Promise<void> {
    if (!this.#plugged) return;
    this.#plugged = false;
    this.#board.onTransmit = undefined;
    await this.#machine.qmp.removeDevice(DEVICE);
    this.#board.unplug();
    this.#wire.destroy();
  }
}
