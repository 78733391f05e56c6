/**
 * One conversation with the reader: a command, the frames that follow it, acknowledged by single bytes; and the way back
 * to the stub where it breaks off. `reader/PROTOCOL.md` says what is sent.
 */

import type { Loader } from '../loader.ts';
import { words } from '../protocol.ts';
import { ReaderFault, asReaderFault } from './fault.ts';
import { FRAME_BYTES, FrameSequence, type StreamEnd } from './frames.ts';

export const READER_OPCODE = { INFO: 0xe0, TABLE: 0xe1, STREAM: 0xe2 } as const;

/** How hard the chip looks for matches; 0 sends bytes as they are. */
export type Level = 0 | 1 | 2 | 3;

export const FLAG = { pattern: 2 } as const;

/** Ends a stream at once, also in the middle of a frame. */
const ABORT = 0xff;
const DELIMITER = 0xc0;
/** Silence after which nothing more of an aborted stream is on its way. */
const QUIET_MS = 50;
const QUIET_LIMIT_MS = 2000;
const SYNC_TRIES = 6;
const SYNC_LIMIT_MS = 300;
const SECTOR_DIGEST_BYTES = 8;
/** Most frames that the chip sends without an acknowledgement, by the protocol. */
const MAX_WINDOW = 64;
const MIN_WINDOW = 8;
/**
 * For so long the chip goes on sending while the host does something else. No more than that: what is under way when the
 * host stalls has to find room in the buffers of bridge and kernel.
 */
const HOST_PAUSE_MS = 25;

export interface StreamRequest {
  readonly opcode: number;
  readonly payload: Buffer;
  /** As the request says it. */
  readonly windowFrames: number;
  /** Most bytes of data that may follow. */
  readonly maxBytes: number;
  /** From one frame to the next, at most. */
  readonly frameLimitMs: number;
}

/** How many frames may be under way on a line that carries so many bytes a ms. */
export function windowFor(lineBytesPerMs: number, roundTripMs: number): number {
  const frames = Math.ceil(((roundTripMs + HOST_PAUSE_MS) * lineBytesPerMs) / FRAME_BYTES) + 2;
  return Math.min(MAX_WINDOW, Math.max(MIN_WINDOW, frames));
}

/** STREAM of one region of flash, or of the test pattern. */
export function streamRequest(facts: {
  readonly level: Level;
  readonly windowFrames: number;
  readonly flags: number;
  readonly offset: number;
  readonly sizeBytes: number;
  readonly frameLimitMs: number;
}): StreamRequest {
  const { level, windowFrames, flags, offset, sizeBytes, frameLimitMs } = facts;
  return {
    opcode: READER_OPCODE.STREAM,
    payload: words(level, windowFrames, flags, 1, offset, sizeBytes),
    windowFrames,
    // What does not compress grows by 5 bytes for each 1000.
    maxBytes: sizeBytes + Math.ceil(sizeBytes / 200) + 64,
    frameLimitMs,
  };
}

/** TABLE: the first eight bytes of the MD5 of each sector. */
export function tableRequest(facts: {
  readonly windowFrames: number;
  readonly offset: number;
  readonly sectors: number;
  readonly frameLimitMs: number;
}): StreamRequest {
  const { windowFrames, offset, sectors, frameLimitMs } = facts;
  const payload = words(offset, sectors, windowFrames);
  return {
    ...{ opcode: READER_OPCODE.TABLE, payload, windowFrames, frameLimitMs },
    maxBytes: sectors * SECTOR_DIGEST_BYTES,
  };
}

/**
 * @param onData gets the data, frame by frame, in order
 * @throws ReaderFault for anything that is not as it should be; then the chip may still be sending: {@link abortStream}
 */
export async function runStream(
  stub: Loader,
  request: StreamRequest,
  onData: (payload: Buffer) => Promise<void> | undefined,
): Promise<StreamEnd> {
  const { channel, context } = stub;
  const { opcode, payload, windowFrames, maxBytes, frameLimitMs } = request;
  const sequence = new FrameSequence(maxBytes);
  const acknowledgeEvery = Math.max(1, windowFrames >> 2);
  stub.isStreaming = true;
  try {
    await stub.command(opcode, payload, { timeoutMs: frameLimitMs });
    for (;;) {
      const frame = await channel.receive(frameLimitMs, context.signal);
      if (frame === null) {
        throw new ReaderFault(`Frame ${sequence.frames} of the reader did not come`, { damage: 'to-host' });
      }
      const taken = sequence.take(frame);
      if (!Buffer.isBuffer(taken)) {
        if (taken.bytesSent !== sequence.bytes) {
          throw new ReaderFault(`The reader has sent ${taken.bytesSent} bytes, and ${sequence.bytes} came`);
        }
        stub.isStreaming = false;
        return taken;
      }
      await onData(taken);
      if (sequence.frames % acknowledgeEvery === 0) await channel.sendBare(Buffer.of(sequence.frames % 128));
    }
  } catch (error) {
    throw asReaderFault(error, 'to-host');
  }
}

/**
 * Ends a stream that went wrong, and gets the stub back. Resolves to whether it answers again.
 */
export async function abortStream(stub: Loader): Promise<boolean> {
  await endStream(stub);
  for (let attempt = 1; attempt <= SYNC_TRIES; attempt++) {
    // Host and stub may differ about what is inside of a frame: a lone delimiter turns that round.
    if (attempt % 3 === 0) await stub.channel.sendBare(Buffer.of(DELIMITER));
    if (await stub.isAlive({ attempts: 1, timeoutMs: SYNC_LIMIT_MS })) {
      stub.isStreaming = false;
      return true;
    }
  }
  return false;
}

/** Tells the chip to stop, and waits until nothing more comes. */
export async function endStream({ channel, context }: Loader): Promise<void> {
  await channel.sendBare(Buffer.of(ABORT));
  await channel.drain(QUIET_MS, QUIET_LIMIT_MS, context.signal);
}
