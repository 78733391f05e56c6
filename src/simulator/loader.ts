/** What ROM and stub share: the chip around them, requests as they come in, responses as they go out. */

import type { Clock } from '../clock.ts';
import type { ChipIdentity, ChipModel } from './chips/model.ts';
import type { FaultSet } from './faults.ts';
import type { Flash } from './flash.ts';
import type { Ram } from './ram.ts';
import type { BuiltReader } from './reader/program.ts';
import type { RegisterFile } from './registers.ts';

/** How long the chip's work takes. Zero (the default of each) means at once. */
export interface ChipSpeeds {
  /** SPI_FLASH_MD5, bytes hashed a second; 0 = at once. */
  readonly digestBytesPerSecond: number;
  /** READ_FLASH_SLOW, bytes a second read from the flash chip; 0 = at once. */
  readonly readBytesPerSecond: number;
  /**
   * READ_FLASH, bytes a second that a stub reads and puts through its MD5 before a packet goes out; 0 = at once. The wire
   * is idle meanwhile: one buffer, one packet in flight (esp-flasher-stub, s_read_flash_post_process). What the UART's
   * FIFO of 128 bytes still sends then is not reckoned with.
   */
  readonly packetBytesPerSecond: number;
  /** Clock of the CPU while the reader of `reader/` runs on it, in MHz; 0 = it takes no time. */
  readonly readerCpuMHz: number;
  readonly eraseSectorMs: number;
  readonly eraseBlockMs: number;
  readonly programPageMs: number;
}

export const INSTANT_SPEEDS: ChipSpeeds = {
  digestBytesPerSecond: 0,
  readBytesPerSecond: 0,
  packetBytesPerSecond: 0,
  readerCpuMHz: 0,
  eraseSectorMs: 0,
  eraseBlockMs: 0,
  programPageMs: 0,
};

/**
 * An ordinary 4 MB chip (Winbond W25Q32 data sheet, typical values) behind a C3 at 80 MHz, DIO. A packet of 4 KiB takes 1 ms:
 * about 0.5 ms to read it at 8 MB/s, and as long to hash it, which is also what digests of large regions come to.
 */
export const TYPICAL_SPEEDS: ChipSpeeds = {
  digestBytesPerSecond: 3_500_000,
  readBytesPerSecond: 8_000_000,
  packetBytesPerSecond: 4_000_000,
  readerCpuMHz: 160,
  eraseSectorMs: 45,
  eraseBlockMs: 150,
  programPageMs: 0.4,
};

/** The chip as a loader running on it sees it. */
export interface LoaderContext {
  readonly model: ChipModel;
  readonly identity: ChipIdentity;
  readonly flash: Flash;
  readonly registers: RegisterFile;
  readonly ram: Ram;
  /** The reader that this chip can run, if it is loaded. */
  readonly builtReader: () => BuiltReader | undefined;
  readonly faults: FaultSet;
  readonly speeds: ChipSpeeds;
  readonly clock: Clock;
  /** Key purposes of GET_SECURITY_INFO. */
  readonly keyPurposes: readonly number[];
  /**
   * Sends one frame; `sent` is called when its last byte has left the UART, with the time at which that was.
   * `notBefore` is the time at which the chip was ready to send, where that was earlier than now (real timers are late).
   */
  send(content: Uint8Array, sent?: (atMs: number) => void, notBefore?: number): void;
  /** Runs `work` after `delayMs` unless the chip is reset before; at once when that is 0. */
  after(delayMs: number, work: () => void): void;
  setBaudRate(baudRate: number): void;
  /** Hands over to a stub. */
  startStub(): void;
  /** Ends the loader: a software reset into the app. */
  runApp(): void;
  /** False once a fault has reset the chip under this loader: it does nothing more. */
  runs(loader: Loader): boolean;
  /** Deaf and dumb until the next reset. */
  hang(): void;
  /** For the board's list of commands. */
  note(loader: 'rom' | 'stub', opcode: number, payload: Buffer): void;
}

export interface Loader {
  /** One frame from the host, unescaped. */
  frame(content: Buffer): void;
  /** Bytes from the host as they come, where the loader takes them itself: false = it does not, they are frames. */
  raw?(data: Buffer): boolean;
}

export interface Request {
  readonly opcode: number;
  readonly checksum: number;
  readonly payload: Buffer;
}

const HEADER_BYTES = 8;

/** Null for what is no request or says another length than it has. */
export function parseRequest(frame: Buffer): Request | null {
  if (frame.length < HEADER_BYTES || frame[0] !== 0) return null;
  if (frame.readUInt16LE(2) !== frame.length - HEADER_BYTES) return null;
  return { opcode: frame.readUInt8(1), checksum: frame.readUInt32LE(4), payload: frame.subarray(HEADER_BYTES) };
}

export function responseOf(opcode: number, value: number, body: Uint8Array, status: Uint8Array): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header[0] = 1;
  header[1] = opcode;
  header.writeUInt16LE(body.length + status.length, 2);
  header.writeUInt32LE(value >>> 0, 4);
  return Buffer.concat([header, body, status]);
}

/** The checksum of *_DATA: 0xEF exclusive-or all bytes. */
export function checksumOf(data: Uint8Array): number {
  let checksum = 0xef;
  for (const byte of data) checksum ^= byte;
  return checksum;
}

/** The little-endian word at index `word` of a payload. */
export function wordAt(payload: Buffer, word: number): number {
  return payload.readUInt32LE(word * 4);
}

export function digestMs(speeds: ChipSpeeds, sizeBytes: number): number {
  return speeds.digestBytesPerSecond === 0 ? 0 : (sizeBytes / speeds.digestBytesPerSecond) * 1000;
}

export function readMs(speeds: ChipSpeeds, sizeBytes: number): number {
  return speeds.readBytesPerSecond === 0 ? 0 : (sizeBytes / speeds.readBytesPerSecond) * 1000;
}

export function packetMs(speeds: ChipSpeeds, sizeBytes: number): number {
  return speeds.packetBytesPerSecond === 0 ? 0 : (sizeBytes / speeds.packetBytesPerSecond) * 1000;
}

export function programMs(speeds: ChipSpeeds, sizeBytes: number): number {
  return speeds.programPageMs === 0 ? 0 : Math.ceil(sizeBytes / 256) * speeds.programPageMs;
}

/** Erasing a region by blocks of 64 KiB where they are aligned and whole, by sectors elsewhere. */
export function eraseMs(speeds: ChipSpeeds, address: number, sizeBytes: number): number {
  if (speeds.eraseSectorMs === 0 && speeds.eraseBlockMs === 0) return 0;
  const end = address + sizeBytes;
  let total = 0;
  for (let at = address; at < end;) {
    const block = at % 65536 === 0 && end - at >= 65536;
    total += block ? speeds.eraseBlockMs : speeds.eraseSectorMs;
    at += block ? 65536 : 4096;
  }
  return total;
}

/** GET_SECURITY_INFO: flags, flash encryption count, seven key purposes and, on most chips, chip id and ECO version. */
export function securityInfoOf(context: LoaderContext): Buffer {
  const { identity, model } = context;
  const info = Buffer.alloc(20);
  // esp-idf esp_rom esp_get_security_info_t: bit 0 secure boot, bit 2 secure download.
  info.writeUInt32LE((identity.secureBoot ? 1 : 0) | (identity.secureDownload ? 4 : 0), 0);
  info[4] = identity.flashEncryption ? 1 : 0;
  Buffer.from(context.keyPurposes.slice(0, 7)).copy(info, 5);
  info.writeUInt32LE(model.chipId ?? 0, 12);
  info.writeUInt32LE(model.apiVersion, 16);
  return info.subarray(0, model.securityInfoBytes);
}

/** A copy of a digest with its last bit inverted. */
export function spoiled(digest: Buffer): Buffer {
  const copy = Buffer.from(digest);
  copy[copy.length - 1] = (copy[copy.length - 1] ?? 0) ^ 1;
  return copy;
}
