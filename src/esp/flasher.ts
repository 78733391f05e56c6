/**
 * The loader that works on the flash of one board: Espressif's stub, or the ROM where no stub runs, at the highest rate
 * that the line holds. Connects again when the conversation broke off, and only ever to the same board.
 */

import { sleep } from '../clock.ts';
import { EspdError, hasCode } from '../errors.ts';
import { type Chip, type ChipDescription, USB_OTG_BLOCK_BYTES } from './chips/chip.ts';
import { CONNECT_BAUD_RATE, type ConnectOptions, connect } from './connect.ts';
import { detectChip } from './detect.ts';
import type { BoardIdentity, Identification } from './identity.ts';
import { type Loader, isLineFault } from './loader.ts';
import { OPCODE, words } from './protocol.ts';
import { agreeingRegisters, registersOf } from './registers.ts';
import { attachFlash, setFlashSize } from './spi-flash.ts';
import { MEM_BLOCK_BYTES, type StubImage, loadStubImage, startStub } from './stub.ts';

export interface FlasherOptions extends ConnectOptions {
  /** Highest baud rate to read and write at, in baud. */
  readonly baudRate: number;
}

/** Rates to fall back to, in order, when a line does not hold the one wanted. */
const FALLBACK_BAUD_RATES = [921600, 460800, 230400, CONNECT_BAUD_RATE];
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
  #maxBaudRate: number;
  #retries = 0;

  constructor({ identity, description }: Identification, chip: Chip, loader: Loader, options: FlasherOptions) {
    this.#identity = identity;
    this.#description = description;
    this.#chip = chip;
    this.#loader = loader;
    this.#options = options;
    this.#maxBaudRate = Math.min(options.baudRate, chip.maxBaudRate);
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

  /**
   * A loader that can work on the flash: the one in use, or a fresh one after {@link drop}.
   * @throws EspdError `no-stub-read`, `chip-changed`, those of {@link connect}, and what commands throw
   */
  async ready(): Promise<Loader> {
    if (this.#state === 'ready') return this.#loader;
    const isConnected = this.#state === 'connected';
    this.#state = 'lost';
    if (!isConnected) await this.#connectAgain();
    await this.#start();
    if (this.#flashSizeBytes !== undefined) await setFlashSize(this.#loader, this.#chip, this.#flashSizeBytes);
    this.#state = 'ready';
    return this.#loader;
  }

  /** Gives the present loader up: the next {@link ready} connects anew, at a lower rate if asked for. */
  drop(options: { lowerBaudRate: boolean }): void {
    this.#state = 'lost';
    if (options.lowerBaudRate) this.#lowerBaudRate();
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

  /** Tells the loader, and those that follow it, how large the flash is. */
  async setFlashSize(sizeBytes: number): Promise<void> {
    await setFlashSize(this.#loader, this.#chip, sizeBytes);
    this.#flashSizeBytes = sizeBytes;
  }

  async #connectAgain(): Promise<void> {
    const { channel, context, retries } = this.#loader;
    this.#retries += 1 + retries;
    await channel.link.setBaudRate(CONNECT_BAUD_RATE);
    this.#loader.retries = 0;
    this.#loader = await connect(channel, context, this.#options);
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
    await this.#raiseBaudRate();
    this.#loader.context.log.debug('loader ready', {
      loader: this.#loader.kind,
      baudRate: this.#loader.channel.link.baudRate,
    });
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

  /** The ROM alone can read slowly, on most chips. @throws EspdError `no-stub-read` on the others */
  #useRom(reason: EspdError): void {
    if (!this.#chip.rom.readFlash) {
      throw new EspdError('no-stub-read', `An ${this.#chip.title} can be read through the flasher stub only`, {
        cause: reason,
        hint: reason.message,
      });
    }
    this.#loader.context.log.warn('Reading through the ROM, which is slow: the flasher stub does not run', {
      mac: this.#identity.mac,
      reason: reason.message,
    });
  }

  async #raiseBaudRate(): Promise<void> {
    const { channel, context, kind } = this.#loader;
    const before = channel.link.baudRate;
    const wanted = this.#maxBaudRate;
    if (!this.hasBaudRate || wanted <= before || (kind === 'rom' && !this.#chip.rom.changeBaudRate)) return;
    // The second word is the present rate for a stub, 0 for a ROM.
    const request =
      kind === 'stub'
        ? words(wanted, before)
        : words(await this.#chip.romBaudRate(registersOf(this.#loader), wanted, before), 0);
    try {
      await this.#loader.command(OPCODE.CHANGE_BAUDRATE, request);
    } catch (error) {
      // The answer may have been lost on its way: who answers at the new rate decides.
      if (!isLineFault(error)) throw error;
    }
    await channel.link.setBaudRate(wanted);
    await sleep(context.clock, 50, context.signal);
    await channel.purge();
    if (await this.#loader.isAlive()) return;
    context.log.warn('The line does not hold the baud rate', { failed: wanted });
    this.#lowerBaudRate();
    await this.#connectAgain();
    await this.#start();
  }

  #lowerBaudRate(): void {
    this.#maxBaudRate = FALLBACK_BAUD_RATES.find((rate) => rate < this.#maxBaudRate) ?? CONNECT_BAUD_RATE;
  }
}
