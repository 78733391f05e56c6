/**
 * The slots of one FAT folder: short names, long names, and what belongs to neither.
 *
 * Long names count as FatFs counts them (`dir_read`, `pick_lfn` and `get_fileinfo` of
 * https://github.com/espressif/esp-idf/blob/102122904ade11fd1ae373848f34ffd7dfb18aeb/components/fatfs/src/ff.c): all parts in
 * order, each with the checksum of the short name behind them; otherwise the short name counts.
 */

const SLOT_BYTES = 32;
const END = 0x00;
const DELETED = 0xe5;
const DOT = 0x2e;
/** Stands for a first character 0xe5. */
const ESCAPED_E5 = 0x05;

const ATTRIBUTES = 0x3f;
const ATTRIBUTE_VOLUME = 0x08;
const ATTRIBUTE_FOLDER = 0x10;
const ATTRIBUTE_ARCHIVE = 0x20;
const ATTRIBUTE_LONG_NAME = 0x0f;
/** Byte 12: Windows NT stores `name.txt` as `NAME.TXT` with these instead of a long name, and FatFs reads them. */
const NT_SMALL_BASE = 0x08;
const NT_SMALL_EXTENSION = 0x10;

const LAST_PART = 0x40;
const PART_UNITS = 13;
/** Where the 13 UTF-16 units of a part stand. */
const PART_OFFSETS = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];
const MAX_NAME_UNITS = 255;

/**
 * Code page 437 from 0x80 on, ESP-IDF's default for short names (CONFIG_FATFS_CODEPAGE); nothing in a volume says which one it
 * was written with.
 */
const CODE_PAGE_437 =
  'ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00a0';

export interface FatSlot {
  /** Raw; may be empty or hold a `/` where somebody wants it to. */
  readonly name: string;
  readonly isFolder: boolean;
  readonly firstCluster: number;
  readonly sizeBytes: number;
  /** Parts of a long name stood before it that do not belong to it. */
  readonly hasStrayLongName: boolean;
}

/** Files and folders of a folder, in its order, without `.`, `..`, deleted ones and the volume label. */
export function* slotsOfFolder(folder: Buffer): Generator<FatSlot> {
  let long: LongName | null = null;
  let stray = false;
  for (let at = 0; at + SLOT_BYTES <= folder.length; at += SLOT_BYTES) {
    const slot = folder.subarray(at, at + SLOT_BYTES);
    const lead = slot.readUInt8(0);
    const attributes = slot.readUInt8(11) & ATTRIBUTES;
    if (lead === END) return;
    if (lead === DELETED || lead === DOT || (attributes & ~ATTRIBUTE_ARCHIVE) === ATTRIBUTE_VOLUME) {
      [long, stray] = [null, false];
      continue;
    }
    if (attributes === ATTRIBUTE_LONG_NAME) {
      long = withPart(long, slot);
      stray = true;
      continue;
    }
    const name = long?.missing === 0 && long.checksum === checksumOf(slot) ? long.text : null;
    yield {
      name: name ?? shortName(slot),
      isFolder: (attributes & ATTRIBUTE_FOLDER) !== 0,
      firstCluster: slot.readUInt16LE(20) * 0x10000 + slot.readUInt16LE(26),
      sizeBytes: slot.readUInt32LE(28),
      hasStrayLongName: stray && name === null,
    };
    [long, stray] = [null, false];
  }
}

interface LongName {
  readonly checksum: number;
  /** The number that the next part must have, counting down; 0 when the name is whole. */
  readonly missing: number;
  readonly text: string;
}

/** A long name and the next part of it, the last part first; null where it does not go on. */
function withPart(before: LongName | null, slot: Buffer): LongName | null {
  const lead = slot.readUInt8(0);
  const checksum = slot.readUInt8(13);
  const isLast = (lead & LAST_PART) !== 0;
  const number = lead & ~LAST_PART;
  const expected = isLast ? number : before?.missing;
  if (number !== expected || number === 0 || (!isLast && before?.checksum !== checksum)) return null;
  if (slot.readUInt16LE(26) !== 0) return null;

  const units = PART_OFFSETS.map((offset) => slot.readUInt16LE(offset));
  const end = units.indexOf(0);
  // Only the last part may end early, and is filled up with 0xffff then.
  if (end >= 0 && (!isLast || units.slice(end + 1).some((unit) => unit !== 0xffff))) return null;
  const text = String.fromCharCode(...(end < 0 ? units : units.slice(0, end))) + (isLast ? '' : (before?.text ?? ''));
  if ((number - 1) * PART_UNITS + text.length > MAX_NAME_UNITS && isLast) return null;
  return { checksum, missing: number - 1, text };
}

/** Over the 11 bytes of the short name: rotate right by one bit, add. */
function checksumOf(slot: Buffer): number {
  return slot.subarray(0, 11).reduce((sum, byte) => (((sum & 1) << 7) + (sum >>> 1) + byte) & 0xff, 0);
}

function shortName(slot: Buffer): string {
  const flags = slot.readUInt8(12);
  const base = Buffer.from(slot.subarray(0, 8));
  if (base[0] === ESCAPED_E5) base[0] = DELETED;
  const stem = shortText(base, (flags & NT_SMALL_BASE) !== 0);
  const extension = shortText(slot.subarray(8, 11), (flags & NT_SMALL_EXTENSION) !== 0);
  return extension === '' ? stem : `${stem}.${extension}`;
}

/** Spaces are filling wherever they stand. */
function shortText(bytes: Buffer, isSmall: boolean): string {
  const text = [...bytes.filter((byte) => byte !== 0x20)]
    .map((byte) => (byte < 0x80 ? String.fromCharCode(byte) : CODE_PAGE_437.charAt(byte - 0x80)))
    .join('');
  return isSmall ? text.replace(/[A-Z]/g, (letter) => letter.toLowerCase()) : text;
}
