/** Reading flash: through the stub in packets with a digest behind them, or through the ROM 64 bytes at a time. */

import { createHash } from 'node:crypto';
import { EspdError } from '../errors.ts';
import type { Loader, Patience } from './loader.ts';
import { OPCODE, words } from './protocol.ts';
import { type Trial, beginTrial, mustBeWhole } from './rate-trial.ts';
import { digestRegion } from './spi-flash.ts';

/** Largest packet of the stub's READ_FLASH (esp-flasher-stub, src/command_handler.c, s_read_flash_post_process). */
export const MAX_PACKET_BYTES = 4096;
/** MD5 behind the last packet. */
const DIGEST_BYTES = 16;
/** READ_FLASH_SLOW always answers with this many bytes (PROTOCOL: more than 64 gives reason 0a). */
const SLOW_BLOCK_BYTES = 64;
/** A packet takes 400 ms at 115200 baud when every byte is escaped; the rest is latency and a busy workstation. */
const PACKET_TIMEOUT_MS = 3000;

/** Silence after which nothing more of a read is taken to be on its way. */
const QUIET_MS = 100;

export interface ReadOptions {
  readonly packetBytes: number;
  /**
   * Acknowledge a packet when its first byte arrives. The stub sends a packet when the one before is acknowledged, so
   * this keeps the wire full; it counts acknowledgements, at most one of which may be ahead.
   */
  readonly acknowledgeEarly: boolean;
  /** The rate in force is still to be proven. Absent = it is. */
  readonly trial?: Trial | undefined;
}

/** Receives the bytes of a region in order; `offset` is that of the flash. */
export type ByteSink = (offset: number, bytes: Buffer) => Promise<void> | void;

/**
 * Reads a region through the stub. What reached the sink counts only when this resolves: then the chip's digest of
 * what it sent equals that of what arrived. (Whether it sent what was asked for, only a digest of the place can tell:
 * requests carry no checksum.)
 *
 * @throws EspdError `read-failed` for a packet that is lost, cut or too long, `digest-mismatch`; then the stub may
 *   still be sending: see {@link abortRead}
 */
export async function readThroughStub(
  stub: Loader,
  offset: number,
  sizeBytes: number,
  options: ReadOptions,
  sink: ByteSink,
): Promise<void> {
  const { channel, context } = stub;
  const { trial } = options;
  const timeoutMs = trial?.packetMs ?? PACKET_TIMEOUT_MS;
  const packetAt = (received: number) => Math.min(options.packetBytes, sizeBytes - received);
  stub.isReading = true;
  const request = words(offset, sizeBytes, options.packetBytes, 1);
  if (trial === undefined) await stub.command(OPCODE.READ_FLASH, request);
  else await beginTrial(stub, request, trial, packetAt(0));
  const hash = createHash('md5');
  const store = new OneAtATime();
  for (let received = 0; received < sizeBytes;) {
    const expected = packetAt(received);
    const acknowledgement = new OneAtATime();
    const acknowledge = () => acknowledgement.start(() => channel.send(words(received + expected)));
    const packet = await channel.receive(timeoutMs, context.signal, options.acknowledgeEarly ? acknowledge : undefined);
    const isWhole = packet?.length === expected;
    if (!options.acknowledgeEarly && (isWhole || trial !== undefined)) acknowledge();
    if (!isWhole) {
      await acknowledgement.done;
      const lost = new PacketLost(offset + received, packet);
      const next = packetAt(received + expected) || DIGEST_BYTES;
      if (trial !== undefined && !lost.isMissing) await mustBeWhole(stub, next, trial);
      throw lost;
    }
    hash.update(packet);
    await store.done;
    const at = offset + received;
    store.start(async () => sink(at, packet));
    received += expected;
    await acknowledgement.done;
  }
  await store.done;
  const digest = await channel.receive(PACKET_TIMEOUT_MS, context.signal);
  if (digest === null || !digest.equals(hash.digest())) {
    throw new EspdError('digest-mismatch', `The bytes read at ${hexAddress(offset)} are not what the chip sent`, {
      hint: 'The line loses or changes bytes: try another cable or a lower serial.baudRate in the config',
    });
  }
  stub.isReading = false;
}

/** Work that goes on while the next packet arrives; its failure waits for whoever awaits {@link done}. */
class OneAtATime {
  done: Promise<void> = Promise.resolve();

  start(work: () => Promise<void>): void {
    this.done = work();
    // Nobody may be awaiting it yet.
    this.done.catch(() => undefined);
  }
}

/** `read-failed`: a packet that did not come, or not whole. */
export class PacketLost extends EspdError {
  /** It did not begin, or the stub ended the read in its place: as if an acknowledgement had gone wrong. */
  readonly isMissing: boolean;

  constructor(offset: number, packet: Buffer | null) {
    const what = packet === null ? 'did not come' : `came with ${packet.length} bytes`;
    super('read-failed', `The packet at ${hexAddress(offset)} ${what}`);
    this.isMissing = packet === null || packet.length === DIGEST_BYTES;
  }
}

/**
 * Ends a READ_FLASH that went wrong, and brings the stub's frame decoder and ours back to the start of a frame.
 * Resolves to whether the stub answers again.
 */
export async function abortRead(stub: Loader, quietMs?: number, patience?: Patience): Promise<boolean> {
  await stopReading(stub, quietMs);
  const isAlive = await stub.isAlive(patience);
  stub.isReading = !isAlive;
  return isAlive;
}

/** A frame that is not four bytes long ends READ_FLASH (esp-flasher-stub, src/command_handler.c). */
export async function stopReading({ channel, context }: Loader, quietMs = QUIET_MS): Promise<void> {
  await channel.breakFrame();
  await channel.send(Buffer.of(0x00));
  await channel.drain(quietMs, 2000, context.signal);
}

/**
 * Reads a region through the ROM: slow (at most some kilobytes a second), and with the ROM's digest afterwards.
 * @param limitMs after which it is given up
 * @throws EspdError `digest-mismatch`, `chip-error`, `chip-timeout`, `read-failed`
 */
export async function readThroughRom(
  rom: Loader,
  offset: number,
  sizeBytes: number,
  sink: ByteSink,
  limitMs = Infinity,
): Promise<void> {
  const { clock } = rom.context;
  const giveUpAt = clock.now() + limitMs;
  const hash = createHash('md5');
  for (let received = 0; received < sizeBytes; received += SLOW_BLOCK_BYTES) {
    if (clock.now() >= giveUpAt) throw new PacketLost(offset + received, null);
    const wanted = Math.min(SLOW_BLOCK_BYTES, sizeBytes - received);
    const response = await rom.command(OPCODE.READ_FLASH_SLOW, words(offset + received, wanted), {
      repeatable: true,
      timeoutMs: 1000,
    });
    // Always 64 bytes in the body, of which only the number asked for is valid.
    const bytes = response.body.subarray(0, wanted);
    if (bytes.length !== wanted) throw new PacketLost(offset + received, bytes);
    hash.update(bytes);
    await sink(offset + received, Buffer.from(bytes));
  }
  if ((await digestRegion(rom, offset, sizeBytes)) !== hash.digest('hex')) {
    throw new EspdError('digest-mismatch', `The bytes read at ${hexAddress(offset)} are not what the flash holds`);
  }
}

export function hexAddress(offset: number): string {
  return `0x${offset.toString(16).padStart(6, '0')}`;
}
