/**
 * SLIP framing (RFC 1055) as Espressif's bootloader speaks it: 0xC0 delimits on both sides, DB DC stands for C0 and
 * DB DD for DB. What arrives outside of frames is the boot log or noise, and is handed on as such.
 */

const END = 0xc0;
const ESC = 0xdb;
const ESC_END = 0xdc;
const ESC_ESC = 0xdd;

/** `content` as one frame. An empty frame is never made: the stub takes C0 C0 for a frame of its own. */
export function encodeFrame(content: Uint8Array): Buffer {
  if (content.length === 0) throw new RangeError('an empty SLIP frame means something else to the stub');
  let escapes = 0;
  for (const byte of content) if (byte === END || byte === ESC) escapes++;
  const frame = Buffer.allocUnsafe(content.length + escapes + 2);
  let at = 0;
  frame[at++] = END;
  for (const byte of content) {
    if (byte === END) {
      frame[at++] = ESC;
      frame[at++] = ESC_END;
    } else if (byte === ESC) {
      frame[at++] = ESC;
      frame[at++] = ESC_ESC;
    } else {
      frame[at++] = byte;
    }
  }
  frame[at] = END;
  return frame;
}

export interface SlipHandler {
  /** A complete frame of at least one byte; the buffer belongs to the handler. */
  frame(content: Buffer): void;
  /** Bytes outside of frames, or of a frame that was malformed or too long. Valid only during the call. */
  noise(bytes: Buffer): void;
}

/**
 * Streaming decoder: linear in the bytes pushed, bounded in memory, indifferent to where the stream is cut.
 *
 * A delimiter too many or too few (noise that looks like C0) costs at most the next frame: of two delimiters in a row
 * the second always opens.
 */
export class SlipDecoder {
  readonly #handler: SlipHandler;
  readonly #content: Buffer;
  #length = 0;
  #inFrame = false;
  #escaped = false;
  /** The frame is lost (bad escape, too long): its rest is noise. */
  #broken = false;

  /** @param maxFrameBytes content bytes that a frame may have; longer ones are noise */
  constructor(maxFrameBytes: number, handler: SlipHandler) {
    this.#content = Buffer.allocUnsafe(maxFrameBytes);
    this.#handler = handler;
  }

  /** Whether a frame has begun to arrive: its delimiter and at least one byte of content. */
  get frameHasBegun(): boolean {
    return this.#inFrame && !this.#broken && (this.#length > 0 || this.#escaped);
  }

  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) at = this.#inFrame ? this.#takeFrame(chunk, at) : this.#takeNoise(chunk, at);
  }

  /** Forgets a frame that has begun. */
  reset(): void {
    this.#inFrame = false;
    this.#open();
  }

  #open(): void {
    this.#length = 0;
    this.#escaped = false;
    this.#broken = false;
  }

  #takeNoise(chunk: Buffer, from: number): number {
    const end = chunk.indexOf(END, from);
    const until = end < 0 ? chunk.length : end;
    if (until > from) this.#handler.noise(chunk.subarray(from, until));
    if (end < 0) return chunk.length;
    this.#inFrame = true;
    this.#open();
    return end + 1;
  }

  #takeFrame(chunk: Buffer, from: number): number {
    for (let at = from; at < chunk.length; at++) {
      if (this.#broken) return this.#skipBroken(chunk, at);
      const byte = chunk[at] as number;
      if (byte === END) {
        this.#close();
        return at + 1;
      }
      if (this.#escaped) {
        this.#escaped = false;
        if (byte === ESC_END) this.#put(END);
        else if (byte === ESC_ESC) this.#put(ESC);
        else this.#break(byte);
      } else if (byte === ESC) {
        this.#escaped = true;
      } else {
        this.#put(byte);
      }
    }
    return chunk.length;
  }

  /** The rest of a lost frame, up to its end, is noise: in one piece, since a flood has much of it. */
  #skipBroken(chunk: Buffer, from: number): number {
    const end = chunk.indexOf(END, from);
    const until = end < 0 ? chunk.length : end;
    if (until > from) this.#handler.noise(chunk.subarray(from, until));
    if (end < 0) return chunk.length;
    this.#close();
    return end + 1;
  }

  #put(byte: number): void {
    if (this.#length < this.#content.length) this.#content[this.#length++] = byte;
    else this.#break(byte);
  }

  #break(byte: number): void {
    this.#broken = true;
    this.#handler.noise(Buffer.concat([this.#content.subarray(0, this.#length), Buffer.of(byte)]));
  }

  #close(): void {
    // Content of zero length: this delimiter opens a frame rather than closing one.
    if (this.#length === 0 && !this.#escaped && !this.#broken) return;
    if (!this.#broken && !this.#escaped) {
      this.#inFrame = false;
      const content = Buffer.from(this.#content.subarray(0, this.#length));
      this.#open();
      this.#handler.frame(content);
      return;
    }
    this.#inFrame = false;
    this.#open();
  }
}
