/** A {@link Link} to a simulated board within the process: the contract of `serial/link.ts` to the letter. */

import type { Clock } from '../clock.ts';
import { EspdError } from '../errors.ts';
import type { ControlLines, Link, LinkCapabilities } from '../serial/link.ts';
import type { BoardPort } from './port.ts';

const BUFFER_BYTES = 1024 * 1024;

export interface MemoryLinkOptions {
  readonly clock: Clock;
  /** Default `memory:board`. */
  readonly address?: string;
  /** Default: both. */
  readonly capabilities?: LinkCapabilities;
  /** Default 115200. */
  readonly baudRate?: number;
  /** A bridge that goes no higher: its driver sets this rate instead, and says so to those who ask. */
  readonly maxBaudRate?: number;
  /** Opening a tty asserts both lines and closing it drops them, as the kernel does. Default true. */
  readonly assertsLinesOnOpen?: boolean;
}

/** Opens a board. A board is open once at a time: a second link takes over from the first. */
export function memoryLink(board: BoardPort, options: MemoryLinkOptions): Link {
  return new MemoryLink(board, options);
}

interface Reader {
  readonly resolve: (data: Buffer | null) => void;
  readonly reject: (error: unknown) => void;
  readonly stop: () => void;
}

class MemoryLink implements Link {
  readonly address: string;
  readonly capabilities: LinkCapabilities;
  readonly #board: BoardPort;
  readonly #clock: Clock;
  readonly #ownsLines: boolean;
  readonly #maxBaudRate: number;
  #chunks: Buffer[] = [];
  #buffered = 0;
  #flooded = false;
  #open = true;
  #reader: Reader | null = null;
  #baudRate: number;

  constructor(board: BoardPort, options: MemoryLinkOptions) {
    this.address = options.address ?? 'memory:board';
    this.capabilities = options.capabilities ?? { controlLines: true, baudRate: true };
    this.#board = board;
    this.#clock = options.clock;
    this.#maxBaudRate = options.maxBaudRate ?? Infinity;
    this.#baudRate = options.baudRate ?? 115200;
    this.#ownsLines = this.capabilities.controlLines && (options.assertsLinesOnOpen ?? true);
    board.onTransmit = this.#onTransmit;
    board.onVanish = this.#onVanish;
    board.setBaudRate(this.#baudRate);
    if (this.#ownsLines) board.setControlLines({ dtr: true, rts: true });
  }

  get baudRate(): number {
    return this.#baudRate;
  }

  get isOpen(): boolean {
    return this.#open;
  }

  async write(data: Uint8Array): Promise<void> {
    await Promise.resolve();
    this.#mustBeOpen();
    this.#board.receive(data);
  }

  read(timeoutMs: number, signal?: AbortSignal): Promise<Buffer | null> {
    return new Promise((resolve, reject) => {
      if (this.#reader !== null) throw new EspdError('internal', 'Two reads at once on one link');
      if (signal?.aborted === true) {
        reject(signal.reason as Error);
        return;
      }
      if (this.#flooded) {
        reject(new EspdError('port-flooded', `${this.address} sends faster than it can be read`));
        return;
      }
      if (this.#buffered > 0) {
        resolve(this.#take());
        return;
      }
      if (!this.#open) {
        reject(this.#vanished());
        return;
      }
      if (timeoutMs <= 0) {
        resolve(null);
        return;
      }
      const cancelTimer = this.#clock.schedule(timeoutMs, () => this.#settle((reader) => reader.resolve(null)));
      const onAbort = () => this.#settle((reader) => reader.reject(signal?.reason));
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#reader = {
        resolve,
        reject,
        stop: () => {
          cancelTimer();
          signal?.removeEventListener('abort', onAbort);
        },
      };
    });
  }

  async purge(): Promise<void> {
    await Promise.resolve();
    this.#chunks = [];
    this.#buffered = 0;
    this.#flooded = false;
  }

  async setBaudRate(baudRate: number): Promise<void> {
    await Promise.resolve();
    if (!this.capabilities.baudRate) return;
    this.#mustBeOpen();
    this.#baudRate = Math.min(baudRate, this.#maxBaudRate);
    this.#board.setBaudRate(this.#baudRate);
  }

  async canDoBaudRate(baudRate: number): Promise<boolean> {
    await Promise.resolve();
    this.#mustBeOpen();
    return baudRate <= this.#maxBaudRate;
  }

  async setControlLines(lines: ControlLines): Promise<void> {
    await Promise.resolve();
    if (!this.capabilities.controlLines) return;
    this.#mustBeOpen();
    this.#board.setControlLines(lines);
  }

  async close(): Promise<void> {
    await Promise.resolve();
    if (!this.#open) return;
    if (this.#ownsLines) this.#board.setControlLines({ dtr: false, rts: false });
    this.#end();
  }

  readonly #onTransmit = (data: Buffer): void => {
    if (!this.#open || this.#flooded) return;
    if (this.#buffered + data.length > BUFFER_BYTES) {
      this.#flooded = true;
      return;
    }
    this.#chunks.push(data);
    this.#buffered += data.length;
    this.#settle((reader) => reader.resolve(this.#take()));
  };

  readonly #onVanish = (): void => this.#end();

  #end(): void {
    this.#open = false;
    if (this.#board.onTransmit === this.#onTransmit) this.#board.onTransmit = undefined;
    if (this.#board.onVanish === this.#onVanish) this.#board.onVanish = undefined;
    this.#settle((reader) => reader.reject(this.#vanished()));
  }

  #settle(outcome: (reader: Reader) => void): void {
    const reader = this.#reader;
    if (reader === null) return;
    this.#reader = null;
    reader.stop();
    outcome(reader);
  }

  #take(): Buffer {
    const [first] = this.#chunks;
    const data = first !== undefined && this.#chunks.length === 1 ? first : Buffer.concat(this.#chunks);
    this.#chunks = [];
    this.#buffered = 0;
    return data;
  }

  #mustBeOpen(): void {
    if (!this.#open) throw this.#vanished();
  }

  #vanished(): EspdError {
    return new EspdError('port-vanished', `${this.address} is gone`);
  }
}
