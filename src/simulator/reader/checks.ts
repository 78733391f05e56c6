/** CRC-32 (polynomial EDB88320, as zlib has it) and the test pattern, as `reader/PROTOCOL.md` gives them. */

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let word = byte;
  for (let bit = 0; bit < 8; bit++) word = (word & 1) === 1 ? (word >>> 1) ^ 0xedb88320 : word >>> 1;
  return word >>> 0;
});

export function crcOf(data: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of data) crc = (crc >>> 8) ^ (TABLE[(crc ^ byte) & 0xff] ?? 0);
  return ~crc >>> 0;
}

/** `length` bytes of the pattern from an address on, both multiples of 4. */
export function patternAt(address: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; at += 4) {
    const word = (address + at) >>> 2;
    const kind = ((address + at) >>> 8) % 4;
    let value = 0xffffffff;
    if (kind === 0) value = mixed(word);
    else if (kind === 1) value = mixed(word % 16);
    else if (kind === 2) value = 0x41414141 + ((mixed(word >>> 2) & 0x0f0f0f0f) >>> 0);
    bytes.writeUInt32LE(value, at);
  }
  return bytes;
}

function mixed(start: number): number {
  const once = Math.imul(start, 0x9e3779b1);
  const twice = Math.imul(once ^ (once >>> 15), 0x85ebca6b);
  return (twice ^ (twice >>> 13)) >>> 0;
}
