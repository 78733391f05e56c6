/**
 * The loader that works on the flash of one board: Espressif's stub, or the ROM where no stub runs, at the rate that the
 * ladder chooses. Connects again when the conversation broke off, and only ever to the same board.
 */

import { EspdError, hasCode } from '../errors.ts';
import { canChangeBaudRate, changeBaudRate } from './baud-change.ts';
import { BaudLadder } from './baud-ladder.ts';
import { type Chip, type ChipDescription, USB_OTG_BLOCK_BYTES } from './chips/chip.ts';
import { CONNECT_BAUD_RATE, type ConnectOptions, connect } from './connect.ts';
import { detectChip } from './detect.ts';
import type { BoardIdentity, Identification } from './identity.ts';
import { abortRead, stopReading } from './flash-read.ts';
import type { LineMemory } from './line-memory.ts';
import { ROM_REACH_BYTES, beyondRom } from './flash-reach.ts';
import { type Loader, isLineFault } from './loader.ts';
import { agreeingRegisters, registersOf } from './registers.ts';
import { attachFlash, setFlashSize } from './spi-flash.ts';
import { proveReach } from './stub-reach.ts';
import { MEM_BLOCK_BYTES, type StubImage, loadStubImage, startStub } from './stub.ts';

export interface FlasherOptions extends ConnectOptions {
  /** Highest baud rate to read and write at, in baud. */
  readonly baudRate: number;
  /** What is remembered of this line; nothing where it is left out. */
  readonly line?: LineMemory;
}

/** A change of the rate that the chip has not heard: it may be asked once more. */
const CHANGE_ATTEMPTS = 2;
/** Who has not answered at an unproven rate by then does not hold it. */
const TRIAL_PATIENCE = { attempts: 2, timeoutMs: 400 };
/** Full speed USB through a CDC-ACM driver, roughly, before it is measured. */
const USB_BYTES_PER_MS = 500;
/** What full speed USB has room for: 19 bulk packets of 64 bytes a millisecond (USB 2.0, table 5-9). */
const MOST_USB_BYTES_PER_MS = 1216;
/** What a change of the rate takes beside round trips: see `baud-change.ts`. */
const RATE_CHANGE_MS = 60;
const RATE_CHANGE_ROUND_TRIPS = 3;
/** The stub is small, but a line that loses a byte of it must not cost hours of reading through the ROM. */
const STUB_ATTEMPTS = 2;

export class Flasher {
  readonly #identity: BoardIdentity;
  readonly #description: ChipDescription;
  readonly #chip: Chip;
  readonly #options: FlasherOptions;
  #loader: Loader;
  /** `connected`: a loader answers, the stub is not yet started. `lost`: nobody knows who answers, and at what rate. */
  #state: 'connected' | 'ready' | 'lost' = 'connected';
  #flashSizeBytes: number | undefined;
  /** Why the ROM works on the flash in the stub's place. */
  #noStub: EspdError | undefined;
  readonly ladder: BaudLadder;
  /** Changes of the rate to here that the chip has not heard. */
  readonly #unheard = new Map<number, number>();
  #hasForeignStub: boolean;
  /** The loader did not answer when it was last looked after. */
  #isDeaf = false;
  #retries = 0;

  constructor({ identity, description }: Identification, chip: Chip, loader: Loader, options: FlasherOptions) {
    this.#identity = identity;
    this.#description = description;
    this.#chip = chip;
    this.#loader = loader;
    this.#options = options;
    this.#hasForeignStub = loader.kind === 'stub';
    const maxBaudRate = Math.min(options.baudRate, chip.maxBaudRate);
    const facts = options.line?.recall() ?? null;
    this.ladder = new BaudLadder(maxBaudRate, facts, loader.context.clock.date());
  }

  /** Who answers at present, or answered last. */
  get loader(): Loader {
    return this.#loader;
  }

  /** Connections and commands that had to be tried again so far. */
  get retries(): number {
    return this.#retries + this.#loader.retries;
  }

  /** Whether another rate may help and can be had: native USB has none, and only a reset takes one back. */
  get hasBaudRate(): boolean {
    const { baudRate, controlLines } = this.#loader.channel.link.capabilities;
    return baudRate && controlLines && this.#identity.usbConnection === 'none';
  }

  /** The stub in use is not one that was loaded here: somebody left it running, and it may be an old one. */
  get hasForeignStub(): boolean {
    return this.#hasForeignStub && this.#loader.kind === 'stub';
  }

  /** The rate in force is one that no read in this session has proven. */
  get isTrial(): boolean {
    return this.hasBaudRate && !this.ladder.isProven(this.#baudRate);
  }

  get canLowerBaudRate(): boolean {
    return this.hasBaudRate && this.ladder.canLower(this.#baudRate);
  }

  /** What the ROM cannot read instead of the stub, although it is there: its commands would go astray. */
  get isBeyondRom(): boolean {
    return (this.#flashSizeBytes ?? 0) > ROM_REACH_BYTES;
  }

  /** Whether {@link readyRom} is possible: it takes a reset, and a ROM that can read, all of this flash. */
  get canUseRom(): boolean {
    if (this.isBeyondRom) return false;
    const { controlLines } = this.#loader.channel.link.capabilities;
    return controlLines && this.#loader.kind === 'stub' && this.#chip.rom.readFlash && this.#chip.rom.digest;
  }

  /** The ROM answers because nothing else was tried yet. */
  get #willLoadStub(): boolean {
    return this.#state !== 'ready' && this.#chip.stubStart(this.#description, this.#identity.security).kind !== 'none';
  }

  get #canRaise(): boolean {
    return this.hasBaudRate && (canChangeBaudRate(this.#loader, this.#chip) || this.#willLoadStub);
  }

  get #baudRate(): number {
    return this.#loader.channel.link.baudRate;
  }

  /**
   * A loader that can work on the flash: the one in use, or a fresh one after {@link drop}. At the rate in force; a
   * fresh one talks at that of connecting.
   * @throws EspdError `no-stub-read`, `chip-changed`, those of {@link connect}, and what commands throw
   */
  async ready(): Promise<Loader> {
    if (this.#state === 'ready') return this.#loader;
    const isConnected = this.#state === 'connected';
    this.#state = 'lost';
    if (!isConnected) await this.#connectAgain();
    await this.#start();
    await this.#tellFlashSize();
    this.#state = 'ready';
    return this.#loader;
  }

  /**
   * A loader at the rate that pays for so many bytes to come. A rate above the first is a trial until a read has proven
   * it: see {@link isTrial}. A rate that fails here costs one new connection at most.
   *
   * @param roundTripMs of a command
   * @throws as {@link ready}
   */
  async tune(remainingBytes: number, roundTripMs: number): Promise<Loader> {
    for (;;) {
      const loader = await this.ready();
      const current = this.#baudRate;
      if (!this.hasBaudRate || !canChangeBaudRate(loader, this.#chip)) return loader;
      const stepMs = RATE_CHANGE_MS + RATE_CHANGE_ROUND_TRIPS * roundTripMs;
      const rate = this.ladder.next({ current, remainingBytes, stepMs, mayClimb: loader.kind === 'stub' });
      if (rate === current) return loader;
      if (rate > current && !(await this.#portHolds(rate))) this.ladder.fail(rate);
      else await this.#changeBaudRate(rate);
    }
  }

  /**
   * The ROM, prepared for reading, after a reset: for what cannot be had through the stub. The next {@link ready} loads
   * the stub again.
   * @throws EspdError `no-stub-read`, `chip-changed`, those of {@link connect}, and what commands throw
   */
  async readyRom(): Promise<Loader> {
    if (this.#flashSizeBytes !== undefined && this.isBeyondRom) throw beyondRom(this.#flashSizeBytes, this.#noStub);
    this.#state = 'lost';
    await this.#connectAgain();
    if (this.#loader.kind !== 'rom') throw new EspdError('chip-error', 'The reset did not lead into the ROM');
    await this.#prepareRom();
    await attachFlash(this.#loader, this.#chip);
    await this.#tellFlashSize();
    this.#state = 'connected';
    return this.#loader;
  }

  /** Gives the present loader up: the next {@link ready} connects anew. */
  drop(): void {
    this.#state = 'lost';
  }

  /** After a failure: whether the loader answers at the rate in force, brought back into step. */
  async isBack(): Promise<boolean> {
    if (this.#state !== 'ready') return false;
    const loader = this.#loader;
    const patience = this.isTrial ? TRIAL_PATIENCE : undefined;
    const isBack = loader.isReading ? await abortRead(loader, patience) : await loader.isAlive(patience);
    this.#isDeaf = !isBack;
    return isBack;
  }

  /** Errors at the rate in force count against it. */
  countError(): void {
    if (this.hasBaudRate) this.ladder.erred(this.#baudRate);
  }

  /** The rate in force is given up: {@link tune} goes down from it. */
  failBaudRate(): void {
    this.ladder.fail(this.#baudRate);
  }

  /** What the line carries: ten bits a byte, or what USB brings where there is no rate. */
  lineBytesPerMs(baudRate: number): number {
    return this.#identity.usbConnection === 'none' ? baudRate / 10_000 : USB_BYTES_PER_MS;
  }

  /** What the line will carry in a large read, at the rate that will be in force then. */
  expectedBytesPerMs(): number {
    return this.lineBytesPerMs(this.#canRaise ? Math.max(this.ladder.target, this.#baudRate) : this.#baudRate);
  }

  /** What the line will carry at most, at the best rate that may still be tried. */
  mostBytesPerMs(): number {
    if (this.#identity.usbConnection !== 'none') return MOST_USB_BYTES_PER_MS;
    return this.lineBytesPerMs(this.#canRaise ? Math.max(this.ladder.ceiling, this.#baudRate) : this.#baudRate);
  }

  /**
   * Asks once more who answers: on a link that does not notice it (a bridge with power of its own), boards can be
   * exchanged.
   * @throws EspdError `chip-changed`
   */
  async checkIdentity(): Promise<void> {
    await this.ready();
    await this.#checkMac();
  }

  /**
   * Tells the loader, and those that follow it, how large the flash is.
   * @throws EspdError `no-stub-read` for a flash that this loader does not reach to its end
   */
  async setFlashSize(sizeBytes: number): Promise<void> {
    this.#flashSizeBytes = sizeBytes;
    await this.#tellFlashSize();
  }

  async #tellFlashSize(): Promise<void> {
    const sizeBytes = this.#flashSizeBytes;
    if (sizeBytes === undefined) return;
    this.#mustReach(sizeBytes, this.#noStub);
    await setFlashSize(this.#loader, this.#chip, sizeBytes);
    if (this.hasForeignStub) await proveReach(this.#loader, sizeBytes);
  }

  #mustReach(sizeBytes: number, noStub: EspdError | undefined): void {
    if (this.#loader.kind === 'rom' && sizeBytes > ROM_REACH_BYTES) throw beyondRom(sizeBytes, noStub);
  }

  async #connectAgain(): Promise<void> {
    const { channel, context, retries } = this.#loader;
    this.#retries += 1 + retries;
    await channel.link.setBaudRate(CONNECT_BAUD_RATE);
    this.#loader.retries = 0;
    this.#isDeaf = false;
    this.#loader = await connect(channel, context, this.#options);
    this.#loader.flashSizeBytes = this.#flashSizeBytes;
    this.#hasForeignStub = this.#loader.kind === 'stub';
    const { chip } = await detectChip(this.#loader);
    if (chip !== this.#chip) throw this.#changed(chip.title);
    await this.#checkMac();
  }

  async #checkMac(): Promise<void> {
    // One answer is enough where it is the MAC that was agreed on before.
    if (await this.#answersWithMac()) return;
    const mac = await this.#chip.readMac(agreeingRegisters(this.#loader));
    if (mac !== this.#identity.mac) throw this.#changed(mac);
  }

  async #answersWithMac(): Promise<boolean> {
    try {
      return (await this.#chip.readMac(registersOf(this.#loader))) === this.#identity.mac;
    } catch (error) {
      // Words that are no MAC.
      if (hasCode(error, 'chip-unsupported')) return false;
      throw error;
    }
  }

  #changed(to: string): EspdError {
    return new EspdError('chip-changed', `Another board answers now (${to}) than ${this.#identity.mac}`, {
      hint: 'Leave the board plugged in until its job is done',
    });
  }

  async #start(): Promise<void> {
    if (this.#loader.kind === 'rom') {
      await this.#prepareRom();
      await this.#startStub();
    }
    await attachFlash(this.#loader, this.#chip);
    this.#loader.context.log.debug('loader ready', { loader: this.#loader.kind });
  }

  async #prepareRom(): Promise<void> {
    const { clock } = this.#loader.context;
    await this.#chip.prepareForStub(registersOf(this.#loader), this.#identity.usbConnection, clock);
  }

  /** Leaves the stub running, or a ROM that is prepared in its place. */
  async #startStub(): Promise<void> {
    const description = this.#description;
    const start = this.#chip.stubStart(description, this.#identity.security);
    if (start.kind === 'none') {
      this.#useRom(new EspdError('stub-failed', `The stub is not used because ${start.reason}`));
      return;
    }
    let image: StubImage;
    try {
      image = await loadStubImage(this.#chip.stubImage(description));
    } catch (error) {
      if (!hasCode(error, 'stub-failed')) throw error;
      this.#useRom(error);
      return;
    }
    const blockBytes = this.#identity.usbConnection === 'usb-otg' ? USB_OTG_BLOCK_BYTES : MEM_BLOCK_BYTES;
    for (let attempt = 1; attempt <= STUB_ATTEMPTS; attempt++) {
      try {
        this.#loader = await startStub(this.#loader, image, { start, blockBytes });
        this.#hasForeignStub = false;
        this.#noStub = undefined;
        return;
      } catch (error) {
        if (!isLineFault(error) && !hasCode(error, 'stub-failed')) throw error;
        if (attempt === STUB_ATTEMPTS) this.#useRom(error);
      }
      // Nobody knows what runs on the chip now.
      await this.#connectAgain();
      if (this.#loader.kind === 'stub') return;
      await this.#prepareRom();
    }
  }

  /** The ROM alone can read slowly, on most chips. @throws EspdError `no-stub-read` on the others, and beyond its reach */
  #useRom(reason: EspdError): void {
    this.#noStub = reason;
    if (!this.#chip.rom.readFlash) {
      throw new EspdError('no-stub-read', `An ${this.#chip.title} can be read through the flasher stub only`, {
        cause: reason,
        hint: reason.message,
      });
    }
    if (this.#flashSizeBytes !== undefined) this.#mustReach(this.#flashSizeBytes, reason);
    this.#loader.context.log.warn('Reading through the ROM, which is slow: the flasher stub does not run', {
      mac: this.#identity.mac,
      reason: reason.message,
    });
  }

  /** Whether the host's own port can do the rate; asked only where no read on this line has shown it. */
  async #portHolds(baudRate: number): Promise<boolean> {
    const { link } = this.#loader.channel;
    if (this.ladder.isTrusted(baudRate) || link.canDoBaudRate === undefined) return true;
    const holds = await link.canDoBaudRate(baudRate);
    if (!holds) this.#loader.context.log.debug('the port does not do this baud rate', { baudRate });
    return holds;
  }

  async #changeBaudRate(to: number): Promise<void> {
    const loader = this.#loader;
    const { log } = loader.context;
    const from = this.#baudRate;
    const isDeaf = this.#isDeaf;
    if (loader.isReading) await stopReading(loader);
    loader.isReading = false;
    const change = await changeBaudRate(loader, this.#chip, to, isDeaf);
    log.debug('baud rate', { from, to, change });
    this.#isDeaf = false;
    if (change === 'changed') return;
    if (to < from) {
      // Down, because the rate in force is none to go on at: over a new connection then.
      this.drop();
    } else if (change === 'lost') {
      log.warn('The line does not hold the baud rate', { failed: to });
      this.ladder.fail(to);
      this.drop();
    } else {
      const unheard = (this.#unheard.get(to) ?? 0) + 1;
      this.#unheard.set(to, unheard);
      if (unheard >= CHANGE_ATTEMPTS) this.ladder.fail(to);
    }
  }
}
