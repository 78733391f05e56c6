/**
 * What the simulator must know of a chip family: the registers that a flasher looks at, encoded from an identity.
 *
 * Deliberately apart from `src/esp/chips`, which decodes the same registers: each side was taken from Espressif's
 * documents by itself, so that a wrong bit in one shows against the other. Sources: esp-idf
 * components/efuse/<chip>/esp_efuse_table.csv (fields of the eFuse blocks) and components/soc/<chip> (register bases);
 * espressif/esptool esptool/targets/<chip>.py for the addresses that esptool itself reads.
 */

/** The names that `espd identify` gives, too. */
export type Family =
  | 'esp8266'
  | 'esp32'
  | 'esp32s2'
  | 'esp32s3'
  | 'esp32c2'
  | 'esp32c3'
  | 'esp32c5'
  | 'esp32c6'
  | 'esp32c61'
  | 'esp32h2'
  | 'esp32h4'
  | 'esp32p4'
  | 'esp32s31';

/** Who this one chip is. */
export interface ChipIdentity {
  readonly mac: string;
  readonly revision: { readonly major: number; readonly minor: number };
  /** Package (variant) number in the eFuses. */
  readonly packageVersion: number;
  readonly crystalMHz: number;
  /** eFuse codes of the flash and PSRAM inside the package; 0 = none. */
  readonly flashCapacity: number;
  readonly flashVendor: number;
  readonly psramCapacity: number;
  readonly psramVendor: number;
  readonly flashEncryption: boolean;
  readonly secureBoot: boolean;
  readonly secureDownload: boolean;
  readonly downloadDisabled: boolean;
}

/** The SPI peripheral that the flash hangs on; offsets from `base`. */
export interface SpiPeripheral {
  readonly base: number;
  readonly usr: number;
  readonly usr1: number;
  readonly usr2: number;
  /** Null on the ESP8266: bit lengths live in USR1. */
  readonly mosiLength: number | null;
  readonly misoLength: number | null;
  readonly w0: number;
  /** Value of USR after the ROM has started. */
  readonly usrAfterReset: number;
}

/** The watchdog that can reset the chip from within, and the super watchdog's auto-feed switch. */
export interface Watchdog {
  readonly config0: number;
  readonly config1: number;
  readonly writeProtect: number;
  readonly key: number;
}

/** ROM variable telling the console in use, and its values. */
export interface ConsoleVariable {
  readonly address: (revision: ChipIdentity['revision']) => number;
  readonly uart: number;
  readonly usbSerialJtag: ((revision: ChipIdentity['revision']) => number) | null;
  readonly usbOtg: number | null;
}

export interface ChipModel {
  readonly family: Family;
  /** As GET_SECURITY_INFO and image headers give it; null on ESP8266. */
  readonly chipId: number | null;
  /** The word at 0x40001000. */
  readonly magic: number;
  readonly romStatusBytes: 2 | 4;
  readonly bootLogBaudRate: number;
  /** Length of the GET_SECURITY_INFO answer; 0 = the command does not exist. */
  readonly securityInfoBytes: 0 | 12 | 20;
  /** What GET_SECURITY_INFO gives as ECO version. */
  readonly apiVersion: number;
  /** Opcodes that this ROM knows. */
  readonly romOpcodes: ReadonlySet<number>;
  /** FLASH_BEGIN and FLASH_DEFL_BEGIN of the ROM carry a fifth word (encrypted). */
  readonly beginHasEncryptWord: boolean;
  /** Offset of the second-stage bootloader (or the app, on ESP8266) in flash. */
  readonly bootOffset: number;
  readonly spi: SpiPeripheral;
  /** Where UART0's divider is: crystal * multiplier / baud rate. */
  readonly uartDivider: { readonly address: number; readonly multiplier: number } | null;
  /**
   * Crystal in MHz that the ROM reckons with whatever is soldered on, so that its CHANGE_BAUDRATE is off by as much
   * (esptool's remedy for the C2 with 26 MHz: ask for another rate); null where it looks.
   */
  readonly romAssumesCrystalMHz: number | null;
  readonly console: ConsoleVariable | null;
  readonly watchdog: Watchdog | null;
  /** Bit that makes the next reset end in download mode whatever the pins say (set by an app over USB-OTG). */
  readonly forceDownload: { readonly address: number; readonly mask: number } | null;
  readonly bootLog: BootTexts;
  readonly defaults: Pick<ChipIdentity, 'revision' | 'packageVersion' | 'crystalMHz'>;
  /** Register address → word, as burnt for `identity`. */
  readonly registers: (identity: ChipIdentity) => ReadonlyMap<number, number>;
}

/** The lines that the ROM prints, with CR LF. */
export interface BootTexts {
  readonly banner: string;
  /** After `rst:..`: reason and boot mode lines. */
  readonly download: (reason: ResetReason) => string;
  readonly app: (reason: ResetReason) => string;
  readonly noApp: string;
  readonly downloadDisabled: string;
}

export type ResetReason = 'power-on' | 'watchdog' | 'software';

export const OPCODE = {
  flashBegin: 0x02,
  flashData: 0x03,
  flashEnd: 0x04,
  memBegin: 0x05,
  memEnd: 0x06,
  memData: 0x07,
  sync: 0x08,
  writeReg: 0x09,
  readReg: 0x0a,
  spiSetParams: 0x0b,
  spiAttach: 0x0d,
  readFlashSlow: 0x0e,
  changeBaudRate: 0x0f,
  flashDeflBegin: 0x10,
  flashDeflData: 0x11,
  flashDeflEnd: 0x12,
  flashMd5: 0x13,
  getSecurityInfo: 0x14,
  eraseFlash: 0xd0,
  eraseRegion: 0xd1,
  readFlash: 0xd2,
  runUserCode: 0xd3,
} as const;

/** The ESP8266's ROM knows only these (Serial Protocol, "Commands supported by ESP8266 and ESP32-series"). */
export const ESP8266_ROM_OPCODES: ReadonlySet<number> = new Set([
  OPCODE.flashBegin,
  OPCODE.flashData,
  OPCODE.flashEnd,
  OPCODE.memBegin,
  OPCODE.memEnd,
  OPCODE.memData,
  OPCODE.sync,
  OPCODE.writeReg,
  OPCODE.readReg,
]);

export const ESP32_ROM_OPCODES: ReadonlySet<number> = new Set([
  ...ESP8266_ROM_OPCODES,
  OPCODE.spiSetParams,
  OPCODE.spiAttach,
  OPCODE.readFlashSlow,
  OPCODE.changeBaudRate,
  OPCODE.flashDeflBegin,
  OPCODE.flashDeflData,
  OPCODE.flashDeflEnd,
  OPCODE.flashMd5,
]);

export const NEWER_ROM_OPCODES: ReadonlySet<number> = new Set([...ESP32_ROM_OPCODES, OPCODE.getSecurityInfo]);

/** Words of a register space being filled bit field by bit field. */
export class Fields {
  readonly words = new Map<number, number>();

  /** Puts the low `width` bits of `value` at bit `shift` of the word at `address`. */
  set(address: number, shift: number, width: number, value: number): this {
    const mask = width === 32 ? 0xffffffff : 2 ** width - 1;
    const word = this.words.get(address) ?? 0;
    this.words.set(address, (word | ((value & mask) << shift)) >>> 0);
    return this;
  }
}

/** The six bytes of a MAC. */
export function macBytes(mac: string): Buffer {
  const bytes = Buffer.from(mac.replace(/[:-]/g, ''), 'hex');
  if (bytes.length !== 6) throw new RangeError(`not a MAC: ${mac}`);
  return bytes;
}
