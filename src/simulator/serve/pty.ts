/**
 * A board behind a pseudo-terminal: other programs open it as they open a serial port. There are no control lines on
 * a pty. The baud rate that a program sets moves no bits, but it is seen, and the board is told.
 */

import fs from 'node:fs';
import { ReadStream } from 'node:tty';
import type { Clock } from '../../clock.ts';
import { systemClock } from '../../clock.ts';
import { systemCode } from '../../errors.ts';
import type { BoardPort } from '../port.ts';
import type { PtySystem } from './pty-native.ts';
import { loadPtySystem } from './pty-native.ts';
import type { ServedBoard, ServeOptions } from './served.ts';
import { DEFAULT_QUEUE_LIMIT_BYTES, Plug } from './served.ts';

export interface PtyServeOptions extends ServeOptions {
  /** Where the symbolic link to the pty goes; its folder must exist, an older symbolic link is replaced. */
  readonly linkPath: string;
}

/** The system does not tell when a program opens a pty, so it is asked this often; small against any reset of a board. */
const OPEN_POLL_MS = 5;
/** How long to wait before trying again when the pty's buffer (64 KiB on Linux) is full. */
const FULL_RETRY_MS = 1;

/**
 * Serves `board` at the path `options.linkPath`. While no program has it open, what the board sends is lost, as on a
 * port that nobody has open. When a program has it open and does not read, up to `queueLimitBytes` wait beside the
 * system's own 64 KiB, and what comes beyond is lost, as in an overrun; nothing ever blocks.
 * {@link ServedBoard.unplug} hangs up on the program and removes the link, {@link ServedBoard.plug} makes a new pty.
 *
 * @throws EspdError `port-failed` where ptys cannot be made (no koffi, not Linux)
 */
export async function servePty(board: BoardPort, options: PtyServeOptions): Promise<ServedBoard> {
  const system = await loadPtySystem();
  const { linkPath } = options;
  let droppedBytes = 0;
  const onDropped = (bytes: number) => (droppedBytes += bytes);
  let current: Pty | undefined = new Pty(board, system, options, onDropped);
  let closed: Promise<void> | undefined;

  const plug = new Plug(
    board,
    options,
    () => {
      current?.end();
      current = undefined;
    },
    () => (current = new Pty(board, system, options, onDropped)),
  );

  return {
    address: linkPath,
    get droppedBytes() {
      return droppedBytes;
    },
    unplug: () => plug.out(),
    plug: () => {
      if (closed === undefined) plug.in();
    },
    close() {
      plug.end();
      closed ??= Promise.resolve();
      return closed;
    },
  };
}

/** One pty from its making to the hang-up. */
class Pty {
  readonly #board: BoardPort;
  readonly #system: PtySystem;
  readonly #clock: Clock;
  readonly #linkPath: string;
  readonly #queueLimitBytes: number;
  readonly #onDropped: (bytes: number) => void;
  readonly #masterFd: number;
  readonly #slavePath: string;
  /** Reads a duplicate of the master: it closes its descriptor when the program closes the slave, and that is no end. */
  #reader: ReadStream | undefined;
  #baudRate: number | undefined;
  #queue: Buffer[] = [];
  #queuedBytes = 0;
  #ended = false;
  #cancelPoll: () => void = () => undefined;
  #cancelRetry: (() => void) | undefined;

  constructor(board: BoardPort, system: PtySystem, options: PtyServeOptions, onDropped: (bytes: number) => void) {
    this.#board = board;
    this.#system = system;
    this.#clock = options.clock ?? systemClock;
    this.#linkPath = options.linkPath;
    this.#queueLimitBytes = options.queueLimitBytes ?? DEFAULT_QUEUE_LIMIT_BYTES;
    this.#onDropped = onDropped;
    const { masterFd, slavePath } = system.open();
    this.#masterFd = masterFd;
    this.#slavePath = slavePath;
    try {
      replaceLink(slavePath, options.linkPath);
    } catch (error) {
      fs.closeSync(masterFd);
      throw error;
    }
    this.#followBaudRate();
    this.#waitForProgram();
  }

  /** Hangs up: closing the last descriptor of a master makes every read of the slave fail, whoever has it open. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#detach();
    this.#cancelPoll();
    removeLink(this.#slavePath, this.#linkPath);
    fs.closeSync(this.#masterFd);
  }

  #waitForProgram(): void {
    const early = this.#readIfOpen();
    if (early === undefined) this.#cancelPoll = this.#clock.schedule(OPEN_POLL_MS, () => this.#waitForProgram());
    else this.#attach(early);
  }

  /**
   * What a program that has the slave open has written, perhaps nothing; undefined when it is closed. Reading a master
   * gives EIO while the slave is closed and EAGAIN while it is open and silent.
   */
  #readIfOpen(): Buffer | undefined {
    const buffer = Buffer.alloc(4096);
    try {
      return buffer.subarray(0, fs.readSync(this.#masterFd, buffer));
    } catch (error) {
      return systemCode(error) === 'EIO' ? undefined : Buffer.alloc(0);
    }
  }

  #attach(early: Buffer): void {
    const reader = new ReadStream(this.#system.duplicate(this.#masterFd));
    this.#reader = reader;
    this.#board.onTransmit = (bytes) => this.#transmit(bytes);
    const receive = (bytes: Buffer) => {
      if (this.#reader !== reader) return;
      this.#followBaudRate();
      this.#board.receive(bytes);
    };
    reader.on('data', receive);
    // The program closed the slave: EIO, which the stream reports as an error or as its end.
    reader.on('error', () => undefined);
    reader.once('close', () => {
      if (this.#reader !== reader) return;
      this.#detach();
      this.#system.discardUnread(this.#slavePath);
      this.#waitForProgram();
    });
    if (early.length > 0) receive(early);
  }

  #detach(): void {
    if (this.#reader === undefined) return;
    this.#board.onTransmit = undefined;
    this.#reader.destroy();
    this.#reader = undefined;
    this.#cancelRetry?.();
    this.#cancelRetry = undefined;
    this.#queue = [];
    this.#queuedBytes = 0;
  }

  #followBaudRate(): void {
    const baudRate = this.#system.baudRate(this.#masterFd);
    if (baudRate === undefined || baudRate === 0 || baudRate === this.#baudRate) return;
    this.#baudRate = baudRate;
    this.#board.setBaudRate(baudRate);
  }

  #transmit(bytes: Buffer): void {
    this.#followBaudRate();
    if (this.#queuedBytes >= this.#queueLimitBytes) {
      this.#onDropped(bytes.length);
      return;
    }
    this.#queue.push(bytes);
    this.#queuedBytes += bytes.length;
    if (this.#cancelRetry === undefined) this.#flush();
  }

  /** In the event loop's own thread: a write under way in another one could hit a descriptor number used anew. */
  #flush(): void {
    this.#cancelRetry = undefined;
    let rest = this.#queue.length === 1 ? this.#queue[0] : Buffer.concat(this.#queue);
    try {
      while (rest !== undefined && rest.length > 0) rest = rest.subarray(fs.writeSync(this.#masterFd, rest));
    } catch (error) {
      if (systemCode(error) !== 'EAGAIN') throw error;
      this.#cancelRetry = this.#clock.schedule(FULL_RETRY_MS, () => this.#flush());
    }
    this.#queue = rest === undefined || rest.length === 0 ? [] : [rest];
    this.#queuedBytes = rest?.length ?? 0;
  }
}

function replaceLink(target: string, linkPath: string): void {
  if (fs.lstatSync(linkPath, { throwIfNoEntry: false })?.isSymbolicLink() === true) fs.unlinkSync(linkPath);
  fs.symlinkSync(target, linkPath);
}

/** Removes the link, unless it is not there or leads elsewhere by now. */
function removeLink(target: string, linkPath: string): void {
  try {
    if (fs.readlinkSync(linkPath) === target) fs.unlinkSync(linkPath);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT' && systemCode(error) !== 'EINVAL') throw error;
  }
}
