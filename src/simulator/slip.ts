/**
 * SLIP (RFC 1055) as the chip speaks it. Written apart from `src/esp/slip.ts` on purpose: a mistake in one must show
 * against the other. States and their corner cases follow espressif/esp-flasher-stub src/slip.c: a byte outside a frame is
 * ignored, a wrong escape or an overlong frame drops what was collected.
 *
 * Two delimiters in a row part ROM and stub. To the stub they are an empty frame, which is over: what follows is outside.
 * A ROM takes the second one as the beginning (seen: after a frame cut in the middle, the second SYNC is understood).
 */

const END = 0xc0;
const ESCAPE = 0xdb;
const ESCAPED_END = 0xdc;
const ESCAPED_ESCAPE = 0xdd;

/** `begin`: the second of two delimiters opens a frame (ROM); `end`: it closes an empty one (stub). */
export type EmptyFrames = 'begin' | 'end';

export class FrameReceiver {
  readonly #buffer: Buffer;
  readonly #onFrame: (frame: Buffer) => void;
  readonly #emptyFrames: EmptyFrames;
  #length = 0;
  #state: 'outside' | 'inside' | 'escaping' = 'outside';

  /** @param maxBytes longest frame that the loader has memory for */
  constructor(maxBytes: number, emptyFrames: EmptyFrames, onFrame: (frame: Buffer) => void) {
    this.#emptyFrames = emptyFrames;
    this.#buffer = Buffer.alloc(maxBytes);
    this.#onFrame = onFrame;
  }

  push(data: Uint8Array): void {
    for (const byte of data) this.#byte(byte);
  }

  reset(): void {
    this.#state = 'outside';
    this.#length = 0;
  }

  #byte(byte: number): void {
    if (this.#state === 'outside') {
      if (byte === END) {
        this.#state = 'inside';
        this.#length = 0;
      }
      return;
    }
    if (this.#state === 'escaping') {
      if (byte === ESCAPED_END) this.#put(END);
      else if (byte === ESCAPED_ESCAPE) this.#put(ESCAPE);
      else this.reset();
      return;
    }
    if (byte === END && this.#length === 0 && this.#emptyFrames === 'begin') return;
    if (byte === END) {
      const length = this.#length;
      this.reset();
      if (length > 0) this.#onFrame(Buffer.from(this.#buffer.subarray(0, length)));
    } else if (byte === ESCAPE) {
      this.#state = 'escaping';
    } else {
      this.#put(byte);
    }
  }

  #put(byte: number): void {
    if (this.#length >= this.#buffer.length) {
      this.reset();
      return;
    }
    this.#state = 'inside';
    this.#buffer[this.#length++] = byte;
  }
}

/** `content` between delimiters, escaped. */
export function frameOf(content: Uint8Array): Buffer {
  let length = content.length + 2;
  for (const byte of content) if (byte === END || byte === ESCAPE) length++;
  const frame = Buffer.alloc(length);
  frame[0] = END;
  let at = 1;
  for (const byte of content) {
    if (byte === END || byte === ESCAPE) {
      frame[at++] = ESCAPE;
      frame[at++] = byte === END ? ESCAPED_END : ESCAPED_ESCAPE;
    } else {
      frame[at++] = byte;
    }
  }
  frame[at] = END;
  return frame;
}
