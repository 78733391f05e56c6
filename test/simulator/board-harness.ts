/** Talking to a simulated board byte by byte, with a SLIP decoder of the test's own. */

import assert from 'node:assert/strict';

import { createBoard, VirtualClock } from '../../src/simulator/index.ts';
import type { BoardOptions, SimulatedBoard } from '../../src/simulator/index.ts';

/** SLIP by the book, so that neither the simulator nor `src/esp` checks itself. */
export function slipEncode(content: Uint8Array): Buffer {
  const bytes = [0xc0];
  for (const byte of content) {
    if (byte === 0xc0) bytes.push(0xdb, 0xdc);
    else if (byte === 0xdb) bytes.push(0xdb, 0xdd);
    else bytes.push(byte);
  }
  bytes.push(0xc0);
  return Buffer.from(bytes);
}

/** All frames of a stream and the bytes outside them. */
export function slipDecode(stream: Buffer): { frames: Buffer[]; outside: Buffer } {
  const frames: Buffer[] = [];
  const outside: number[] = [];
  let frame: number[] | null = null;
  for (let at = 0; at < stream.length; at++) {
    const byte = stream[at]!;
    if (byte === 0xc0) {
      if (frame === null) frame = [];
      else {
        frames.push(Buffer.from(frame));
        frame = null;
      }
    } else if (frame === null) outside.push(byte);
    else if (byte === 0xdb) frame.push(stream[++at] === 0xdc ? 0xc0 : 0xdb);
    else frame.push(byte);
  }
  return { frames, outside: Buffer.from(outside) };
}

export function request(opcode: number, payload: Uint8Array = Buffer.alloc(0), checksum = 0): Buffer {
  const header = Buffer.alloc(8);
  header[1] = opcode;
  header.writeUInt16LE(payload.length, 2);
  header.writeUInt32LE(checksum >>> 0, 4);
  return Buffer.concat([header, payload]);
}

export function words(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  values.forEach((value, index) => bytes.writeUInt32LE(value >>> 0, index * 4));
  return bytes;
}

/** A *_DATA request: header, data, checksum. */
export function dataRequest(opcode: number, sequence: number, data: Uint8Array): Buffer {
  const checksum = data.reduce((sum, byte) => sum ^ byte, 0xef);
  return request(opcode, Buffer.concat([words(data.length, sequence, 0, 0), data]), checksum);
}

export const SYNC_PAYLOAD = Buffer.concat([Buffer.from('07071220', 'hex'), Buffer.alloc(32, 0x55)]);

export interface Session {
  readonly board: SimulatedBoard;
  readonly clock: VirtualClock;
  /** Everything that the board sent since the last `take`. */
  take(): Buffer;
  /** Sends a frame and gives the frames that came until the board fell silent. */
  ask(content: Uint8Array): Promise<Buffer[]>;
  /** The same for one request with exactly one answer. */
  one(opcode: number, payload?: Uint8Array): Promise<Buffer>;
  /** Lets `durationMs` pass. */
  pass(durationMs: number): Promise<void>;
  enterDownload(): Promise<void>;
  sync(): Promise<Buffer[]>;
  /** Uploads something that passes for a stub. */
  startStub(): Promise<void>;
}

export function session(options: Omit<BoardOptions, 'clock'>): Session {
  const clock = new VirtualClock({ automatic: false });
  const board = createBoard({ ...options, clock });
  let received: Buffer[] = [];
  board.onTransmit = (data) => received.push(data);
  const take = () => {
    const all = Buffer.concat(received);
    received = [];
    return all;
  };
  const self: Session = {
    board,
    clock,
    take,
    pass: (durationMs) => clock.advance(durationMs),
    async ask(content) {
      take();
      board.receive(slipEncode(content));
      await clock.advance(2000);
      return slipDecode(take()).frames;
    },
    async one(opcode, payload) {
      const frames = await self.ask(request(opcode, payload));
      assert.equal(frames.length, 1, `one answer to 0x${opcode.toString(16)}`);
      return frames[0]!;
    },
    async enterDownload() {
      board.pressBoot(true);
      board.pressReset(10);
      await clock.advance(100);
      board.pressBoot(false);
      take();
    },
    sync: () => self.ask(request(0x08, SYNC_PAYLOAD)),
    async startStub() {
      const program = Buffer.alloc(100, 7);
      await self.ask(request(0x05, words(program.length, 1, 0x1800, 0x40080000)));
      await self.ask(dataRequest(0x07, 0, program));
      const frames = await self.ask(request(0x06, words(0, 0x40080010)));
      assert.equal(frames.at(-1)?.toString('latin1'), 'OHAI');
    },
  };
  return self;
}
