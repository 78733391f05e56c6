/**
 * What of a conversation may be told to others. Bytes of flash are cut out, and so is what they could be found out by: a
 * digest of a short region is as good as the region for whoever can try all passwords. In its place stands a tag, a
 * digest with a key that is never written. What cannot be understood is cut out whole.
 */

import { createHash, createHmac } from 'node:crypto';
import { UNIFORM_BYTES, uniformDigest } from '../../archive/uniform.ts';
import { chips } from '../../esp/chips/index.ts';
import type { EfuseWords } from '../../esp/identity.ts';
import { OPCODE, opcodeName } from '../../esp/protocol.ts';
import type { CutOut, FrameLine } from './format.ts';

type Told = Pick<FrameLine, 'kind' | 'hex'> & Partial<Pick<FrameLine, 'name' | 'data'>>;

const HEADER_BYTES = 8;
const CHECKSUM_AT = 4;
/** A response without a body: status of a stub, of a ROM. */
const MAX_STATUS_BYTES = 4;
/** Of fewer bytes it would say something. */
const MIN_FILL_BYTES = 64;
const OHAI = Buffer.from('OHAI');

/** Commands whose payload is all that there is to know of them. */
const PLAIN_REQUESTS: readonly number[] = [
  OPCODE.FLASH_BEGIN,
  OPCODE.FLASH_END,
  OPCODE.MEM_BEGIN,
  OPCODE.MEM_END,
  OPCODE.SYNC,
  OPCODE.WRITE_REG,
  OPCODE.READ_REG,
  OPCODE.SPI_SET_PARAMS,
  OPCODE.SPI_ATTACH,
  OPCODE.READ_FLASH_SLOW,
  OPCODE.CHANGE_BAUDRATE,
  OPCODE.FLASH_DEFL_BEGIN,
  OPCODE.FLASH_DEFL_END,
  OPCODE.SPI_FLASH_MD5,
  OPCODE.GET_SECURITY_INFO,
  OPCODE.READ_FLASH,
];

interface Request {
  readonly opcode: number;
  /** First words of the payload. */
  readonly words: readonly number[];
}

/** Follows one conversation: what a frame is follows from those before it. */
export class Secrets {
  readonly #key: Buffer;
  readonly #reveal: boolean;
  #request: Request | undefined;
  /** Bytes that are still to come of a READ_FLASH; undefined where none is under way. */
  #reading: number | undefined;

  /** @param key never written anywhere @param reveal nothing is cut out */
  constructor(key: Buffer, reveal: boolean) {
    this.#key = key;
    this.#reveal = reveal;
  }

  fromHost(frame: Buffer): Told {
    if (!isMessage(frame, 0)) {
      const isAcknowledgement = frame.length === 4;
      if (isAcknowledgement) return { kind: 'ack', hex: frame.toString('hex') };
      return this.#cut('data', frame, { at: 0, bytes: frame.length });
    }
    const opcode = frame.readUInt8(1);
    const words = Array.from({ length: Math.min(4, Math.floor((frame.length - HEADER_BYTES) / 4)) }, (_, index) =>
      frame.readUInt32LE(HEADER_BYTES + 4 * index),
    );
    this.#request = { opcode, words };
    this.#reading = undefined;
    const name = opcodeName(opcode);
    if (PLAIN_REQUESTS.includes(opcode)) return { kind: 'cmd', name, hex: frame.toString('hex') };
    // The stub, which everybody has: its words say how long, and where it goes.
    const isProgram = opcode === OPCODE.MEM_DATA;
    const isFlash = opcode === OPCODE.FLASH_DATA || opcode === OPCODE.FLASH_DEFL_DATA;
    const at = HEADER_BYTES + (isProgram || isFlash ? Math.min(16, frame.length - HEADER_BYTES) : 0);
    if (isProgram) {
      const sha256 = createHash('sha256').update(frame.subarray(at)).digest('hex');
      const data = { bytes: frame.length - at, sha256 };
      return { kind: 'cmd', name, hex: frame.toString('hex', 0, at), data };
    }
    // The checksum of the data is in the header.
    return { ...this.#cut('cmd', zeroed(frame, CHECKSUM_AT, this.#reveal), { at, bytes: frame.length - at }), name };
  }

  fromChip(frame: Buffer): Told {
    if (this.#reading !== undefined) return this.#packet(frame);
    if (frame.equals(OHAI)) return { kind: 'data', hex: frame.toString('hex') };
    const request = this.#request;
    const opcode = frame[1] ?? 0;
    // A ROM refuses in the name of another command, and SYNC is answered eight times.
    const isResponse =
      isMessage(frame, 1) && (opcode === request?.opcode || frame.length <= HEADER_BYTES + MAX_STATUS_BYTES);
    if (!isResponse || request === undefined) return this.#cut('data', frame, { at: 0, bytes: frame.length });
    const name = opcodeName(opcode);
    if (opcode === OPCODE.READ_FLASH && frame.length === HEADER_BYTES + 2 && frame[HEADER_BYTES] === 0) {
      this.#reading = request.words[1] ?? 0;
    }
    return { ...this.#response(frame, request, opcode), name };
  }

  /** Bytes of flash, then 16 of their digest. */
  #packet(frame: Buffer): Told {
    const left = this.#reading ?? 0;
    this.#reading = left > 0 ? left - frame.length : undefined;
    return this.#cut('data', frame, { at: 0, bytes: frame.length });
  }

  #response(frame: Buffer, { opcode: asked, words }: Request, opcode: number): Told {
    // The value is what the last READ_REG left, in all responses but two.
    const hasValue = opcode === OPCODE.READ_REG || opcode === OPCODE.SYNC;
    const isSecret = opcode === OPCODE.READ_REG && (asked !== opcode || isKeyRegister(words[0] ?? 0));
    const shown = hasValue && !isSecret ? frame : zeroed(frame, CHECKSUM_AT, this.#reveal);
    const bodyBytes = bodyLength(frame, opcode);
    if (bodyBytes === 0 || opcode === OPCODE.GET_SECURITY_INFO) return { kind: 'rsp', hex: shown.toString('hex') };
    const body = frame.subarray(HEADER_BYTES, HEADER_BYTES + bodyBytes);
    if (opcode === OPCODE.SPI_FLASH_MD5 && isDigestOfNothing(body, words[1] ?? 0)) {
      return { kind: 'rsp', hex: shown.toString('hex') };
    }
    return this.#cut('rsp', shown, { at: HEADER_BYTES, bytes: bodyBytes });
  }

  #cut(kind: FrameLine['kind'], frame: Buffer, { at, bytes }: Required<Pick<CutOut, 'at' | 'bytes'>>): Told {
    if (this.#reveal || bytes === 0) return { kind, hex: frame.toString('hex') };
    const secret = frame.subarray(at, at + bytes);
    const rest = Buffer.concat([frame.subarray(0, at), frame.subarray(at + bytes)]).toString('hex');
    const fill = secret[0] ?? 0;
    if (
      bytes >= MIN_FILL_BYTES &&
      UNIFORM_BYTES.some((byte) => byte === fill) &&
      secret.every((byte) => byte === fill)
    ) {
      return { kind, hex: rest, data: { at, bytes, fill } };
    }
    return { kind, hex: rest, data: { at, bytes, tag: tagOf(this.#key, secret) } };
  }
}

/** Equal for equal bytes, and nothing else can be learnt of it. */
export function tagOf(key: Buffer, bytes: Uint8Array): string {
  return createHmac('sha256', key).update(bytes).digest('hex').slice(0, 32);
}

/** What stands before the status: 16 bytes of a stub's digest, 32 of a ROM's, 64 of flash; else all but two. */
function bodyLength(frame: Buffer, opcode: number): number {
  const length = frame.length - HEADER_BYTES;
  if (length <= MAX_STATUS_BYTES) return 0;
  if (opcode === OPCODE.SPI_FLASH_MD5) return Math.min(length, length >= 32 ? 32 : 16);
  if (opcode === OPCODE.READ_FLASH_SLOW) return Math.min(length, 64);
  return length - 2;
}

const isMessage = (frame: Buffer, direction: 0 | 1) =>
  frame.length >= HEADER_BYTES && frame[0] === direction && frame.length === HEADER_BYTES + frame.readUInt16LE(2);

function zeroed(frame: Buffer, at: number, reveal: boolean): Buffer {
  if (reveal) return frame;
  const copy = Buffer.from(frame);
  copy.writeUInt32LE(0, at);
  return copy;
}

/** More than any region that is asked for. */
const MAX_REGION_BYTES = 128 * 1024 * 1024;

/** Whether a region is erased, or zero, in which nothing is secret: the plan of a backup depends on that. */
export function isDigestOfNothing(body: Buffer, sizeBytes: number): boolean {
  if (sizeBytes === 0 || sizeBytes > MAX_REGION_BYTES) return false;
  const digest = body.length === 32 ? body.toString('latin1') : body.toString('hex');
  return UNIFORM_BYTES.some((fill) => uniformDigest(fill, sizeBytes) === digest);
}

/** eFuses that a person may have burnt keys into: from the blocks of users on, and the keys of an ESP32 before that. */
const KEY_REGISTERS = chips.flatMap(({ efuseBlocks }) =>
  efuseBlocks
    .filter(({ name }) => ['BLOCK3', 'BLOCK_USR_DATA'].includes(name))
    .map(({ name, address }) => ({ from: name === 'BLOCK3' ? address - 0x40 : address, to: address + 0x100 })),
);

/** Those of a manifest, as {@link Secrets} tells them where a chip answers. What no chip of espd's has is left out. */
export function toldEfuses(family: string, efuses: EfuseWords, reveal: boolean): EfuseWords {
  const blocks = chips.find((chip) => chip.family === family)?.efuseBlocks ?? [];
  return Object.fromEntries(
    blocks.flatMap(({ name, address }) => {
      const words = Object.hasOwn(efuses, name) ? efuses[name] : undefined;
      const isTold = (index: number) => reveal || !isKeyRegister(address + 4 * index);
      return words === undefined ? [] : [[name, words.map((word, index) => (isTold(index) ? word : '00000000'))]];
    }),
  );
}

function isKeyRegister(address: number): boolean {
  return KEY_REGISTERS.some(({ from, to }) => address >= from && address < to);
}
