/**
 * The index pages of SPIFFS: name and size of a file, and the numbers of the pages that hold its content.
 *
 * https://github.com/pellepl/spiffs/blob/0b2e1290110b7bcc4e56c7141b6ca49f830a5fcf/src/spiffs_nucleus.h
 * (spiffs_page_object_ix_header, SPIFFS_OBJ_HDR_IX_LEN, SPIFFS_OBJ_IX_LEN) is the source of every number here.
 */

import type { SpiffsPages } from './spiffs-pages.ts';

/** Lengths that firmware was built with and that nothing on the flash tells. */
export interface IndexLayout {
  /** Where the size stands in the first index page of a file, and the table in the others. */
  readonly headerBytes: number;
  /** Where the table begins in the first index page: behind size, type, name and metadata. */
  readonly tableOffset: number;
}

/** The page header is padded to 8 bytes; until commit 15e5618 of August 2015 (release 0.3.3) it was padded to 6. */
const HEADER_BYTES = [8, 6];
/** SPIFFS_UNDEFINED_LEN: nothing was ever written, and SPIFFS says 0. */
const UNDEFINED_SIZE = 0xffffffff;
/**
 * The layouts of known firmware, tried first: names of 32 bytes with 4 bytes of metadata (ESP-IDF, Arduino on ESP32),
 * names of 32 bytes and a table at an even place (Arduino on ESP8266), and names of 32 bytes with nothing else; each of
 * the latter with the old header too.
 * https://github.com/espressif/esp-idf/blob/v5.4/components/spiffs/Kconfig
 * https://github.com/esp8266/Arduino/blob/3.1.2/cores/esp8266/spiffs/spiffs_config.h
 */
const KNOWN_LAYOUTS: readonly IndexLayout[] = [
  { headerBytes: 8, tableOffset: 49 },
  { headerBytes: 8, tableOffset: 46 },
  { headerBytes: 8, tableOffset: 45 },
  { headerBytes: 6, tableOffset: 44 },
  { headerBytes: 6, tableOffset: 43 },
];
/** Size of 4 bytes and type of 1; a name of one character and its end at least. */
const NAME_OFFSET = 5;
const MIN_NAME_BYTES = 2;
/** More files would not make the layout surer. */
const MAX_SAMPLES = 256;

/** What the first index page of a file says. */
export interface FileHeader {
  readonly sizeBytes: number;
  /** Up to its end; empty if there is none. */
  readonly name: Uint8Array;
}

export function readFileHeader(page: Buffer, layout: IndexLayout): FileHeader {
  const size = page.readUInt32LE(layout.headerBytes);
  const name = page.subarray(layout.headerBytes + NAME_OFFSET, layout.tableOffset);
  const end = name.indexOf(0);
  return { sizeBytes: size === UNDEFINED_SIZE ? 0 : size, name: end < 0 ? new Uint8Array() : name.subarray(0, end) };
}

/** How many page numbers the first index page of a file holds. */
export function headerEntries(pageBytes: number, layout: IndexLayout): number {
  return Math.floor((pageBytes - layout.tableOffset) / 2);
}

/** How many page numbers each further index page holds. */
export function furtherEntries(pageBytes: number, layout: IndexLayout): number {
  return Math.floor((pageBytes - layout.headerBytes) / 2);
}

/**
 * The layout in which the tables of most files point at pages that hold the content of that file.
 *
 * @param headers the first index pages of all files, with the object that each is of
 */
export function findIndexLayout(
  pages: SpiffsPages,
  headers: readonly { readonly index: number; readonly object: number }[],
): IndexLayout {
  const samples = headers.slice(0, MAX_SAMPLES);
  let best: IndexLayout = { headerBytes: 8, tableOffset: 49 };
  let most = 0;
  for (const layout of layouts(pages.pageBytes)) {
    const fitting = samples.filter(({ index, object }) => fits(pages, index, object, layout)).length;
    if (fitting > most) {
      most = fitting;
      best = layout;
    }
    if (most > 0 && most === samples.length) break;
  }
  return best;
}

function* layouts(pageBytes: number): Generator<IndexLayout> {
  yield* KNOWN_LAYOUTS;
  for (const headerBytes of HEADER_BYTES) {
    const first = headerBytes + NAME_OFFSET + MIN_NAME_BYTES;
    for (let tableOffset = first; tableOffset <= pageBytes - 2; tableOffset++) yield { headerBytes, tableOffset };
  }
}

/** Whether a file that is not empty has all pages of its first table. Empty ones prove nothing. */
function fits(pages: SpiffsPages, index: number, object: number, layout: IndexLayout): boolean {
  const page = pages.bytes(index);
  const { sizeBytes } = readFileHeader(page, layout);
  const needed = Math.ceil(sizeBytes / pages.dataBytes);
  if (needed === 0 || needed > pages.count) return false;
  const entries = Math.min(needed, headerEntries(pages.pageBytes, layout));
  for (let span = 0; span < entries; span++) {
    if (!pages.isDataOf(page.readUInt16LE(layout.tableOffset + span * 2), object, span)) return false;
  }
  return true;
}
