/** Plugging: a simulated board, or any serial gadget, into a USB socket of the guest, and pulling it out again. */

import { once } from 'node:events';
import { type Socket, connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { ControlLines } from '../../../src/serial/link.ts';
import type { SimulatedBoard } from '../../../src/simulator/index.ts';
import { cdcAcm } from './cdc-acm.ts';
import { ch341 } from './ch341.ts';
import { cp210x } from './cp210x.ts';
import { ftdi } from './ftdi.ts';
import type { SerialFunctionFactory, SerialSide } from './function.ts';
import { UsbRedirPeer } from './usbredir.ts';

export const BRIDGES = { cp210x, ch341, ftdi, cdcAcm } satisfies Record<string, SerialFunctionFactory>;
export type BridgeKind = keyof typeof BRIDGES;

export interface PlugOptions {
  readonly kind: BridgeKind;
  /** Other texts than the chip's maker wrote into it. */
  readonly product?: string;
  readonly serialNumber?: string;
}

/** A device in a socket. */
export class PluggedDevice {
  readonly #socket: Socket;
  readonly #peer: UsbRedirPeer;

  private constructor(socket: Socket, peer: UsbRedirPeer) {
    this.#socket = socket;
    this.#peer = peer;
  }

  /** @param path of the USB socket: `Machine.socketPath` */
  static async plug(path: string, side: SerialSide, { kind, ...texts }: PlugOptions): Promise<PluggedDevice> {
    const socket = await connectToSocket(path);
    return new PluggedDevice(socket, new UsbRedirPeer(socket, BRIDGES[kind](side, texts), side));
  }

  transmit(data: Buffer): void {
    this.#peer.transmit(data);
  }

  unplug(): void {
    this.#socket.destroy();
  }
}

/** QEMU takes one connection at a time, and needs a moment to notice that the last one has ended. */
async function connectToSocket(path: string): Promise<Socket> {
  for (let attempt = 1; ; attempt++) {
    const socket = connect(path);
    try {
      await once(socket, 'connect');
      return socket;
    } catch (error) {
      if (attempt === 20) throw error;
      await delay(50);
    }
  }
}

/**
 * A board behind a bridge or on its own USB. Goes and comes back by itself where the board re-enumerates.
 */
export class PluggedBoard {
  readonly board: SimulatedBoard;
  readonly #path: string;
  readonly #options: PlugOptions;
  #device: PluggedDevice | undefined;
  #pulled = false;
  /** What happens in the gap of a re-enumeration, before the board comes back. */
  onGone: (() => Promise<void>) | undefined;
  /** How often it went by itself. */
  reenumerations = 0;

  private constructor(path: string, board: SimulatedBoard, options: PlugOptions) {
    this.#path = path;
    this.board = board;
    this.#options = options;
  }

  static async plug(path: string, board: SimulatedBoard, options: PlugOptions): Promise<PluggedBoard> {
    const plugged = new PluggedBoard(path, board, options);
    board.plug();
    await plugged.#connect();
    return plugged;
  }

  /** Pulls the cable: power and connection are gone. */
  unplug(): void {
    this.#pulled = true;
    this.board.onAppear = undefined;
    this.board.onVanish = undefined;
    this.board.onTransmit = undefined;
    this.#device?.unplug();
    this.board.unplug();
  }

  async #connect(): Promise<void> {
    const { board } = this;
    if (this.#pulled) return;
    const device = await PluggedDevice.plug(this.#path, board, this.#options);
    this.#device = device;
    board.onTransmit = (data) => device.transmit(data);
    board.onVanish = () => {
      device.unplug();
      this.reenumerations++;
      const gone = this.onGone?.() ?? Promise.resolve();
      board.onAppear = () => {
        // It fails when the guest is gone, which its own calls tell.
        void gone.then(() => this.#connect()).catch(() => undefined);
      };
    };
  }
}

/** A serial gadget that is no ESP board, and remembers whatever was done to it. */
export class Witness implements SerialSide {
  readonly lines: ControlLines[] = [];
  readonly baudRates: number[] = [];
  receivedBytes = 0;

  receive(data: Buffer): void {
    this.receivedBytes += data.length;
  }
  setControlLines(lines: ControlLines): void {
    this.lines.push(lines);
  }
  setBaudRate(baudRate: number): void {
    this.baudRates.push(baudRate);
  }
}
