/**
 * The settings in an NVS partition of ESP-IDF (and of the ESP8266 RTOS SDK, which took nvs_flash over): namespaces, keys,
 * values, as the board would read them. Pure, and never throws: damage comes back as problems, and what is sound is given.
 *
 * What counts when items contradict each other follows `PageManager::load` and `Storage::init` of
 * https://github.com/espressif/esp-idf/blob/102122904ade11fd1ae373848f34ffd7dfb18aeb/components/nvs_flash/src/nvs_pagemanager.cpp
 * https://github.com/espressif/esp-idf/blob/102122904ade11fd1ae373848f34ffd7dfb18aeb/components/nvs_flash/src/nvs_storage.cpp
 */

import { printable } from '../printable.ts';

import { BlobChunks } from './nvs-blobs.ts';
import {
  isBlank,
  isInUse,
  PAGE_BYTES,
  readPageHeader,
  readPageItems,
  textOf,
  TYPE_BLOB,
  TYPE_BLOB_DATA,
  TYPE_BLOB_INDEX,
  TYPE_STRING,
  TYPE_U8,
  type NvsItem,
  type NvsPageHeader,
} from './nvs-page.ts';
import { Problems } from './problems.ts';

export interface NvsEntry {
  /** At most 15 bytes. Raw, as the key is: both must pass `printable` before anybody sees them. */
  readonly namespace: string;
  readonly key: string;
  readonly type: 'u8' | 'i8' | 'u16' | 'i16' | 'u32' | 'i32' | 'u64' | 'i64' | 'float' | 'double' | 'str' | 'blob';
  /**
   * Integers are bigints, blobs bytes, strings text without the NUL at the end, raw. A `float` or `double` is its decimal
   * text (`0.5`).
   */
  readonly value: bigint | string | Uint8Array;
}

export interface NvsReading {
  /** `encrypted`: ESP-IDF's NVS encryption, so there are no entries to read. `unknown`: no page of NVS is in it. */
  readonly kind: 'plain' | 'blank' | 'encrypted' | 'unknown';
  /**
   * By namespace, then key, then type, by code unit. A key may stand there twice with different types: some boards store it
   * so (CONFIG_NVS_LEGACY_DUP_KEYS_COMPATIBILITY).
   */
  readonly entries: readonly NvsEntry[];
  /** Sentence fragments, already printable. Where there are any, entries may be missing. */
  readonly problems: readonly string[];
  /** Sentence fragments that say by what the kind is known; empty unless it is `encrypted`. */
  readonly evidence: readonly string[];
}

/** Bounds the memory for a hostile partition of 64 MiB; as many fill one of 8 MiB, and boards have some ten KiB. */
const MAX_ITEMS = 250_000;

/** @param partition a whole NVS partition; a size that is no multiple of 4096 bytes is a problem */
export function readNvs(partition: Uint8Array): NvsReading {
  const bytes = Buffer.from(partition.buffer, partition.byteOffset, partition.length);
  const nothing = { entries: [], problems: [], evidence: [] };
  if (bytes.length > 0 && isBlank(bytes)) return { kind: 'blank', ...nothing };

  const problems = new Problems();
  const pages: NumberedPage[] = [];
  for (let at = 0; at + PAGE_BYTES <= bytes.length; at += PAGE_BYTES) {
    const header = readPageHeader(bytes.subarray(at, at + PAGE_BYTES), pages.length);
    pages.push({ ...header, number: pages.length });
    if (header.problem !== null) problems.add(header.problem);
  }
  const rest = bytes.length % PAGE_BYTES;
  if (rest !== 0) problems.add(`the last ${rest} bytes are no whole page`);

  const inUse = pages.filter(isInUse);
  const isNvs = inUse.length > 0 || pages.some(({ state }) => state === 'corrupt');
  if (!isNvs) return { kind: 'unknown', ...nothing, problems: problems.list() };
  const evidence = evidenceOfEncryption(bytes, inUse);
  if (evidence !== null) return { kind: 'encrypted', ...nothing, problems: problems.list(), evidence };
  const entries = entriesOf(bytes, inUse, problems);
  return { kind: 'plain', entries, problems: problems.list(), evidence: [] };
}

interface NumberedPage extends NvsPageHeader {
  readonly number: number;
}

function itemsOf(bytes: Buffer, { number }: NumberedPage) {
  return readPageItems(bytes.subarray(number * PAGE_BYTES, (number + 1) * PAGE_BYTES), number);
}

/** Enough to know random bytes by. */
const PAGES_OF_EVIDENCE = 64;

/**
 * NVS encryption is XTS-AES over each slot of 32 bytes; page header and bitmap stay plain, and erased slots are zeroed.
 * In plain slots many bytes are 0x00 or 0xff (the rest of the key, of the value, the chunk number), in random ones two of
 * 256, a quarter of a byte in each: the border is eight times that.
 * https://github.com/espressif/esp-idf/blob/102122904ade11fd1ae373848f34ffd7dfb18aeb/components/nvs_flash/src/nvs_encrypted_partition.cpp
 */
function evidenceOfEncryption(bytes: Buffer, inUse: readonly NumberedPage[]): string[] | null {
  let slots = 0;
  let flatBytes = 0;
  for (const page of inUse.slice(0, PAGES_OF_EVIDENCE)) {
    const found = itemsOf(bytes, page);
    if (found.items.length > 0) return null;
    slots += found.writtenSlots;
    flatBytes += found.flatBytes;
  }
  if (slots === 0 || flatBytes > 2 * slots) return null;
  return [
    `the headers of ${inUse.length} pages are plain and sound`,
    `none of the ${slots} written entries has a sound checksum`,
    'what is written in them looks random',
  ];
}

function entriesOf(bytes: Buffer, inUse: readonly NumberedPage[], problems: Problems): NvsEntry[] {
  const namespaces = new Namespaces();
  const values = new Map<string, { readonly order: number; readonly namespaceIndex: number; readonly entry: Named }>();
  const blobs = new BlobChunks();
  const keep = (namespaceIndex: number, order: number, entry: Named) => {
    const id = `${entry.type} ${namespaceIndex} ${entry.key}`;
    if (order >= (values.get(id)?.order ?? 0)) values.set(id, { order, namespaceIndex, entry });
  };

  // Oldest first: a power cut between the new value and the erasing of the old one leaves both, and the new one counts.
  const inOrder = [...inUse].sort((a, b) => a.sequence - b.sequence);
  let order = 0;
  for (const page of inOrder) {
    const { items, problems: ofSlots } = itemsOf(bytes, page);
    for (const text of ofSlots) problems.add(text);
    for (const item of items) {
      order += 1;
      if (item.namespaceIndex === 0 && item.type === TYPE_U8) namespaces.add(item.value.readUInt8(0), item.key);
      else if (item.type === TYPE_BLOB_DATA) blobs.addChunk(item);
      else if (item.type === TYPE_BLOB_INDEX) blobs.addIndex(item, order);
      else keep(item.namespaceIndex, order, { key: item.key, ...valueOf(item) });
    }
    if (order > MAX_ITEMS) {
      problems.add(`espd has stopped after ${order} items, at page ${page.number}`);
      break;
    }
  }
  for (const blob of blobs.whole(problems)) {
    keep(blob.namespaceIndex, blob.order, { key: blob.key, type: 'blob', value: blob.value });
  }

  const entries: NvsEntry[] = [];
  for (const { namespaceIndex, entry } of values.values()) {
    const { name, problem } = namespaces.nameOf(namespaceIndex);
    if (problem === null) entries.push({ namespace: name, ...entry });
    else problems.add(`"${printable(entry.key)}" is in namespace number ${namespaceIndex}, ${problem}`);
  }
  return entries.sort((a, b) => compare(a.namespace, b.namespace) || compare(a.key, b.key) || compare(a.type, b.type));
}

type Named = Omit<NvsEntry, 'namespace'>;

/** The numbers of namespaces. Of several with one name a board opens the first (`Storage::createOrOpenNamespace`). */
class Namespaces {
  readonly #names = new Map<number, string>();
  readonly #numbers = new Map<string, number>();

  add(number: number, name: string): void {
    this.#names.set(number, name);
    if (!this.#numbers.has(name)) this.#numbers.set(name, number);
  }

  nameOf(number: number): { readonly name: string; readonly problem: string | null } {
    const name = this.#names.get(number);
    if (name === undefined) return { name: '', problem: 'which has no name' };
    const first = this.#numbers.get(name);
    if (first === number) return { name, problem: null };
    return { name, problem: `whose name "${printable(name)}" boards look up as number ${first ?? 0}` };
  }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** `nvs_type_t` of include/nvs.h: of integers the low half is the width in bytes, the high one the sign. */
function valueOf({ type, value }: NvsItem): Pick<NvsEntry, 'type' | 'value'> {
  switch (type) {
    case TYPE_U8:
      return { type: 'u8', value: BigInt(value.readUInt8(0)) };
    case 0x11:
      return { type: 'i8', value: BigInt(value.readInt8(0)) };
    case 0x02:
      return { type: 'u16', value: BigInt(value.readUInt16LE(0)) };
    case 0x12:
      return { type: 'i16', value: BigInt(value.readInt16LE(0)) };
    case 0x04:
      return { type: 'u32', value: BigInt(value.readUInt32LE(0)) };
    case 0x14:
      return { type: 'i32', value: BigInt(value.readInt32LE(0)) };
    case 0x08:
      return { type: 'u64', value: value.readBigUInt64LE(0) };
    case 0x18:
      return { type: 'i64', value: value.readBigInt64LE(0) };
    case 0x24:
      return { type: 'float', value: String(value.readFloatLE(0)) };
    case 0x28:
      return { type: 'double', value: String(value.readDoubleLE(0)) };
    case TYPE_STRING:
      return { type: 'str', value: textOf(value.at(-1) === 0 ? value.subarray(0, -1) : value) };
    case TYPE_BLOB:
    default:
      return { type: 'blob', value };
  }
}
