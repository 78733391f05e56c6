/**
 * Pages of NVS for tests, written from ESP-IDF's documentation alone: shares no code with src/firmware.
 * https://docs.espressif.com/projects/esp-idf/en/v5.5/esp32/api-reference/storage/nvs_flash.html#internals
 */

import fs from 'node:fs';
import zlib from 'node:zlib';

export const ACTIVE = 0xfffffffe;
export const FULL = 0xfffffffc;
export const FREEING = 0xfffffff8;
export const CORRUPT = 0xfffffff0;

export type SlotState = 'written' | 'erased' | 'empty' | 'illegal';
const BITS: Readonly<Record<SlotState, number>> = { empty: 3, written: 2, erased: 0, illegal: 1 };

export interface Slot {
  readonly state: SlotState;
  readonly bytes: Buffer;
}

/** The CRC of the ROM, which begins with all ones in zlib's way of counting. */
export function crc(bytes: Buffer): number {
  return zlib.crc32(bytes, 0xffffffff);
}

export interface ItemOptions {
  readonly state?: SlotState;
  /** Of the slots behind the first one. */
  readonly dataState?: SlotState;
  readonly chunk?: number;
  readonly span?: number;
  readonly itemCrc?: number;
  readonly valueCrc?: number;
}

/** An item of 8 bytes: numbers, blob indexes, namespaces. */
export function number(namespace: number, type: number, key: string, data: Buffer, options: ItemOptions = {}): Slot[] {
  const value = Buffer.alloc(8, 0xff);
  data.copy(value);
  return [{ state: options.state ?? 'written', bytes: header(namespace, type, key, 1, value, options) }];
}

/** An item with bytes behind it: strings, blobs and chunks. */
export function bytes(namespace: number, type: number, key: string, data: Buffer, options: ItemOptions = {}): Slot[] {
  const count = Math.ceil(data.length / 32);
  const value = Buffer.alloc(8, 0xff);
  value.writeUInt16LE(data.length);
  value.writeUInt32LE(options.valueCrc ?? crc(data), 4);
  const slots: Slot[] = [
    { state: options.state ?? 'written', bytes: header(namespace, type, key, 1 + count, value, options) },
  ];
  for (let at = 0; at < data.length; at += 32) {
    const slot = Buffer.alloc(32, 0xff);
    data.copy(slot, 0, at, at + 32);
    slots.push({ state: options.dataState ?? options.state ?? 'written', bytes: slot });
  }
  return slots;
}

function header(
  namespace: number,
  type: number,
  key: string,
  span: number,
  value: Buffer,
  options: ItemOptions,
): Buffer {
  const slot = Buffer.alloc(32);
  slot.set([namespace, type, options.span ?? span, options.chunk ?? 0xff]);
  slot.write(key, 8, 16, 'latin1');
  value.copy(slot, 24);
  slot.writeUInt32LE(options.itemCrc ?? crc(Buffer.concat([slot.subarray(0, 4), slot.subarray(8)])), 4);
  return slot;
}

export const namespace = (index: number, name: string) => number(0, 0x01, name, Buffer.from([index]));
export const u8 = (ns: number, key: string, value: number, options?: ItemOptions) =>
  number(ns, 0x01, key, Buffer.from([value]), options);
export const string = (ns: number, key: string, value: string, options?: ItemOptions) =>
  bytes(ns, 0x21, key, Buffer.from(`${value}\0`), options);
export const chunk = (ns: number, key: string, index: number, data: Buffer, options?: ItemOptions) =>
  bytes(ns, 0x42, key, data, { ...options, chunk: index });
export function blobIndex(ns: number, key: string, size: number, count: number, start: number): Slot[] {
  return number(ns, 0x48, key, Buffer.from([size & 0xff, size >>> 8, 0, 0, count, start, 0xff, 0xff]));
}

export interface PageOptions {
  readonly state?: number;
  readonly sequence?: number;
  readonly version?: number;
  readonly headerCrc?: number;
}

export function page(slots: readonly Slot[], options: PageOptions = {}): Buffer {
  const out = Buffer.alloc(4096, 0xff);
  out.writeUInt32LE(options.state ?? ACTIVE);
  out.writeUInt32LE(options.sequence ?? 0, 4);
  out.writeUInt8(options.version ?? 0xfe, 8);
  out.writeUInt32LE(options.headerCrc ?? crc(out.subarray(4, 28)), 28);
  slots.forEach(({ state, bytes }, index) => {
    bytes.copy(out, 64 + index * 32);
    const at = 32 + Math.floor(index / 4);
    const shift = (index % 4) * 2;
    out[at] = (out[at]! & ~(3 << shift)) | (BITS[state] << shift);
  });
  return out;
}

/** An image of {@link file://./fixtures/README.md}, unpacked. */
export function fixture(name: string): Buffer {
  let data: Buffer = fs.readFileSync(new URL(`fixtures/${name}`, import.meta.url));
  for (let rest = name; rest.endsWith('.gz'); rest = rest.slice(0, -3)) data = zlib.gunzipSync(data);
  return data;
}
