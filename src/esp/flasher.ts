/**
 * The loader that works on the flash of one board: Espressif's stub, or the ROM where no stub runs, at the rate that the
 * line asks for. Connects again when the conversation broke off, and only ever to the same board.
 */

import { EspdError, hasCode } from '../errors.ts';
import { canChangeBaudRate, changeBaudRate } from './baud-change.ts';
import { type Chip, type ChipDescription, USB_OTG_BLOCK_BYTES } from './chips/chip.ts';
import { CONNECT_BAUD_RATE, type ConnectOptions, connect } from './connect.ts';
import { detectChip } from './detect.ts';
import type { BoardIdentity, Identification } from './identity.ts';
import { abortRead, stopReading } from './flash-read.ts';
import { ROM_REACH_BYTES, beyondRom } from './flash-reach.ts';
import type { Line } from './line.ts';
import { type Loader, isLineFault } from './loader.ts';
import { agreeingRegisters, registersOf } from './registers.ts';
import { abortStream } from './reader/stream.ts';
import { attachFlash, setFlashSize } from './spi-flash.ts';
import { proveReach } from './stub-reach.ts';
import { MEM_BLOCK_BYTES, type StubImage, loadStubImage, startStub } from './stub.ts';

/** A change of the rate that the chip has not heard: it may be asked once more. */
const CHANGE_ATTEMPTS = 2;
/**
 * The stub goes up at no more than this: what tools that flash through ROMs have used for years. Its 8 KB take 90 ms then,
 * where they take 700 at the first rate.
 */
const MAX_UPLOAD_BAUD_RATE = 921600;
/** Rates that differ by no more than this are one: UARTs tolerate three times as much. */
const ROM_RATE_TOLERANCE = 0.01;
/** The stub is small, but a line that loses a byte of it must not cost hours of reading through the ROM. */
const STUB_ATTEMPTS = 2;

export class Flasher {
  readonly #identity: BoardIdentity;
  readonly #description: ChipDescription;
  readonly #chip: Chip;
  readonly #options: ConnectOptions;
  readonly #line: Line;
  #loader: Loader;
  /**
   * `connected`: a loader answers, nothing is prepared. `asked`: the ROM hashes the flash, the stub is not yet started.
   * `ready`: the loader that reads and writes. `lost`: nobody knows who answers, and at what rate.
   */
  #state: 'connected' | 'asked' | 'ready' | 'lost' = 'connected';
  /** The ROM was led to another rate before, and something went wrong: the stub goes up at that of connecting. */
  #romKeepsRate = false;
  #flashSizeBytes: number | undefined;
  /** Why the ROM works on the flash in the stub's place. */
  #noStub: EspdError | undefined;
  /** Changes of the rate to here that the chip has not heard. */
  readonly #unheard = new Map<number, number>();
  #hasForeignStub: boolean;
  /** The loader did not answer when it was last looked after. */
  #isDeaf = false;
  #retries = 0;

  /** @param line on the link that `loader` talks over */
  constructor(
    { identity, description }: Identification,
    chip: Chip,
    loader: Loader,
    line: Line,
    options: ConnectOptions,
  ) {
    this.#identity = identity;
    this.#description = description;
    this.#chip = chip;
    this.#loader = loader;
    this.#line = line;
    this.#options = options;
    this.#hasForeignStub = loader.kind === 'stub';
  }

  /** Who answers at present, or answered last. */
  get loader(): Loader {
    return this.#loader;
  }

  /** Connections and commands that had to be tried again so far. */
  get retries(): number {
    return this.#retries + this.#loader.retries;
  }

  /** The stub in use is not one that was loaded here: somebody left it running, and it may be an old one. */
  get hasForeignStub(): boolean {
    return this.#hasForeignStub && this.#loader.kind === 'stub';
  }

  /** As far as it is known. */
  get flashSizeBytes(): number | undefined {
    return this.#flashSizeBytes;
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

  /** Whether the baud rate can be changed by a command, now or once the stub runs. */
  get canChangeRate(): boolean {
    return this.#line.hasBaudRate && (canChangeBaudRate(this.#loader, this.#chip) || this.#willLoadStub);
  }

  /**
   * A loader that can work on the flash: the one in use, or a fresh one after {@link drop}. At the rate in force; a
   * fresh one talks at that of connecting.
   * @throws EspdError `no-stub-read`, `chip-changed`, those of {@link connect}, and what commands throw
   */
  async ready(): Promise<Loader> {
    if (this.#state === 'ready') return this.#loader;
    const before = this.#state;
    this.#state = 'lost';
    if (before === 'lost') await this.#connectAgain();
    await this.#start(before === 'asked');
    await this.#tellFlashSize();
    this.#state = 'ready';
    return this.#loader;
  }

  /**
   * A loader for questions: who the flash is, digests, registers. The ROM answers them where it can, so that a board of
   * which nothing needs to be read gets no stub. (It cannot on an ESP8266, and not above 16 MiB.) After {@link drop} it is
   * the stub: what the ROM could not answer once is not asked of it again.
   * @throws as {@link ready}
   */
  async forQuestions(): Promise<Loader> {
    const { rom } = this.#chip;
    const isFreshRom = this.#state === 'connected' && this.#loader.kind === 'rom';
    if (isFreshRom && rom.digest && rom.spiAttach && !this.isBeyondRom) {
      this.#state = 'lost';
      await this.#prepareRom();
      await attachFlash(this.#loader, this.#chip);
      await this.#tellFlashSize();
      this.#state = 'asked';
    }
    return this.#state === 'asked' && !this.isBeyondRom ? this.#loader : this.tune(0);
  }

  /**
   * A loader at the rate that pays for so many bytes to come. A rate above the first is a trial until a read has proven
   * it: see {@link Line.isTrial}. A rate that fails here costs one new connection at most.
   *
   * @throws as {@link ready}
   */
  async tune(remainingBytes: number): Promise<Loader> {
    const line = this.#line;
    for (;;) {
      const loader = await this.ready();
      const current = line.baudRate;
      if (!line.hasBaudRate || !canChangeBaudRate(loader, this.#chip)) return loader;
      const rate = line.nextRate(remainingBytes, loader.kind === 'stub');
      if (rate === current) return loader;
      if (rate > current && !(await line.portHolds(rate))) {
        line.exclude(rate);
      } else {
        await this.#changeBaudRate(rate);
      }
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

  /** The rate in force is none to talk at: nothing but a change of it is sent any more, and no answer awaited. */
  writeOff(): false {
    this.#isDeaf = true;
    return false;
  }

  /** After a failure: whether the loader answers at the rate in force, brought back into step. */
  async isBack(): Promise<boolean> {
    if (this.#state !== 'ready' && this.#state !== 'asked') return false;
    const loader = this.#loader;
    // Who does not answer at once at an unproven rate does not hold it.
    const limits = this.#line.isTrial ? this.#line.trialLimits : undefined;
    const patience = limits && { attempts: 1, timeoutMs: limits.answerMs };
    const ended = loader.isStreaming ? await abortStream(loader) : undefined;
    const isBack =
      ended ?? (loader.isReading ? await abortRead(loader, limits?.quietMs, patience) : await loader.isAlive(patience));
    this.#isDeaf = !isBack;
    return isBack;
  }

  /**
   * Asks once more who answers: on a link that does not notice it (a bridge with power of its own), boards can be
   * exchanged.
   * @throws EspdError `chip-changed`
   */
  async checkIdentity(): Promise<void> {
    await this.forQuestions();
    await this.#checkMac();
  }

  /**
   * Tells the loader, and those that follow it, how large the flash is.
   * @throws EspdError `no-stub-read` for a flash that this loader does not reach to its end, where no other will follow
   */
  async setFlashSize(sizeBytes: number): Promise<void> {
    this.#flashSizeBytes = sizeBytes;
    this.#loader.flashSizeBytes = sizeBytes;
    // The stub that follows is told.
    if (this.#state === 'asked' && this.isBeyondRom) return;
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
    return new EspdError('chip-changed', `Another board answers: ${to} instead of ${this.#identity.mac}`, {
      hint: 'Leave the board plugged in until its job is done',
    });
  }

  async #start(isPrepared: boolean): Promise<void> {
    if (this.#loader.kind === 'rom') {
      if (!isPrepared) await this.#prepareRom();
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
        await this.#raiseForUpload();
        this.#loader = await startStub(this.#loader, image, { start, blockBytes });
        this.#hasForeignStub = false;
        this.#noStub = undefined;
        return;
      } catch (error) {
        if (!isLineFault(error) && !hasCode(error, 'stub-failed')) throw error;
        if (attempt === STUB_ATTEMPTS) this.#useRom(error);
      }
      this.#romKeepsRate = true;
      // Nobody knows what runs on the chip now.
      await this.#connectAgain();
      if (this.#loader.kind === 'stub') return;
      await this.#prepareRom();
    }
  }

  /**
   * A stub in a ROM at a higher rate is sooner up. Only to a rate that a read on this line has proven: what is uploaded
   * carries no more than a byte of checksum. And only where ROM and stub understand the same by a rate: the stub of some
   * chips takes the ROM's over by its number (esp-flasher-stub, src/main.c), also where that was to make up for a crystal.
   */
  async #raiseForUpload(): Promise<void> {
    const line = this.#line;
    const from = line.baudRate;
    const to = Math.min(line.trustedRate, MAX_UPLOAD_BAUD_RATE);
    if (this.#romKeepsRate || !line.hasBaudRate || !this.#chip.rom.changeBaudRate || to <= from) return;
    const asked = await this.#chip.romBaudRate(registersOf(this.#loader), to, from);
    if (Math.abs(asked / to - 1) > ROM_RATE_TOLERANCE) return;
    const change = await changeBaudRate(this.#loader, this.#chip, to);
    this.#loader.context.log.debug('baud rate', { from, to, change });
    if (change === 'changed') return;
    this.#romKeepsRate = true;
    if (change === 'lost') throw new EspdError('chip-timeout', 'The ROM is lost after a change of the baud rate');
  }

  /** The ROM alone can read slowly, on most chips. @throws EspdError `no-stub-read` on the others, and beyond its reach */
  #useRom(reason: EspdError): void {
    this.#noStub = reason;
    if (!this.#chip.rom.readFlash) {
      throw new EspdError('no-stub-read', `An ${this.#chip.title} can be read only through the flasher stub`, {
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

  async #changeBaudRate(to: number): Promise<void> {
    const loader = this.#loader;
    const { log } = loader.context;
    const from = this.#line.baudRate;
    const isDeaf = this.#isDeaf;
    if (loader.isReading) await stopReading(loader, this.#line.isTrial ? this.#line.trialLimits.quietMs : undefined);
    loader.isReading = false;
    if (loader.isStreaming) await abortStream(loader);
    const trialMs = this.#line.isTrusted(to) ? undefined : this.#line.trialLimits.answerMs;
    const change = await changeBaudRate(loader, this.#chip, to, { isDeaf, trialMs });
    log.debug('baud rate', { from, to, change });
    this.#isDeaf = false;
    if (change === 'changed') return;
    if (to < from) {
      // Down, because the rate in force is none to go on at: over a new connection then.
      this.drop();
    } else if (change === 'kept') {
      const unheard = (this.#unheard.get(to) ?? 0) + 1;
      this.#unheard.set(to, unheard);
      if (unheard >= CHANGE_ATTEMPTS) this.#line.giveUp(to, 'the loader does not change to it');
    } else {
      this.#line.giveUp(to, 'no answer at it');
      if (change === 'lost') this.drop();
    }
  }
}
