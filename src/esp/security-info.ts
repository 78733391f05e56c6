/**
 * The answer of GET_SECURITY_INFO (opcode 0x14). Source: Espressif's "Serial Protocol" page, section "Get Security
 * Info"; the bits of `flags` as esptool prints them.
 */

import { EspdError } from '../errors.ts';
import type { SecurityInfo, SecurityState } from './chips/chip.ts';
import { isOddParity } from './chips/efuse-fields.ts';

const SECURE_BOOT_EN = 1 << 0;
const SECURE_DOWNLOAD_ENABLE = 1 << 2;

/** Flags, crypt count and seven key purposes: all that an ESP32-S2 sends. */
const SHORT_BYTES = 12;
/** With chip id and API version behind. */
const LONG_BYTES = 20;

/**
 * @param body the response's payload without its status: 12 bytes, or 20 (more are ignored)
 * @throws EspdError `chip-error` for any other length
 */
export function parseSecurityInfo(body: Uint8Array): SecurityInfo {
  if (body.length !== SHORT_BYTES && body.length < LONG_BYTES) {
    throw new EspdError('chip-error', `GET_SECURITY_INFO was answered with ${body.length} bytes instead of 12 or 20`);
  }
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.length);
  const long = bytes.length >= LONG_BYTES;
  return {
    flags: bytes.readUInt32LE(0),
    flashCryptCount: bytes.readUInt8(4),
    keyPurposes: [...bytes.subarray(5, SHORT_BYTES)],
    chipId: long ? bytes.readUInt32LE(12) : null,
    apiVersion: long ? bytes.readUInt32LE(16) : null,
  };
}

/** Whether the chip refuses to have its flash and registers read. */
export function isSecureDownload(info: SecurityInfo): boolean {
  return (info.flags & SECURE_DOWNLOAD_ENABLE) !== 0;
}

export function securityFromInfo(info: SecurityInfo): SecurityState {
  return {
    flashEncryption: isOddParity(info.flashCryptCount),
    secureBoot: (info.flags & SECURE_BOOT_EN) !== 0,
    secureDownload: isSecureDownload(info),
  };
}
