/**
 * The chip's address space as READ_REG and WRITE_REG see it: eFuses, the SPI peripheral that can talk to the flash, the
 * UART's divider, the ROM's console variable, and the watchdog through which a flasher can reset the chip.
 */

import type { ChipIdentity, ChipModel } from './chips/model.ts';
import type { Flash } from './flash.ts';
import type { Ram } from './ram.ts';

const MAGIC_ADDRESS = 0x40001000;
const SPI_CMD_USR = 1 << 18;
const SPI_USR_MISO = 1 << 28;
/** The RTC's slow clock, roughly, that the watchdog counts. */
const WATCHDOG_TICKS_PER_MS = 136;

export interface RegisterEvents {
  /** The watchdog was armed to reset the chip after `delayMs`, or (null) switched off. */
  readonly watchdogArmed: (delayMs: number | null) => void;
  /** What READ JEDEC ID gives, after faults. */
  readonly jedec: () => readonly [number, number, number];
}

export type ConsoleKind = 'uart' | 'usb-serial-jtag' | 'usb-otg';

export class RegisterFile {
  readonly #model: ChipModel;
  readonly #flash: Flash;
  readonly #events: RegisterEvents;
  readonly #burnt: ReadonlyMap<number, number>;
  readonly #presets: ReadonlyMap<number, number>;
  readonly #crystalMHz: number;
  readonly #identity: ChipIdentity;
  #console: readonly [number, number] | null;
  readonly #words = new Map<number, number>();
  readonly #ram: Ram;
  /** SPI_ATTACH (or what stands for it) was done since the reset. */
  flashAttached = false;
  /** Rate that the UART's divider is set for. */
  uartBaudRate = 115200;

  constructor(
    model: ChipModel,
    identity: ChipIdentity,
    console: ConsoleKind,
    flash: Flash,
    presets: ReadonlyMap<number, number>,
    events: RegisterEvents,
    ram: Ram,
  ) {
    this.#model = model;
    this.#ram = ram;
    this.#flash = flash;
    this.#events = events;
    this.#burnt = model.registers(identity);
    this.#presets = presets;
    this.#crystalMHz = identity.crystalMHz;
    this.#identity = identity;
    this.#console = consoleWord(model, identity, console);
    this.reset(false);
  }

  /** The ROM will talk over another port from now on. */
  talkOver(console: ConsoleKind): void {
    this.#console = consoleWord(this.#model, this.#identity, console);
  }

  /** A reset forgets what was written; `forceDownload` survives a reset by the app that asked for it. */
  reset(forceDownload: boolean): void {
    this.#words.clear();
    this.#ram.clear();
    this.#words.set(this.#model.spi.base + this.#model.spi.usr, this.#model.spi.usrAfterReset);
    this.#words.set(this.#model.spi.base + this.#model.spi.usr2, 0x70000000);
    const force = this.#model.forceDownload;
    if (forceDownload && force !== null) this.#words.set(force.address, force.mask);
    this.flashAttached = false;
    this.uartBaudRate = 115200;
  }

  /** Whether the next reset is bound for download mode whatever the pins say. */
  get downloadForced(): boolean {
    const force = this.#model.forceDownload;
    return force !== null && (this.read(force.address) & force.mask) !== 0;
  }

  read(address: number): number {
    const preset = this.#presets.get(address);
    if (preset !== undefined) return preset;
    if (address === MAGIC_ADDRESS) return this.#model.magic;
    const divider = this.#model.uartDivider;
    if (divider !== null && address === divider.address) {
      return Math.floor((this.#crystalMHz * 1e6 * divider.multiplier) / this.uartBaudRate);
    }
    if (this.#console !== null && address === this.#console[0]) return this.#console[1];
    return this.#words.get(address) ?? this.#burnt.get(address) ?? this.#ram.word(address) ?? 0;
  }

  write(address: number, value: number, mask = 0xffffffff): void {
    const { spi, watchdog } = this.#model;
    const word = ((value & mask) | (this.read(address) & ~mask)) >>> 0;
    if (address === spi.base && (word & SPI_CMD_USR) !== 0) {
      this.#transaction();
      return; // the start bit clears itself
    }
    if (watchdog !== null && (address === watchdog.config0 || address === watchdog.config1)) {
      if (this.read(watchdog.writeProtect) !== watchdog.key) return;
      this.#words.set(address, word);
      if (address === watchdog.config0) this.#watchdogChanged(word, this.read(watchdog.config1));
      return;
    }
    if (!this.#burnt.has(address) && !this.#ram.setWord(address, word)) this.#words.set(address, word);
  }

  /** Bit 31 enables the watchdog; stage 0's action (bits 28 to 30) of 3 or more resets the system (TRM, RTC_CNTL_WDTCONFIG0). */
  #watchdogChanged(config: number, timeoutTicks: number): void {
    const enabled = config >>> 31 === 1 && ((config >>> 28) & 7) >= 3;
    this.#events.watchdogArmed(enabled ? timeoutTicks / WATCHDOG_TICKS_PER_MS : null);
  }

  /** One user-defined SPI transaction: the command in USR2, its answer into W0 and following words. */
  #transaction(): void {
    const { base, usr, usr1, usr2, misoLength, w0 } = this.#model.spi;
    if ((this.read(base + usr) & SPI_USR_MISO) === 0) return;
    const bits =
      misoLength === null ? ((this.read(base + usr1) >>> 8) & 0x1ff) + 1 : (this.read(base + misoLength) & 0x3ff) + 1;
    const answer = Buffer.alloc(64);
    this.#answer(this.read(base + usr2) & 0xff).copy(answer);
    const bytes = Math.ceil(bits / 8);
    for (let word = 0; word * 4 < bytes && word < 16; word++) {
      const valid = Math.min(32, bits - word * 32);
      const mask = valid === 32 ? 0xffffffff : 2 ** valid - 1;
      this.#words.set(base + w0 + word * 4, (answer.readUInt32LE(word * 4) & mask) >>> 0);
    }
  }

  #answer(command: number): Buffer {
    if (command === 0x9f) return this.flashAttached ? Buffer.from(this.#events.jedec()) : Buffer.alloc(3);
    if (command === 0x9e) return Buffer.from(this.#flash.jedec);
    if (command === 0x05) return this.flashAttached ? Buffer.of(this.#flash.status) : Buffer.alloc(1);
    // Further status registers: ready. SFDP (0x5a) is not there and reads as zero.
    return Buffer.alloc(4);
  }
}

function consoleWord(model: ChipModel, identity: ChipIdentity, kind: ConsoleKind): readonly [number, number] | null {
  if (model.console === null) return null;
  const { console } = model;
  const values = {
    uart: console.uart,
    'usb-serial-jtag': console.usbSerialJtag?.(identity.revision) ?? null,
    'usb-otg': console.usbOtg,
  };
  const value = values[kind];
  if (value === null) throw new RangeError(`${model.family} has no ${kind}`);
  return [console.address(identity.revision), value];
}
