/**
 * One board from connect to leave: who it is, and its flash to hash and read. All that a backup needs of the protocol;
 * it survives lost bytes and resets of the chip by connecting again, but never answers for another board. Writing is a
 * file of its own, `board-writer.ts`, out of the daemon's reach.
 */

import { BLOCK_BYTES } from '../flash.ts';
import type { Link, UsbFacts } from '../serial/link.ts';
import { FrameChannel } from './channel.ts';
import type { Chip, UsbConnection } from './chips/chip.ts';
import { type ConnectOptions, connect } from './connect.ts';
import type { Costs } from './costs.ts';
import { detectChip } from './detect.ts';
import { type ByteSink, hexAddress } from './flash-read.ts';
import { type FlashFacts, flashFacts } from './flash-size.ts';
import { Flasher } from './flasher.ts';
import {
  type BoardIdentity,
  type EfuseWords,
  type Identification,
  type KnownEfuseWords,
  identify,
  knownEfuseWords,
  readEfuseWords,
} from './identity.ts';
import { KeptBytes } from './kept-bytes.ts';
import { type LeaveOutcome, leaveDownloadMode } from './leave.ts';
import { Line } from './line.ts';
import type { LineMemory } from './line-memory.ts';
import { type EspContext, type Loader, isLineFault } from './loader.ts';
import { Persistence } from './persistence.ts';
import type { RecoveryCounts } from './recovery.ts';
import { ChipReader, type ReaderOptions, type ReaderReport } from './reader/chip-reader.ts';
import { RegionReader } from './region-reader.ts';
import { type KnownWords, registersOf } from './registers.ts';
import { digestRegion, readJedecId, readStatusRegister } from './spi-flash.ts';

export type { FlashFacts } from './flash-size.ts';

export interface BoardOptions extends ConnectOptions {
  /** Highest baud rate to read and write at, in baud. */
  readonly baudRate: number;
  /** What is remembered of this line; nothing where it is left out. */
  readonly line?: LineMemory;
  /** Size of the flash in bytes, as a person has told it: used only where its id does not tell. */
  readonly toldFlashBytes?: number;
  /** Whether a reader of our own may be put on the chip beside the stub; never where it is left out. */
  readonly reader?: ReaderOptions;
}

/** A read that shows whether a rate holds, before anything is written at it. */
const PROOF_BYTES = 16 * 1024;
/** A larger digest is not asked of a chip before a small one has shown how fast it hashes. */
const UNMEASURED_DIGEST_BYTES = 4 * 1024 * 1024;
/** A write is compressed, and waits for the flash: the wire is about half of it. */
const WRITTEN_SHARE = 0.5;

export class Board {
  readonly identity: BoardIdentity;
  /** Words of this chip that were agreed on. */
  readonly #known: KnownWords;
  readonly #chip: Chip;
  readonly #context: EspContext;
  readonly #flasher: Flasher;
  readonly #persistence: Persistence;
  readonly #reader: RegionReader;
  readonly #chipReader: ChipReader;
  readonly #line: Line;
  readonly #toldFlashBytes: number | undefined;
  /** Estimates for a planner, from what was measured so far on this board and line. */
  readonly costs: Costs;
  #flash: FlashFacts | undefined;
  /** Bytes that are still to be moved, as far as was said. */
  #expectedBytes = 0;
  #cannotProve = false;

  private constructor(
    identification: Identification,
    known: KnownWords,
    chip: Chip,
    loader: Loader,
    options: BoardOptions,
  ) {
    this.identity = identification.identity;
    this.#known = known;
    this.#chip = chip;
    this.#context = loader.context;
    this.#toldFlashBytes = options.toldFlashBytes;
    this.#line = new Line(loader.channel.link, loader.context, {
      maxBaudRate: Math.min(options.baudRate, chip.maxBaudRate),
      isNativeUsb: identification.identity.usbConnection !== 'none',
      memory: options.line,
    });
    this.#flasher = new Flasher(identification, chip, loader, this.#line, options);
    this.#persistence = new Persistence(this.#flasher, this.#line, this.#context);
    const flasher = this.#flasher;
    const readerOptions = options.reader ?? { mode: 'never' };
    this.#chipReader = new ChipReader(identification.identity, loader.context, this.#line, readerOptions, {
      stubName: chip.stubImage(identification.description),
      flashSizeBytes: () => flasher.flashSizeBytes,
      hasForeignStub: () => flasher.hasForeignStub,
    });
    this.#reader = new RegionReader(flasher, this.#persistence, this.#line, this.#chipReader);
    this.#line.canRaise = () => this.#flasher.canChangeRate;
    this.costs = this.#line.costs;
    loader.channel.onRoundTrip = (ms) => this.#line.roundTrip(ms);
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
    const known: KnownWords = new Map();
    let chip: Chip | undefined;
    try {
      const detection = await detectChip(loader, known);
      chip = detection.chip;
      return new Board(await identify(loader, detection, known, options.usb), known, chip, loader, options);
    } catch (error) {
      await leaveDownloadMode(loader, chip, await usbConnectionOf(loader, chip, options.usb), context);
      throw error;
    }
  }

  /** Which loader answers: the ROM, where no stub runs or none was needed yet. */
  get loaderKind(): 'rom' | 'stub' {
    return this.#flasher.loader.kind;
  }

  /** The rate in force, in baud. */
  get baudRate(): number {
    return this.#line.baudRate;
  }

  /** Commands and regions that had to be tried again so far. */
  get retries(): number {
    return this.#persistence.total + this.#flasher.retries;
  }

  /** How often each way out of trouble was taken. */
  get recovery(): RecoveryCounts {
    return this.#persistence.counts;
  }

  /** Bytes of flash that came through ROM and stub themselves. */
  get loaderBytes(): Readonly<Record<'stub' | 'rom', number>> {
    return this.#reader.loaderBytes;
  }

  /** What the reader on the chip did; null where it was not used. */
  get readerReport(): ReaderReport | null {
    return this.#chipReader.report;
  }

  /**
   * Says how many bytes are to be read or written from now on, in one piece or many: a higher baud rate is worth its
   * cost only for enough of them. What is read and written is taken off; one large read or write needs no saying.
   */
  expect(sizeBytes: number): void {
    this.#expectedBytes = sizeBytes;
  }

  /**
   * Identifies the flash, through the ROM where it can: the stub is loaded when there is something to read or write, and
   * the baud rate raised where that pays. Every other work on the flash begins with it.
   * @throws EspdError `flash-unknown`, `no-stub-read` (ESP8266), see {@link flashFacts}, and what the protocol throws
   */
  async openFlash(): Promise<FlashFacts> {
    if (this.#flash !== undefined) return this.#flash;
    try {
      this.#flash = await this.#identifyFlash();
    } catch (error) {
      if (!isLineFault(error)) throw error;
      this.#context.log.warn('Trying again: start of the flasher', { reason: error.message });
      this.#flasher.drop();
      this.#flash = await this.#identifyFlash();
    }
    return this.#flash;
  }

  /**
   * Loads the stub now, because reads, writes or many digests are to come; without it, the first read or write does.
   * @throws EspdError `no-stub-read`: without a stub nothing of this flash can be read, or not all; see {@link openFlash}
   */
  async prepareToMove(): Promise<void> {
    await this.openFlash();
    await this.#persistence.run({ what: 'start of the stub', isRead: false, work: () => this.#flasher.tune(0) });
    await this.#chipReader.consider();
  }

  /** The reader is not put on this chip: where flash is to be written, nothing of ours runs beside the stub. */
  withoutReader(): void {
    this.#chipReader.forbid();
  }

  /** Whether the chip has shown how fast it hashes. */
  get knowsDigests(): boolean {
    return this.#line.knowsDigests;
  }

  /**
   * What {@link sectorDigests} of so many bytes would take, in ms; Infinity where there is no way to them.
   * @param toReadBytes that are likely to be read afterwards: the reader may be loaded for them in any case
   */
  tableMs(sizeBytes: number, toReadBytes: number): number {
    return this.#line.tableMs(sizeBytes, toReadBytes);
  }

  /**
   * The first eight bytes of the MD5 of each sector of 4096 bytes, one after the other, by the reader on the chip;
   * undefined where it cannot be used, or fails. They carry a check on their way, and prove nothing of a whole flash.
   * @param offset and `sizeBytes`: multiples of 4096
   */
  async sectorDigests(offset: number, sizeBytes: number): Promise<Buffer | undefined> {
    await this.openFlash();
    return this.#persistence.run({
      what: `table of digests at ${hexAddress(offset)}`,
      isRead: false,
      work: async () => {
        const stub = await this.#flasher.tune(0);
        if (stub.kind !== 'stub' || !(await this.#chipReader.load(stub))) return undefined;
        return this.#chipReader.sectorDigests(stub, offset, sizeBytes);
      },
    });
  }

  /** The eFuse words that were read so far, those that tell who the board is among them; costs nothing. */
  get knownEfuses(): KnownEfuseWords {
    return knownEfuseWords(this.#chip, this.#known);
  }

  /**
   * Readable eFuse words by block, lower-case hex of 8 digits; only a manifest needs them, and they take a second.
   * @param before those of an earlier session with this board
   */
  async readEfuses(before?: EfuseWords): Promise<EfuseWords> {
    return this.#persist('read of the eFuses', (loader) => readEfuseWords(loader, this.#chip, this.#known, before));
  }

  /**
   * MD5 of a region, lower-case hex, computed by the chip. What equals an expected digest is right; one that differs may
   * also have suffered on the wire.
   */
  async digest(offset: number, sizeBytes: number): Promise<string> {
    await this.openFlash();
    // A small one first, so that a chip that dies over the large one is given up in time.
    if (sizeBytes > UNMEASURED_DIGEST_BYTES && !this.#line.knowsDigests) await this.digest(offset, BLOCK_BYTES);
    const { clock } = this.#context;
    return this.#persist(`digest at ${hexAddress(offset)}`, async (loader) => {
      const [startedAt, retries] = [clock.now(), loader.retries];
      const digest = await digestRegion(loader, offset, sizeBytes, this.#line.digestLimitMs(sizeBytes));
      if (loader.retries === retries) this.#line.digested(sizeBytes, clock.now() - startedAt);
      return digest;
    });
  }

  /**
   * Reads a region into `sink`, proven by a digest of the chip piece by piece. A piece that fails is read again (see
   * `recovery.ts`); the sink may so get the same offsets again.
   *
   * @throws EspdError `read-failed` when nothing helps, some minutes after the first failure at most
   */
  async read(offset: number, sizeBytes: number, sink: ByteSink): Promise<void> {
    await this.openFlash();
    await this.#chipReader.consider();
    const end = offset + sizeBytes;
    const kept = new KeptBytes();
    for (let at = offset; at < end;) {
      const expectedBytes = Math.max(end - at, this.#expectedBytes);
      const bytes = await this.#reader.readPiece({ offset: at, limitBytes: end - at, expectedBytes, kept }, sink);
      this.#moved(bytes);
      at += bytes;
    }
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

  /**
   * Moves bytes between host and flash otherwise than {@link read} does, at a rate that a read has proven.
   * @param offset where in the flash, for the read that proves the rate
   * @throws what `work` throws; then {@link reconnect}, and the same may be tried again
   */
  async move(offset: number, sizeBytes: number, work: (loader: Loader, chip: Chip) => Promise<void>): Promise<void> {
    const flash = await this.openFlash();
    const bytesToMove = Math.max(sizeBytes, this.#expectedBytes) * WRITTEN_SHARE;
    await this.#proveBaudRate(offset, flash.sizeBytes - offset, bytesToMove);
    try {
      await work(await this.#flasher.ready(), this.#chip);
    } catch (error) {
      if (isLineFault(error)) this.#line.erred();
      throw error;
    }
    this.#moved(sizeBytes);
  }

  /**
   * Resets the board into its app and looks whether it went. Never throws; bounded to some seconds; also after an
   * abort.
   */
  async leave(): Promise<LeaveOutcome> {
    this.#line.remember();
    return leaveDownloadMode(this.#flasher.loader, this.#chip, this.identity.usbConnection, this.#context);
  }

  /**
   * Connects again after the conversation broke off, and makes sure that it is the same board.
   * @throws EspdError `chip-changed`, and see {@link connect}
   */
  async reconnect(): Promise<void> {
    this.#flasher.drop();
    await this.#flasher.ready();
  }

  async #identifyFlash(): Promise<FlashFacts> {
    const jedec = await readJedecId(await this.#flasher.forQuestions(), this.#chip);
    const flash = flashFacts(jedec, this.#chip, this.#toldFlashBytes);
    await this.#flasher.setFlashSize(flash.sizeBytes);
    return flash;
  }

  /** Nothing is written at a rate before a read has shown that the line holds it. */
  async #proveBaudRate(offset: number, limitBytes: number, bytesToMove: number): Promise<void> {
    const isProven = () =>
      this.#persistence.run({
        what: 'change of the baud rate',
        isRead: false,
        work: async () => {
          await this.#flasher.tune(bytesToMove);
          return !this.#line.isTrial;
        },
      });
    const piece = { offset, limitBytes: Math.min(limitBytes, PROOF_BYTES), expectedBytes: bytesToMove };
    while (!this.#cannotProve && !(await isProven())) {
      await this.#reader.readPiece({ ...piece, kept: new KeptBytes() }, () => undefined);
      // Without reads through the stub nothing is proven: what is written then is written at the first rate.
      this.#cannotProve = this.#reader.romWasNeeded;
    }
  }

  #moved(sizeBytes: number): void {
    this.#expectedBytes = Math.max(0, this.#expectedBytes - sizeBytes);
  }

  #persist<T>(what: string, work: (loader: Loader) => Promise<T>): Promise<T> {
    const run = async () => work(await this.#flasher.forQuestions());
    return this.#persistence.run({ what, isRead: false, work: run });
  }
}

/** Of a board whose identity could not be read in full: the way to let it go depends on it. */
async function usbConnectionOf(loader: Loader, chip: Chip | undefined, usb: UsbFacts | null): Promise<UsbConnection> {
  try {
    return (await chip?.readUsbConnection(registersOf(loader), usb)) ?? 'none';
  } catch {
    return 'none';
  }
}
