/**
 * READ_FLASH of the stub, with the bookkeeping of its source (command_handler.c, s_read_flash_post_process), whose quirks a
 * host has to live with:
 *
 * - One packet is in flight: the next goes out when as many acknowledgements were counted as packets sent.
 * - Acknowledgements are counted, their value matters only at the end: the read ends when it reaches the length.
 * - While a packet goes out there is room for one frame: an acknowledgement that arrives then is counted as soon as the
 *   packet has left, so that the next one follows without a gap. A second one is lost, and a host that counts on it waits
 *   for ever.
 * - One that arrives before the first packet has begun makes the difference of the two unsigned counters wrap: nothing is
 *   ever sent.
 * - A frame that is not 4 bytes long ends the read: the digest of what was sent follows.
 */

import { createHash } from 'node:crypto';
import type { Hash } from 'node:crypto';

import type { FlashArray } from './flash.ts';
import { packetMs, spoiled } from './loader.ts';
import type { LoaderContext } from './loader.ts';

/** Between the response and the first packet. */
const TURN_ROUND_MS = 0.05;

export interface ReadPlan {
  readonly address: number;
  readonly length: number;
  readonly packetBytes: number;
  /** An acknowledgement of more than was sent ends the read. */
  readonly legacy: boolean;
}

export class StubRead {
  readonly #context: LoaderContext;
  readonly #flash: FlashArray;
  readonly #plan: ReadPlan;
  readonly #done: () => void;
  readonly #digest: Hash = createHash('md5');
  #remaining: number;
  #sentPackets = 0;
  #countedAcks = 0;
  #acknowledged = 0;
  #sending = true;
  /** The one frame that may wait, and when it came. */
  #slot: { readonly frame: Buffer; readonly at: number } | null = null;

  /** @param flash as the stub reaches it */
  constructor(context: LoaderContext, flash: FlashArray, plan: ReadPlan, done: () => void) {
    this.#context = context;
    this.#flash = flash;
    this.#plan = plan;
    this.#done = done;
    this.#remaining = plan.length;
  }

  /** The response has left; the first packet begins. */
  start(): void {
    const { clock } = this.#context;
    this.#context.after(TURN_ROUND_MS, () => this.#free(clock.now()));
  }

  frame(frame: Buffer): void {
    if (this.#slot !== null) return;
    const early = this.#sending ? this.#context.faults.active('early-acknowledgement') : undefined;
    if (early?.effect === 'lost') return;
    this.#slot = { frame: early === undefined ? frame : Buffer.alloc(1), at: this.#context.clock.now() };
    if (!this.#sending) this.#free(this.#slot.at);
  }

  /** The stub's loop: it is not sending, and was not since `readyAt`. */
  #free(readyAt: number): void {
    this.#sending = false;
    if (this.#remaining === 0 && this.#acknowledged >= this.#plan.length) {
      this.#finish();
      return;
    }
    let from = readyAt;
    if (this.#slot !== null) {
      const { frame, at } = this.#slot;
      this.#slot = null;
      if (frame.length !== 4) {
        this.#finish();
        return;
      }
      this.#acknowledged = frame.readUInt32LE(0);
      this.#countedAcks++;
      from = Math.max(from, at);
      if (this.#plan.legacy && this.#acknowledged > this.#plan.length - this.#remaining) {
        this.#finish();
        return;
      }
    }
    const inFlight = (this.#sentPackets - this.#countedAcks) >>> 0;
    if (this.#remaining > 0 && inFlight < 1) this.#sendPacket(from);
    else if (this.#remaining === 0 && this.#acknowledged >= this.#plan.length) this.#finish();
  }

  #sendPacket(from: number): void {
    const { speeds, faults } = this.#context;
    this.#sending = true;
    const address = this.#plan.address + (this.#plan.length - this.#remaining);
    const packet = this.#flash.read(address, Math.min(this.#remaining, this.#plan.packetBytes));
    const flip = faults.active('read-flip');
    if (flip !== undefined && flip.address >= address && flip.address < address + packet.length) {
      packet[flip.address - address] = 0xff ^ (packet[flip.address - address] ?? 0);
    }
    this.#digest.update(packet);
    this.#remaining -= packet.length;
    const waitMs = packetMs(speeds, packet.length);
    this.#context.after(waitMs, () => {
      this.#context.send(
        packet,
        (atMs) => {
          this.#sentPackets++;
          this.#free(atMs);
        },
        from + waitMs,
      );
    });
  }

  #finish(): void {
    const { faults } = this.#context;
    const digest = this.#digest.digest();
    const wrong = faults.active('wrong-digest');
    this.#done();
    this.#context.send(wrong !== undefined && wrong.of !== 'md5' ? spoiled(digest) : digest);
  }
}
