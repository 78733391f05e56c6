/** As much of ELF (32 bits, little-endian) as the build needs: what is loaded where, and the symbols. */

const SHF_ALLOC = 2;
const SHT_SYMTAB = 2;
const SHT_NOBITS = 8;

/**
 * @param {Buffer} elf
 * @returns {{ sections: { address: number, bytes: Buffer | null }[], symbols: Map<string, number> }} sections that take
 *   memory, by their order in the file; bytes: null where nothing is loaded
 */
export function readElf(elf) {
  if (elf.toString('latin1', 0, 6) !== '\x7fELF\x01\x01') throw new Error('no 32-bit little-endian ELF file');
  const tableAt = elf.readUInt32LE(32);
  const entryBytes = elf.readUInt16LE(46);
  const headers = Array.from({ length: elf.readUInt16LE(48) }, (_, index) => {
    const at = tableAt + index * entryBytes;
    const field = (/** @type {number} */ number) => elf.readUInt32LE(at + 4 * number);
    return { type: field(1), flags: field(2), address: field(3), offset: field(4), size: field(5), link: field(6) };
  });
  const sections = headers
    .filter(({ flags, size }) => (flags & SHF_ALLOC) !== 0 && size > 0)
    .map(({ type, address, offset, size }) => ({
      address,
      bytes: type === SHT_NOBITS ? null : Buffer.from(elf.subarray(offset, offset + size)),
    }));
  const symbols = new Map();
  for (const { type, offset, size, link } of headers) {
    if (type !== SHT_SYMTAB) continue;
    const names = headers[link];
    for (let at = offset; at < offset + size; at += 16) {
      const nameAt = names.offset + elf.readUInt32LE(at);
      symbols.set(elf.toString('latin1', nameAt, elf.indexOf(0, nameAt)), elf.readUInt32LE(at + 4));
    }
  }
  return { sections, symbols };
}
