/** The test pattern of `reader/PROTOCOL.md`: what the chip compresses and hashes without its flash, known to both. */

/** `sizeBytes` of it from address 0, a multiple of 4. */
export function testPattern(sizeBytes: number): Buffer {
  const pattern = Buffer.allocUnsafe(sizeBytes);
  for (let address = 0; address < sizeBytes; address += 4) pattern.writeUInt32LE(wordAt(address), address);
  return pattern;
}

function wordAt(address: number): number {
  const word = address / 4;
  switch ((address >> 8) & 3) {
    case 0:
      return scrambled(word);
    case 1:
      return scrambled(word & 15);
    case 2:
      return (0x41414141 + (scrambled(word >> 2) & 0x0f0f0f0f)) >>> 0;
    default:
      return 0xffffffff;
  }
}

function scrambled(word: number): number {
  let x = Math.imul(word, 0x9e3779b1) >>> 0;
  x ^= x >>> 15;
  x = Math.imul(x, 0x85ebca6b) >>> 0;
  x ^= x >>> 13;
  return x >>> 0;
}
