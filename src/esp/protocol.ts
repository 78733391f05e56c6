/**
 * Requests and responses of Espressif's serial bootloader, as bytes. Source of every number, unless said otherwise:
 * the "Serial Protocol" page of the esptool documentation
 * (https://docs.espressif.com/projects/esptool/en/latest/esp32/advanced-topics/serial-protocol.html).
 */

export const OPCODE = {
  FLASH_BEGIN: 0x02,
  FLASH_DATA: 0x03,
  FLASH_END: 0x04,
  MEM_BEGIN: 0x05,
  MEM_END: 0x06,
  MEM_DATA: 0x07,
  SYNC: 0x08,
  WRITE_REG: 0x09,
  READ_REG: 0x0a,
  SPI_SET_PARAMS: 0x0b,
  SPI_ATTACH: 0x0d,
  READ_FLASH_SLOW: 0x0e,
  CHANGE_BAUDRATE: 0x0f,
  FLASH_DEFL_BEGIN: 0x10,
  FLASH_DEFL_DATA: 0x11,
  FLASH_DEFL_END: 0x12,
  SPI_FLASH_MD5: 0x13,
  GET_SECURITY_INFO: 0x14,
  /** Stub only. */
  READ_FLASH: 0xd2,
} as const;

/**
 * Commands of a ROM that touch the flash: which word of the request is the address, and which the length in bytes; null
 * for the data that follow such a request.
 */
export const FLASH_COMMANDS: Readonly<Record<number, { readonly address: number; readonly length: number } | null>> = {
  [OPCODE.FLASH_BEGIN]: { length: 0, address: 3 },
  [OPCODE.FLASH_DEFL_BEGIN]: { length: 0, address: 3 },
  [OPCODE.FLASH_DATA]: null,
  [OPCODE.FLASH_DEFL_DATA]: null,
  [OPCODE.READ_FLASH_SLOW]: { address: 0, length: 1 },
  [OPCODE.SPI_FLASH_MD5]: { address: 0, length: 1 },
};

export type Opcode = (typeof OPCODE)[keyof typeof OPCODE];

/** `0x0a` as `READ_REG`; unknown ones as hex. */
export function opcodeName(opcode: number): string {
  const entry = Object.entries(OPCODE).find(([, value]) => value === opcode);
  return entry?.[0] ?? `command 0x${opcode.toString(16).padStart(2, '0')}`;
}

/** XOR of the payload, seeded with 0xEF: what *_DATA commands carry. */
export function dataChecksum(payload: Uint8Array): number {
  let sum = 0xef;
  for (const byte of payload) sum ^= byte;
  return sum;
}

/** A request, before SLIP: direction 0, opcode, length, checksum (0 for all but *_DATA), payload. */
export function encodeRequest(opcode: number, payload: Uint8Array, checksum = 0): Buffer {
  const request = Buffer.allocUnsafe(8 + payload.length);
  request[0] = 0x00;
  request[1] = opcode;
  request.writeUInt16LE(payload.length, 2);
  request.writeUInt32LE(checksum, 4);
  request.set(payload, 8);
  return request;
}

/** Words as little-endian bytes: the payload of most requests. */
export function words(...values: number[]): Buffer {
  const bytes = Buffer.allocUnsafe(values.length * 4);
  values.forEach((value, index) => bytes.writeUInt32LE(value >>> 0, index * 4));
  return bytes;
}

export interface Response {
  readonly opcode: number;
  /** The value field: means something in READ_REG and SYNC only, stale in all others. */
  readonly value: number;
  /** What stands between the header and the status. */
  readonly body: Buffer;
  readonly failed: boolean;
  /** Reason byte of a failure, see {@link reasonText}; 0 where it did not fail. */
  readonly reason: number;
}

/**
 * A response, after SLIP; null for a frame that is none.
 *
 * @param statusBytes how many bytes of status the loader in use sends: 4 a ROM (2 on ESP8266), 2 a stub. It cannot be
 *   told from the frame. Only the first two mean something; a ROM's other two may be garbage.
 */
export function decodeResponse(frame: Buffer, statusBytes: 2 | 4): Response | null {
  if (frame.length < 8 + statusBytes || frame[0] !== 0x01) return null;
  const length = frame.readUInt16LE(2);
  // Exactly that long: responses have no checksum, and a byte lost or doubled on the way must show somewhere.
  if (length < statusBytes || frame.length !== 8 + length) return null;
  const statusAt = 8 + length - statusBytes;
  const status = frame[statusAt] as number;
  return {
    opcode: frame[1] as number,
    value: frame.readUInt32LE(4),
    body: frame.subarray(8, statusAt),
    failed: status !== 0,
    // A ROM says 01 and the reason; the current stub sends its code big-endian, so the reason comes first
    // (esp-flasher-stub, src/commands.h: enum esp_response_code).
    reason: status === 1 ? (frame[statusAt + 1] as number) : status,
  };
}

/**
 * Reasons of a ROM (0x05 to 0x0b, the protocol page) and of the stub (0xc0 to 0xc9 and 0xff, esp-flasher-stub,
 * src/commands.h).
 */
const REASONS: Readonly<Record<number, string>> = {
  0x05: 'the command is unknown, forbidden or malformed',
  0x06: 'the command could not be carried out',
  0x07: 'the checksum of the data is wrong',
  0x08: 'the flash could not be written',
  0x09: 'the flash could not be read',
  0x0a: 'the length is wrong',
  0x0b: 'the compressed data is broken',
  0xc0: 'the length of the data is wrong',
  0xc1: 'the checksum of the data is wrong',
  0xc2: 'the block size is wrong',
  0xc3: 'the command is invalid',
  0xc4: 'the flash did not carry out the command',
  0xc5: 'the flash could not be unlocked',
  0xc6: 'the command comes when it is not expected',
  0xc7: 'the compressed data is broken',
  0xc8: 'less data than announced',
  0xc9: 'more data than announced',
  0xff: 'the command is not implemented',
};

export function reasonText(reason: number): string {
  const hex = `0x${reason.toString(16).padStart(2, '0')}`;
  const text = REASONS[reason];
  return text === undefined ? `reason ${hex}` : `${text} (${hex})`;
}

/** What SYNC carries: 07 07 12 20, then 32 times 55, from which the ROM measures the baud rate. */
export const SYNC_PAYLOAD = Buffer.from([0x07, 0x07, 0x12, 0x20, ...Array<number>(32).fill(0x55)]);

/** Replies to one SYNC, of ROM (protocol page) and stub (esp-flasher-stub, src/command_handler.c, s_sync). */
export const SYNC_REPLIES = 8;
