/** Frames of the reader (`reader/PROTOCOL.md`): numbered, checked, and in order, or a fault. Pure. */

import { crc32 } from 'node:zlib';
import { ReaderFault } from './fault.ts';

/** Payload of every frame but the final one of the data, and at most that of it. */
export const FRAME_BYTES = 1024;
/** Sequence and CRC-32. */
const OVERHEAD_BYTES = 5;
const END_BYTES = 32;
const LAST = 0x80;
const SEQUENCES = 128;

/** What the last frame says. */
export interface StreamEnd {
  /** Of flash, as the chip has read it; without a dictionary. */
  readonly bytesRead: number;
  /** Of all data frames. */
  readonly bytesSent: number;
  /** How often the chip looked at the line while it had nothing else to do: few where the chip is the bottleneck. */
  readonly turns: number;
  /** MD5, of what was read or of all whole digests of a table. */
  readonly digest: Buffer;
}

export class FrameSequence {
  readonly #maxBytes: number;
  #frames = 0;
  #bytes = 0;
  #isShort = false;

  /** @param maxBytes of data in all: more is a fault */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Frames that came in order. */
  get frames(): number {
    return this.#frames;
  }

  /** Bytes of data in them. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * @param content of the next frame, after SLIP
   * @returns the data of a frame, or what the last one says
   * @throws ReaderFault for a frame that is wrong, missing, or of no stream
   */
  take(content: Buffer): Buffer | StreamEnd {
    const dataBytes = content.length - OVERHEAD_BYTES;
    if (dataBytes < 1 || dataBytes > FRAME_BYTES) throw fault(this.#frames, `has ${content.length} bytes`);
    const checked = content.subarray(0, -4);
    if (crc32(checked) !== content.readUInt32LE(checked.length)) throw fault(this.#frames, 'has a wrong check');
    const sequence = content[0] as number;
    const expected = this.#frames % SEQUENCES;
    if (sequence % SEQUENCES !== expected) throw fault(this.#frames, `is number ${sequence % SEQUENCES}`);
    const payload = checked.subarray(1);
    if (sequence >= LAST) return this.#end(payload);
    if (this.#isShort) throw fault(this.#frames, 'follows one that was not full');
    this.#isShort = payload.length < FRAME_BYTES;
    this.#bytes += payload.length;
    if (this.#bytes > this.#maxBytes) throw fault(this.#frames, 'is more than was asked for');
    this.#frames++;
    return payload;
  }

  #end(payload: Buffer): StreamEnd {
    if (payload.length !== END_BYTES) throw fault(this.#frames, 'ends the stream and is too short');
    const status = payload.readUInt32LE(0);
    if (status !== 0) throw new ReaderFault(`The reader could not read the flash (status ${status})`);
    return {
      bytesRead: payload.readUInt32LE(4),
      bytesSent: payload.readUInt32LE(8),
      turns: payload.readUInt32LE(12),
      digest: Buffer.from(payload.subarray(16)),
    };
  }
}

function fault(frame: number, what: string): ReaderFault {
  return new ReaderFault(`Frame ${frame} of the reader ${what}`, { damage: 'to-host' });
}
