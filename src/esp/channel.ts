/** Frames over a link: sends and receives SLIP frames, and keeps what arrived between them (the boot log). */

import type { Clock } from '../clock.ts';
import type { Link } from '../serial/link.ts';
import { EN_LOW_MS } from './reset.ts';
import { SlipDecoder, encodeFrame } from './slip.ts';

/** Longest frame that a chip sends: 4096 bytes of flash; with room for other stubs. */
const MAX_FRAME_BYTES = 8192;
/** How much of what arrives outside of frames is kept, the newest. A boot log is 200 bytes to some kilobytes. */
const MAX_NOISE_BYTES = 16384;

export class FrameChannel {
  readonly link: Link;
  /** Told how long a request and its answer took, where the chip had nothing to do but answer. */
  onRoundTrip: ((ms: number) => void) | undefined;
  /** How long EN was held low when that brought this board into download mode: as long will do to let it go. */
  enLowMs = EN_LOW_MS;
  readonly #clock: Clock;
  readonly #decoder: SlipDecoder;
  #frames: Buffer[] = [];
  #noise: Buffer[] = [];
  #noiseBytes = 0;
  #receivedBytes = 0;

  constructor(link: Link, clock: Clock) {
    this.link = link;
    this.#clock = clock;
    this.#decoder = new SlipDecoder(MAX_FRAME_BYTES, {
      frame: (content) => this.#frames.push(content),
      noise: (bytes) => this.#keepNoise(bytes),
    });
  }

  /** Bytes received since the channel was made, in frames and outside. */
  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  /** @param contents of frames, which go out without a pause between them */
  async send(...contents: readonly Uint8Array[]): Promise<void> {
    await this.link.write(Buffer.concat(contents.map((content) => encodeFrame(content))));
  }

  /** Bytes outside of any frame: what the reader on the chip takes for acknowledgements. */
  async sendBare(bytes: Uint8Array): Promise<void> {
    await this.link.write(bytes);
  }

  /**
   * Ends a frame that the far end may believe to be in, after a delimiter was lost on the way: an invalid escape makes
   * the stub forget it (esp-flasher-stub, src/slip.c), and outside of frames it is noise.
   */
  async breakFrame(): Promise<void> {
    await this.link.write(Buffer.from([0xdb, 0x00]));
  }

  /**
   * The next frame, or null when none is complete within `timeoutMs`.
   *
   * @param onBegin called once, as soon as the first byte of that frame is here
   */
  async receive(timeoutMs: number, signal?: AbortSignal, onBegin?: () => void): Promise<Buffer | null> {
    const deadline = this.#clock.now() + timeoutMs;
    let begun = onBegin === undefined;
    let hasRead = false;
    for (;;) {
      const frame = this.#frames.shift();
      if (!begun && (frame !== undefined || this.#decoder.frameHasBegun)) {
        begun = true;
        onBegin?.();
      }
      if (frame !== undefined) return frame;
      // A device that sends noise without end keeps read() from timing out: the deadline is ours to hold.
      const remainingMs = deadline - this.#clock.now();
      if (remainingMs <= 0 && hasRead) return null;
      hasRead = true;
      const chunk = await this.link.read(Math.max(0, Math.ceil(remainingMs)), signal);
      if (chunk === null) return null;
      this.#take(chunk);
    }
  }

  /** Receives and drops whatever comes, until nothing has come for `quietMs` or `limitMs` are over. */
  async drain(quietMs: number, limitMs: number, signal?: AbortSignal): Promise<void> {
    const deadline = this.#clock.now() + limitMs;
    for (;;) {
      const remainingMs = deadline - this.#clock.now();
      const chunk = remainingMs <= 0 ? null : await this.link.read(Math.min(quietMs, remainingMs), signal);
      if (chunk === null) break;
      this.#take(chunk);
      this.#frames = [];
    }
    this.#frames = [];
    this.#decoder.reset();
  }

  /** Forgets everything received, here and in the link. */
  async purge(): Promise<void> {
    await this.link.purge();
    this.#frames = [];
    this.#decoder.reset();
  }

  /** What has arrived outside of frames since the last call, at most the newest 16 KiB. */
  takeNoise(): Buffer {
    const noise = Buffer.concat(this.#noise);
    this.#noise = [];
    this.#noiseBytes = 0;
    return noise;
  }

  #take(chunk: Buffer): void {
    this.#receivedBytes += chunk.length;
    this.#decoder.push(chunk);
  }

  #keepNoise(bytes: Buffer): void {
    this.#noise.push(Buffer.from(bytes.subarray(-MAX_NOISE_BYTES)));
    this.#noiseBytes += Math.min(bytes.length, MAX_NOISE_BYTES);
    // Joined only when twice the limit has gathered, so that single bytes cost no quadratic time.
    if (this.#noiseBytes < 2 * MAX_NOISE_BYTES) return;
    this.#noise = [Buffer.concat(this.#noise).subarray(-MAX_NOISE_BYTES)];
    this.#noiseBytes = MAX_NOISE_BYTES;
  }
}
