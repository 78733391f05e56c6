/** Bytes on their way to one network client: in order, and bounded however slowly it reads. */

import type { Socket } from 'node:net';

export interface OutboxOptions {
  /** Once this much waits here, board data is dropped, whole chunks at a time. */
  readonly limitBytes: number;
  /** One byte a TCP segment, each in a turn of the event loop of its own: for testing parsers. */
  readonly oneByteSegments: boolean;
  readonly onDropped: (bytes: number) => void;
}

interface Chunk {
  readonly bytes: Buffer;
  readonly fromBoard: boolean;
}

/**
 * At most one write to the socket is under way, and the next is made of all that gathered meanwhile; so memory stays
 * below about twice the limit. Replies are never dropped: a client that keeps asking and does not read is cut off.
 */
export class Outbox {
  readonly #socket: Socket;
  readonly #options: OutboxOptions;
  #queue: Chunk[] = [];
  #queuedBytes = 0;
  /** Taken from the queue, not yet written; empty unless `oneByteSegments`. */
  #rest: Buffer = Buffer.alloc(0);
  #writing = false;
  #suspended = false;

  constructor(socket: Socket, options: OutboxOptions) {
    this.#socket = socket;
    this.#options = options;
  }

  /** @param encoded what to send for a piece of board data, after any escaping: it is sent or dropped as a whole */
  sendData(encoded: Buffer): void {
    if (this.#queuedBytes >= this.#options.limitBytes) this.#options.onDropped(encoded.length);
    else this.#enqueue({ bytes: encoded, fromBoard: true });
  }

  sendReply(bytes: Buffer): void {
    if (this.#queuedBytes >= 2 * this.#options.limitBytes) this.#socket.destroy();
    else this.#enqueue({ bytes, fromBoard: false });
  }

  /** Forgets the board data that waits here; replies stay. */
  purgeData(): void {
    this.#queue = this.#queue.filter((chunk) => !chunk.fromBoard);
    this.#queuedBytes = this.#queue.reduce((sum, chunk) => sum + chunk.bytes.length, 0);
  }

  suspend(): void {
    this.#suspended = true;
  }

  resume(): void {
    this.#suspended = false;
    this.#pump();
  }

  #enqueue(chunk: Chunk): void {
    this.#queue.push(chunk);
    this.#queuedBytes += chunk.bytes.length;
    this.#pump();
  }

  #pump(): void {
    if (this.#writing || this.#suspended || this.#socket.destroyed) return;
    if (this.#rest.length === 0) {
      if (this.#queue.length === 0) return;
      this.#rest = Buffer.concat(this.#queue.map((chunk) => chunk.bytes));
      this.#queue = [];
      this.#queuedBytes = 0;
    }
    const { oneByteSegments } = this.#options;
    const segment = this.#rest.subarray(0, oneByteSegments ? 1 : this.#rest.length);
    this.#rest = this.#rest.subarray(segment.length);
    this.#writing = true;
    const proceed = () => {
      this.#writing = false;
      this.#pump();
    };
    this.#socket.write(segment, () => {
      if (oneByteSegments) setImmediate(proceed);
      else proceed();
    });
  }
}
