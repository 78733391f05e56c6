/**
 * What espd must know of a chip family. A family is one value of this type in one file, and one line in the registry
 * (`index.ts`). Facts only, each with its source beside it; no family has code elsewhere.
 */

import type { Clock } from '../../clock.ts';
import type { Mac } from '../../mac.ts';
import type { UsbFacts } from '../../serial/link.ts';

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

/** What a chip value may ask of the chip: words of its address space, through ROM or stub. */
export interface RegisterAccess {
  /** The 32-bit word (0 to 0xffffffff) at a word-aligned address. */
  read(address: number): Promise<number>;
  write(address: number, value: number): Promise<void>;
}

/** The answer of GET_SECURITY_INFO (opcode 0x14), as the chip gives it. */
export interface SecurityInfo {
  readonly flags: number;
  readonly flashCryptCount: number;
  readonly keyPurposes: readonly number[];
  /** Null where the chip sends none (12-byte answer, ESP32-S2). */
  readonly chipId: number | null;
  readonly apiVersion: number | null;
}

export interface SecurityState {
  readonly flashEncryption: boolean;
  readonly secureBoot: boolean;
  readonly secureDownload: boolean;
}

/** What the eFuses say of the chip itself. */
export interface ChipDescription {
  /** As Espressif writes it, package variant included: `ESP8266EX`, `ESP32-D0WD-V3`, `ESP32-C3 (QFN32)`. */
  readonly name: string;
  readonly revision: { readonly major: number; readonly minor: number };
  /** `Wi-Fi`, `BT 5 (LE)`, `Dual Core + LP Core`, `Embedded Flash 4MB (XMC)`, ... in Espressif's wording. */
  readonly features: readonly string[];
}

/** SPI peripheral that the flash hangs on: the USR command registers, as offsets from `base`. */
export interface SpiRegisters {
  readonly base: number;
  readonly cmd: number;
  readonly user: number;
  readonly user1: number;
  readonly user2: number;
  readonly w0: number;
  /** Null where the bit lengths live in USER1 (ESP8266). */
  readonly mosiLength: number | null;
  readonly misoLength: number | null;
  /** The bit in CMD that starts a USR transaction and reads 1 while it runs, as a mask. */
  readonly startBit: number;
}

export interface EfuseBlock {
  /** `BLOCK0`, `BLOCK_SYS_DATA`, ...: Espressif's name. */
  readonly name: string;
  readonly address: number;
  readonly words: number;
}

/** How the host must talk to the board's own USB, where it has one. */
export type UsbConnection = 'none' | 'usb-serial-jtag' | 'usb-otg';

/**
 * Largest block of MEM_DATA, FLASH_DATA and FLASH_DEFL_DATA, in bytes, over USB-OTG, through ROM or stub: more does not
 * fit its buffer (esptool: USB_RAM_BLOCK).
 */
export const USB_OTG_BLOCK_BYTES = 0x800;

/** How a stub that is loaded gets to run. */
export type StubStart =
  /** MEM_END with the entry address. */
  | { readonly kind: 'entry' }
  /**
   * The ROM refuses to jump (ESP32-S3 with secure boot), so it is led there: MEM_END without an entry (words 1, 0);
   * read the word at `pointerAddress`, which the ROM calls to read flash, and write the entry there instead; send
   * READ_FLASH_SLOW (words 0, 0) and await the greeting; then, through the stub, write the old word back.
   */
  | { readonly kind: 'read-pointer'; readonly pointerAddress: number }
  /** This chip runs no stub; `reason` completes the sentence "the stub is not used because ...". */
  | { readonly kind: 'none'; readonly reason: string };

/** Which way out of download mode leads into the app. */
export type ResetWay = 'reset-line' | 'watchdog';

export interface Chip {
  readonly family: Family;
  /** `ESP32-C3`: the family's name in Espressif's spelling. */
  readonly title: string;
  /** Chip id in GET_SECURITY_INFO and in image headers; null where neither knows one (ESP8266). */
  readonly imageChipId: number | null;
  /** Values of the word at 0x40001000 by which a chip without a chip id in GET_SECURITY_INFO is known; else empty. */
  readonly magicWords: readonly number[];
  /** Length of the status that ends a ROM's response: 2 on ESP8266, else 4. */
  readonly romStatusBytes: 2 | 4;
  /** Baud rate of the ROM's boot log. (An ESP32-C2 with a 26 MHz crystal logs at 74880 all the same.) */
  readonly bootLogBaudRate: 74880 | 115200;
  /** What the ROM can do without a stub. All false on ESP8266 but writing. */
  readonly rom: {
    readonly readFlash: boolean;
    readonly digest: boolean;
    readonly changeBaudRate: boolean;
    readonly spiAttach: boolean;
    /** FLASH_BEGIN takes a fifth word (encrypted) where true. */
    readonly beginHasEncryptWord: boolean;
  };
  /** How much flash the stub addresses: 16 MiB, or more where it knows 32-bit addresses. */
  readonly maxFlashBytes: number;
  readonly spi: SpiRegisters;
  /**
   * Every block that can be read over the wire without harm; kept in the manifest. Blocks that are made for keys are
   * left out: a key that its owner forgot to protect must not end up in an archive.
   */
  readonly efuseBlocks: readonly EfuseBlock[];
  /** Highest baud rate that the UART of the chip is documented or known to hold. */
  readonly maxBaudRate: number;

  /** Name of the stub image in esptool-js (`esp32c3` = `esp32c3.json`). */
  stubImage(description: ChipDescription): string;
  stubStart(description: ChipDescription, security: SecurityState): StubStart;
  /**
   * The base MAC that the factory burnt. Not unique where nothing was burnt: see `isBlankMac`.
   * @throws EspdError `chip-unsupported` on an ESP8266 whose eFuses name no known maker; what reading throws
   */
  readMac(registers: RegisterAccess): Promise<Mac>;
  /** Never fails by what it reads: an unknown package is described as unknown. */
  describe(registers: RegisterAccess): Promise<ChipDescription>;
  /**
   * Crystal in MHz. `baudRate` is the rate that host and chip now talk at: where no register tells the crystal, it
   * follows from the UART's divider (ESP8266, ESP32, ESP32-C2, ESP32-C5). Ask while the ROM answers: a stub may run
   * the UART off another clock, and then the most common crystal is assumed.
   */
  readCrystalMHz(registers: RegisterAccess, baudRate: number): Promise<number>;
  /** From eFuse registers, or from `info` where the chip answers GET_SECURITY_INFO. */
  readSecurity(registers: RegisterAccess, info: SecurityInfo | null): Promise<SecurityState>;
  /**
   * Which of the chip's own USB peripherals the console, and so this link, runs over. By ROM variables where their place
   * is known, which also tells over a network.
   * @param host what the host knows of the port's USB; used only where the chip cannot be asked
   */
  readUsbConnection(registers: RegisterAccess, host?: UsbFacts | null): Promise<UsbConnection>;
  /**
   * To be called while the ROM answers, before the flash is attached or a stub is loaded, on every connection: switches
   * off watchdogs that would reset the chip in the middle of a long read (over USB-Serial/JTAG), and powers the flash
   * where the ROM leaves it off (ESP32-P4 v3.1 and v3.2). Nothing on chips and connections that need none.
   * @param clock for the waits of the power-up sequence; the system's when left out
   */
  prepareForStub(registers: RegisterAccess, usb: UsbConnection, clock?: Clock): Promise<void>;
  /**
   * What CHANGE_BAUDRATE must ask of the ROM so that the line ends up at `baudRate`: some ROMs reckon with another
   * crystal than the board has. `currentBaudRate` is the rate in force. Stubs need no such help.
   */
  romBaudRate(registers: RegisterAccess, baudRate: number, currentBaudRate: number): Promise<number>;
  /**
   * Before the board is let go, through ROM or stub: clears the bit that would hold the chip in download mode, and
   * tells which way of resetting leads into the app.
   */
  prepareForReset(registers: RegisterAccess, usb: UsbConnection): Promise<ResetWay>;
  /**
   * Resets the chip from within (RTC watchdog), for boards whose reset line does not sample the strapping pins anew
   * (native USB). Takes up to half a second to act; the last reply may be lost. Null where the chip has no such way or
   * needs none.
   */
  readonly watchdogReset: ((registers: RegisterAccess) => Promise<void>) | null;
}
