/**
 * One page of ESP-IDF's NVS: header, entry state bitmap, and the items in its 126 slots. What several pages mean together
 * is for nvs.ts to say.
 *
 * Layout: "Internals" of
 * https://github.com/espressif/esp-idf/blob/102122904ade11fd1ae373848f34ffd7dfb18aeb/docs/en/api-reference/storage/nvs_flash.rst
 * Which items count, and which are passed over: `Page::mLoadEntryTable` and `Item::checkHeaderConsistency` of
 * https://github.com/espressif/esp-idf/blob/102122904ade11fd1ae373848f34ffd7dfb18aeb/components/nvs_flash/src/nvs_page.cpp
 * https://github.com/espressif/esp-idf/blob/102122904ade11fd1ae373848f34ffd7dfb18aeb/components/nvs_flash/src/nvs_types.cpp
 * The constants: private_include/nvs_constants.h, include/nvs_handle.hpp (`ItemType`) and include/nvs.h of the same commit.
 */

import { crc32 } from 'node:zlib';
import { SECTOR_BYTES } from '../flash.ts';
import { printable } from '../printable.ts';

import { hex } from './bytes.ts';
import { Problems } from './problems.ts';

/** NVS_CONST_PAGE_SIZE: a page is a sector of flash. */
export const PAGE_BYTES = SECTOR_BYTES;

const SLOT_BYTES = 32;
const SLOTS = 126;
const BITMAP_OFFSET = 32;
const SLOTS_OFFSET = 64;
/** The CRC of a page header covers sequence number, version and the reserved bytes, not the state. */
const HEADER_CRC_OFFSET = 28;
const KEY_OFFSET = 8;
const KEY_BYTES = 16;
const VALUE_OFFSET = 24;
const ALL_ONES = 0xffffffff;

const VERSION_1 = 0xff;
/** Since ESP-IDF 3.2: blobs may span pages. */
const VERSION_2 = 0xfe;

/** Bits are only ever cleared, so each state is the one before it with one bit less. */
const STATES: ReadonlyMap<number, NvsPageHeader['state']> = new Map([
  [0xfffffffe, 'active'],
  [0xfffffffc, 'full'],
  [0xfffffff8, 'freeing'],
  [0xfffffff0, 'corrupt'],
]);

/** Two bits a slot, the lowest two for the first one. */
const SLOT_EMPTY = 0b11;
const SLOT_WRITTEN = 0b10;
const SLOT_ERASED = 0b00;

export const TYPE_U8 = 0x01;
export const TYPE_STRING = 0x21;
/** A whole blob in one page: version 1. */
export const TYPE_BLOB = 0x41;
/** One chunk of a blob, and the item that says how many there are: version 2. */
export const TYPE_BLOB_DATA = 0x42;
export const TYPE_BLOB_INDEX = 0x48;
/** Of items that are no chunk. */
export const CHUNK_ANY = 0xff;

const NUMBER_TYPES: ReadonlySet<number> = new Set([0x01, 0x11, 0x02, 0x12, 0x04, 0x14, 0x08, 0x18, 0x24, 0x28]);
const BYTES_TYPES: ReadonlySet<number> = new Set([TYPE_STRING, TYPE_BLOB, TYPE_BLOB_DATA]);

/** An item whose checksums are right. */
export interface NvsItem {
  /** 0 for an item that gives a namespace its number. */
  readonly namespaceIndex: number;
  readonly type: number;
  readonly key: string;
  readonly chunkIndex: number;
  /** The 8 bytes of a number or a blob index; for strings, blobs and chunks what was stored, of any length. */
  readonly value: Buffer;
}

export interface NvsPageHeader {
  /** `torn`: neither blank nor with a sound header; the board takes it for `corrupt`. `newer`: of an unknown version. */
  readonly state: 'blank' | 'active' | 'full' | 'freeing' | 'corrupt' | 'torn' | 'newer';
  /** Of two pages the higher one was begun later. */
  readonly sequence: number;
  /** What is wrong with the page as a whole, with its offset in the partition. */
  readonly problem: string | null;
}

export interface NvsPageItems {
  /** In the order in which they were written. */
  readonly items: readonly NvsItem[];
  /** How many slots are marked as written, and how many of their bytes are 0x00 or 0xff. */
  readonly writtenSlots: number;
  readonly flatBytes: number;
  /** What is wrong with its slots, with their offsets in the partition; at most {@link MAX_SLOT_PROBLEMS} and one. */
  readonly problems: readonly string[];
}

const MAX_SLOT_PROBLEMS = 8;

/** Whether the board reads the items of this page. */
export function isInUse({ state }: NvsPageHeader): boolean {
  return state === 'active' || state === 'full' || state === 'freeing';
}

/**
 * @param bytes the {@link PAGE_BYTES} of one page
 * @param number of the page in its partition, from 0
 */
export function readPageHeader(bytes: Buffer, number: number): NvsPageHeader {
  const title = titleOf(number);
  if (isBlank(bytes)) return { state: 'blank', sequence: 0, problem: null };
  if (crc32(bytes.subarray(4, HEADER_CRC_OFFSET), ALL_ONES) !== bytes.readUInt32LE(HEADER_CRC_OFFSET)) {
    return { state: 'torn', sequence: 0, problem: `${title} has no sound header` };
  }
  const sequence = bytes.readUInt32LE(4);
  const version = bytes.readUInt8(8);
  if (version !== VERSION_1 && version !== VERSION_2) {
    const problem = `${title} is of format version ${hex(version)}, which espd does not know`;
    return { state: 'newer', sequence, problem };
  }
  const word = bytes.readUInt32LE(0);
  const state = STATES.get(word);
  if (state !== undefined && state !== 'corrupt') return { state, sequence, problem: null };
  const problem = `${title} is marked as corrupt (${hex(word)}): the board does not use what is in it`;
  return { state: 'corrupt', sequence, problem };
}

function titleOf(number: number): string {
  return `page ${number} at ${hex(number * PAGE_BYTES)}`;
}

export function isBlank(bytes: Buffer): boolean {
  // Faster than `every`, and this looks at each byte of a partition.
  for (let at = 0; at < bytes.length; at += 1) if (bytes[at] !== 0xff) return false;
  return true;
}

/** What is in a page {@link isInUse}; parameters as for {@link readPageHeader}. */
export function readPageItems(page: Buffer, number: number): NvsPageItems {
  const title = titleOf(number);
  const pageOffset = number * PAGE_BYTES;
  const items: NvsItem[] = [];
  const problems = new Problems(MAX_SLOT_PROBLEMS);
  let writtenSlots = 0;
  let flatBytes = 0;
  // Behind a broken item stand the slots of its value, which are no items either: they are told together.
  let run: { fault: string; first: number } | null = null;
  const placeOf = (slot: number) => hex(pageOffset + offsetOfSlot(slot));

  for (let slot = 0; slot < SLOTS;) {
    const item = stateOfSlot(page, slot) === SLOT_WRITTEN ? readItem(page, slot) : null;
    const end = slot + (item?.span ?? 1);
    const fault = item === null ? faultOfSlot(page, slot) : null;
    if (run !== null && run.fault !== fault) {
      problems.add(`${title}: ${run.fault} from ${placeOf(run.first)} to ${hex(pageOffset + offsetOfSlot(slot) - 1)}`);
      run = null;
    }
    if (fault !== null) run ??= { fault, first: slot };
    if (item !== null && item.problem === null) items.push(item);
    if (item !== null && item.problem !== null) {
      problems.add(`${title}: the value of "${printable(item.key)}" at ${placeOf(slot)} ${item.problem}`);
    }
    for (; slot < end; slot += 1) {
      if (stateOfSlot(page, slot) !== SLOT_WRITTEN) continue;
      writtenSlots += 1;
      for (let at = offsetOfSlot(slot); at < offsetOfSlot(slot + 1); at += 1) {
        if (page[at] === 0 || page[at] === 0xff) flatBytes += 1;
      }
    }
  }
  if (run !== null)
    problems.add(`${title}: ${run.fault} from ${placeOf(run.first)} to ${hex(pageOffset + PAGE_BYTES - 1)}`);
  return { items, writtenSlots, flatBytes, problems: problems.list() };
}

/** What is wrong with a slot in which no item begins; null for one that was erased or is still empty. */
function faultOfSlot(page: Buffer, slot: number): string | null {
  switch (stateOfSlot(page, slot)) {
    case SLOT_WRITTEN:
      return 'no sound checksum';
    case SLOT_EMPTY:
      // The slot is written first and marked after that.
      return isBlank(slotOf(page, slot)) ? null : 'a write that was cut off';
    case SLOT_ERASED:
      return null;
    default:
      return 'a state that no board writes';
  }
}

function slotOf(page: Buffer, slot: number): Buffer {
  return page.subarray(offsetOfSlot(slot), offsetOfSlot(slot + 1));
}

function offsetOfSlot(slot: number): number {
  return SLOTS_OFFSET + slot * SLOT_BYTES;
}

function stateOfSlot(page: Buffer, slot: number): number {
  return (page.readUInt8(BITMAP_OFFSET + (slot >>> 2)) >>> ((slot & 3) * 2)) & 0b11;
}

interface SlottedItem extends NvsItem {
  /** How many slots it takes, from 1; never beyond the page. */
  readonly span: number;
  /** What is wrong with the value; the item itself is sound. */
  readonly problem: string | null;
}

/** The item that begins in `slot`, or null where the board would not take it for one. */
function readItem(page: Buffer, slot: number): SlottedItem | null {
  const bytes = slotOf(page, slot);
  const sum = crc32(bytes.subarray(KEY_OFFSET), crc32(bytes.subarray(0, 4), ALL_ONES));
  if (sum !== bytes.readUInt32LE(4)) return null;
  const type = bytes.readUInt8(1);
  const span = bytes.readUInt8(2);
  const chunkIndex = bytes.readUInt8(3);
  const head = { namespaceIndex: bytes.readUInt8(0), type, key: keyIn(bytes), chunkIndex, span };

  if (NUMBER_TYPES.has(type) || (type === TYPE_BLOB_INDEX && chunkIndex === CHUNK_ANY)) {
    return span === 1 ? { ...head, value: bytes.subarray(VALUE_OFFSET), problem: null } : null;
  }
  if (!BYTES_TYPES.has(type) || (type === TYPE_BLOB_DATA && chunkIndex === CHUNK_ANY)) return null;

  const length = bytes.readUInt16LE(VALUE_OFFSET);
  if (span !== 1 + Math.ceil(length / SLOT_BYTES) || slot + span > SLOTS) return null;
  const value = page.subarray(offsetOfSlot(slot + 1), offsetOfSlot(slot + 1) + length);
  return { ...head, value, problem: problemOfValue(page, slot, span, value, bytes.readUInt32LE(VALUE_OFFSET + 4)) };
}

function problemOfValue(page: Buffer, slot: number, span: number, value: Buffer, sum: number): string | null {
  for (let next = slot + 1; next < slot + span; next += 1) {
    if (stateOfSlot(page, next) !== SLOT_WRITTEN) return 'was not written to the end';
  }
  return crc32(value, ALL_ONES) === sum ? null : 'has a wrong checksum';
}

/** At most 15 bytes; boards end a key that fills its field there, too (`Item::getKey`). */
function keyIn(slot: Buffer): string {
  const field = slot.subarray(KEY_OFFSET, KEY_OFFSET + KEY_BYTES - 1);
  const end = field.indexOf(0);
  return textOf(end < 0 ? field : field.subarray(0, end));
}

const UTF_8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * UTF-8. Of bytes that are none, each one above 0x7f becomes a lone surrogate (0xdc00 + byte), which UTF-8 never gives:
 * different bytes are always different texts.
 */
export function textOf(bytes: Buffer): string {
  const text = bytes.toString('latin1');
  if (!/[\x80-\xff]/.test(text)) return text;
  try {
    return UTF_8.decode(bytes);
  } catch {
    return text.replace(/[\x80-\xff]/g, (byte) => String.fromCharCode(0xdc00 + byte.charCodeAt(0)));
  }
}
