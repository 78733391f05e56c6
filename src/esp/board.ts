/**
 * One board from connect to leave: who it is, and its flash to hash and read. All that a backup needs of the protocol;
 * it survives lost bytes and resets of the chip by connecting again, but never answers for another board. Writing is a
 * file of its own, `board-writer.ts`, out of the daemon's reach.
 */

import { EspdError, hasCode } from '../errors.ts';
import type { Link } from '../serial/link.ts';
import { FrameChannel } from './channel.ts';
import type { Chip, UsbConnection } from './chips/chip.ts';
import { connect } from './connect.ts';
import { detectChip } from './detect.ts';
import { flashSizeBytes } from './flash-ids.ts';
import {
  type ByteSink,
  MAX_PACKET_BYTES,
  abortRead,
  hexAddress,
  readThroughRom,
  readThroughStub,
} from './flash-read.ts';
import { Flasher, type FlasherOptions } from './flasher.ts';
import { type BoardIdentity, identify } from './identity.ts';
import { type LeaveOutcome, leaveDownloadMode } from './leave.ts';
import { type EspContext, type Loader, isLineFault } from './loader.ts';
import { registersOf } from './registers.ts';
import { type JedecId, digestRegion, readJedecId, readStatusRegister } from './spi-flash.ts';

export interface FlashFacts extends JedecId {
  readonly sizeBytes: number;
}

export type BoardOptions = FlasherOptions;

/**
 * Bytes of one READ_FLASH: what a bad packet costs, against the round trip that a command costs. Few after an error,
 * then twice as many each time.
 */
const MAX_PIECE_BYTES = 256 * 1024;
const MIN_PIECE_BYTES = 16 * 1024;
/** Twice at the rate in force, then at each lower one of four, the lowest twice. */
const ATTEMPTS = 6;

export class Board {
  readonly identity: BoardIdentity;
  readonly #chip: Chip;
  readonly #context: EspContext;
  readonly #flasher: Flasher;
  #flash: FlashFacts | undefined;
  #retries = 0;
  /** Early acknowledgement is given up after an error that it may have caused. */
  #acknowledgeEarly = true;
  #pieceBytes = MAX_PIECE_BYTES;

  private constructor(identity: BoardIdentity, chip: Chip, loader: Loader, options: BoardOptions) {
    this.identity = identity;
    this.#chip = chip;
    this.#context = loader.context;
    this.#flasher = new Flasher(identity, chip, loader, options);
  }

  /**
   * Resets the board into download mode (where the link can) and asks who it is. Nothing is written but registers of
   * the watchdogs. Whatever happens after this, call {@link leave}.
   *
   * @throws EspdError see {@link connect}, {@link detectChip} and {@link identify}; the board has then been let go
   */
  static async connect(link: Link, context: EspContext, options: BoardOptions): Promise<Board> {
    const channel = new FrameChannel(link, context.clock);
    const loader = await connect(channel, context, options);
    let chip: Chip | undefined;
    try {
      const detection = await detectChip(loader);
      chip = detection.chip;
      return new Board(await identify(loader, detection), chip, loader, options);
    } catch (error) {
      await leaveDownloadMode(loader, chip, await usbConnectionOf(loader, chip), context);
      throw error;
    }
  }

  /** Which loader answers: the ROM means slow reads, because no stub could run. */
  get loaderKind(): 'rom' | 'stub' {
    return this.#flasher.loader.kind;
  }

  /** The rate in force, in baud. */
  get baudRate(): number {
    return this.#flasher.loader.channel.link.baudRate;
  }

  /** Commands and regions that had to be tried again so far. */
  get retries(): number {
    return this.#retries + this.#flasher.retries;
  }

  /**
   * Starts the stub, raises the baud rate and identifies the flash. Every other work on the flash begins with it.
   * @throws EspdError `flash-unknown`, `no-stub-read`, and what the protocol throws
   */
  async openFlash(): Promise<FlashFacts> {
    if (this.#flash !== undefined) return this.#flash;
    try {
      this.#flash = await this.#identifyFlash();
    } catch (error) {
      if (!isLineFault(error)) throw error;
      this.#context.log.warn('Trying again: start of the flasher', { reason: error.message });
      this.#flasher.drop({ lowerBaudRate: false });
      this.#flash = await this.#identifyFlash();
    }
    return this.#flash;
  }

  /**
   * MD5 of a region, lower-case hex, computed by the chip. What equals an expected digest is right; one that differs may
   * also have suffered on the wire.
   */
  async digest(offset: number, sizeBytes: number): Promise<string> {
    await this.openFlash();
    return this.#persist(`digest at ${hexAddress(offset)}`, (loader) => digestRegion(loader, offset, sizeBytes));
  }

  /**
   * Reads a region into `sink`, proven by a digest of the chip piece by piece. What fails is read again in smaller
   * pieces, then over a fresh connection at a lower rate; the sink may so get the same offsets again.
   *
   * @throws EspdError `read-failed` when nothing helps
   */
  async read(offset: number, sizeBytes: number, sink: ByteSink): Promise<void> {
    await this.openFlash();
    const end = offset + sizeBytes;
    for (let at = offset; at < end;) at += await this.#readPiece(at, end - at, sink);
  }

  /**
   * Asks once more who answers. What was read or hashed is this board's only if it was there all the time.
   * @throws EspdError `chip-changed`, `read-failed`
   */
  async checkIdentity(): Promise<void> {
    await this.#persist('check of the MAC', () => this.#flasher.checkIdentity());
  }

  /** The flash's first status register, which holds its write protection; undefined where it reads differently each time. */
  async flashStatus(): Promise<number | undefined> {
    await this.openFlash();
    return this.#persist('status of the flash', (loader) => readStatusRegister(loader, this.#chip));
  }

  /** The loader at work on the flash, and what it runs on: for work beyond hashing and reading. */
  async flashLoader(): Promise<{ readonly loader: Loader; readonly chip: Chip }> {
    return { loader: await this.#flasher.ready(), chip: this.#chip };
  }

  /**
   * Resets the board into its app and looks whether it went. Never throws; bounded to some seconds; also after an
   * abort.
   */
  async leave(): Promise<LeaveOutcome> {
    return leaveDownloadMode(this.#flasher.loader, this.#chip, this.identity.usbConnection, this.#context);
  }

  /**
   * Connects again after the conversation broke off, and makes sure that it is the same board.
   * @throws EspdError `chip-changed`, and see {@link connect}
   */
  async reconnect(): Promise<void> {
    this.#flasher.drop({ lowerBaudRate: false });
    await this.#flasher.ready();
  }

  async #identifyFlash(): Promise<FlashFacts> {
    const jedec = await readJedecId(await this.#flasher.ready(), this.#chip);
    const sizeBytes = flashSizeBytes(jedec);
    if (sizeBytes === undefined) {
      throw new EspdError('flash-unknown', `The size of flash ${jedec.manufacturer} ${jedec.device} is not known`, {
        hint: 'Please report this flash id: espd never guesses a size',
      });
    }
    if (sizeBytes > this.#chip.maxFlashBytes) {
      const message = `A flash of ${sizeBytes} bytes is more than an ${this.#chip.title} addresses`;
      throw new EspdError('flash-unknown', message, { hint: 'espd saves a flash as a whole or not at all' });
    }
    await this.#flasher.setFlashSize(sizeBytes);
    return { ...jedec, sizeBytes };
  }

  /** Reads some bytes from `offset`, at most `limitBytes`; resolves to how many. */
  async #readPiece(offset: number, limitBytes: number, sink: ByteSink): Promise<number> {
    let packetBytes = MAX_PACKET_BYTES;
    return this.#persist(
      `read at ${hexAddress(offset)}`,
      async (loader) => {
        const sizeBytes = Math.min(this.#pieceBytes, limitBytes);
        const options = { packetBytes, acknowledgeEarly: this.#acknowledgeEarly };
        if (loader.kind === 'rom') await readThroughRom(loader, offset, sizeBytes, sink);
        else await readThroughStub(loader, offset, sizeBytes, options, sink);
        this.#pieceBytes = Math.min(2 * this.#pieceBytes, MAX_PIECE_BYTES);
        return sizeBytes;
      },
      (attempt) => {
        this.#acknowledgeEarly = false;
        this.#pieceBytes = MIN_PIECE_BYTES;
        // Some USB stalls where a frame ends on the border of a 64-byte packet: the same bytes in other frames do not.
        packetBytes = MAX_PACKET_BYTES - 67 * (attempt - 1);
      },
    );
  }

  /**
   * Runs `work` until it succeeds, at most {@link ATTEMPTS} times. The first time the same loader may go on if it
   * answers again; after that the board is connected anew, at a lower rate.
   *
   * @param adapt what to do differently after the nth attempt failed
   * @throws EspdError `read-failed`, or at once what is no fault of the line
   */
  async #persist<T>(
    what: string,
    work: (loader: Loader) => Promise<T>,
    adapt: (attempt: number) => void = () => undefined,
  ): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      let loader: Loader | undefined;
      try {
        loader = await this.#flasher.ready();
        return await work(loader);
      } catch (error) {
        if (!isLineFault(error) && !hasCode(error, 'read-failed', 'digest-mismatch')) throw error;
        if (attempt === ATTEMPTS) {
          throw new EspdError('read-failed', `${capitalized(what)} failed ${attempt} times: ${error.message}`, {
            cause: error,
            hint: error.hint || 'Try another cable, another USB port, or a lower serial.baudRate in the config',
          });
        }
        this.#retries++;
        this.#context.log.warn(`Trying again: ${what}`, { attempt, reason: error.message });
        adapt(attempt);
        const lowerBaudRate = attempt > 1 && this.#flasher.hasBaudRate;
        if (loader === undefined || lowerBaudRate || !(await isBack(loader))) this.#flasher.drop({ lowerBaudRate });
      }
    }
  }
}

/** Whether a loader answers again after a failure. */
function isBack(loader: Loader): Promise<boolean> {
  return loader.isReading ? abortRead(loader) : loader.isAlive();
}

/** Of a board whose identity could not be read in full: the way to let it go depends on it. */
async function usbConnectionOf(loader: Loader, chip: Chip | undefined): Promise<UsbConnection> {
  try {
    return (await chip?.readUsbConnection(registersOf(loader))) ?? 'none';
  } catch {
    return 'none';
  }
}

function capitalized(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
