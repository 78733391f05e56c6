/** What a file is that holds no flash image, by its first bytes: people have many files called `firmware.bin`. Pure. */

/** A file of another kind. */
export interface OtherFile {
  /** A sentence fragment: `is an ELF file, ...`. */
  readonly what: string;
  readonly hint: string;
}

const NOT_FLASH = 'A flash image is what is read out of a whole chip: "esptool read-flash 0 ALL flash.bin"';
const UNPACK = 'Unpack it first, and import what is in it';

const MAGICS: readonly (OtherFile & { readonly magic: Buffer })[] = [
  // https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html
  { magic: Buffer.from('7f454c46', 'hex'), what: 'is an ELF file, what a linker makes of a program', hint: NOT_FLASH },
  // https://github.com/microsoft/uf2#file-format: "UF2\n" and 0x9E5D5157
  { magic: Buffer.from('5546320a57515d9e', 'hex'), what: 'is a UF2 file, blocks for a USB drive', hint: NOT_FLASH },
  // https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3.7
  { magic: Buffer.from('504b0304', 'hex'), what: 'is a ZIP archive', hint: UNPACK },
  // https://tukaani.org/xz/xz-file-format.txt
  { magic: Buffer.from('fd377a585a00', 'hex'), what: 'is compressed with xz', hint: UNPACK },
  // RFC 8878, 3.1.1
  { magic: Buffer.from('28b52ffd', 'hex'), what: 'is compressed with zstd', hint: UNPACK },
  // "BZh" and the block size, then pi: https://github.com/dsnet/compress/blob/master/doc/bzip2-format.pdf
  { magic: Buffer.from('425a68', 'hex'), what: 'is compressed with bzip2', hint: UNPACK },
  // https://py7zr.readthedocs.io/en/latest/archive_format.html
  { magic: Buffer.from('377abcaf271c', 'hex'), what: 'is a 7z archive', hint: UNPACK },
  // RFC 1952, 2.3.1; of one layer the caller has taken care
  { magic: Buffer.from('1f8b08', 'hex'), what: 'is packed with gzip twice', hint: UNPACK },
];

/** How much of the beginning is enough to tell a text. */
export const HEAD_BYTES = 4096;

/**
 * What the file is, or null where its beginning may be that of a flash.
 *
 * @param head the first {@link HEAD_BYTES} of the file, unpacked; or what there is of them
 */
export function otherFile(head: Buffer): OtherFile | null {
  if (head.length === 0) return { what: 'is empty', hint: NOT_FLASH };
  const known = MAGICS.find(({ magic }) => head.subarray(0, magic.length).equals(magic));
  if (known !== undefined) return { what: known.what, hint: known.hint };
  if (!isText(head)) return null;
  const start = head.toString('latin1').trimStart().slice(0, 200);
  if (/^<(?:!doctype|html|head|\?xml|body)\b/i.test(start)) {
    return {
      what: 'is a web page',
      hint: 'The download gave a page in the place of the file: log in there and try again',
    };
  }
  return { what: 'is a text', hint: NOT_FLASH };
}

/** Only printable ASCII, bytes of UTF-8, and white space. A flash begins with a magic of 0xE9, or blank: no UTF-8. */
function isText(head: Buffer): boolean {
  if (head.some((byte) => byte < 0x20 && ![0x09, 0x0a, 0x0c, 0x0d].includes(byte))) return false;
  try {
    // A character that is cut off at the end is none of the text's faults.
    new TextDecoder('utf-8', { fatal: true }).decode(head, { stream: true });
    return true;
  } catch {
    return false;
  }
}
