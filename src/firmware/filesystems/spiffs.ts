/**
 * Files of a SPIFFS partition, of any configuration with 16-bit numbers: those of ESP-IDF, of both Arduino cores and of
 * NodeMCU are such. It has no folders; names with `/` are only names.
 *
 * SPIFFS has no checksums. What can be checked is checked as SPIFFS does it: that each page belongs where the index says.
 * https://github.com/pellepl/spiffs/blob/0b2e1290110b7bcc4e56c7141b6ca49f830a5fcf/src/spiffs_nucleus.c is the source.
 */

import { printable } from '../../printable.ts';
import type { FileSystemReading } from './filesystem.ts';
import { ReadingBuilder, decodeName, unreadable } from './reading.ts';
import { findSpiffsGeometry, type FoundGeometry } from './spiffs-geometry.ts';
import {
  findIndexLayout,
  furtherEntries,
  headerEntries,
  readFileHeader,
  type FileHeader,
  type IndexLayout,
} from './spiffs-index.ts';
import { PAGE_HEADER_BYTES, SpiffsPages, objectOf, pageSays, type SpiffsPage } from './spiffs-pages.ts';

/** Power loss leaves two copies of an index page at most. */
const MAX_COPIES = 4;

/** Reads a partition as SPIFFS; undefined if nothing says that it is one, or if a file system without magics is empty. */
export function readSpiffs(partition: Uint8Array): FileSystemReading | undefined {
  const bytes = Buffer.from(partition.buffer, partition.byteOffset, partition.byteLength);
  const geometry = findSpiffsGeometry(bytes);
  if (geometry === undefined) return undefined;
  const builder = new ReadingBuilder('spiffs');
  const pages = new SpiffsPages(bytes, geometry);
  const found = sortPages(pages, builder);

  const headers = [...found.objects].flatMap(([object, { indexes }]) =>
    (indexes.get(0) ?? []).map((index) => ({ index, object })),
  );
  const layout = findIndexLayout(pages, headers);
  let orphans = 0;
  for (const [object, parts] of found.objects) {
    if (parts.indexes.has(0)) {
      for (const page of addFile(new SpiffsFile(pages, layout, object, parts), builder)) {
        found.liveBlocks.add(pages.blockOf(page));
      }
    }
    // SPIFFS writes the header first and deletes it last; of one that is being deleted, anything may be left.
    else if (!parts.isDying) orphans += parts.dataPages;
  }
  reportBlocks(geometry, found.liveBlocks, builder);
  if (orphans > 0) {
    builder.problem(
      `${orphans} pages of content have no file: a header is damaged, or the board once ran out of power or space`,
    );
  }
  return builder.build();
}

/** What there is of one object. */
interface Parts {
  /** Index pages by span; the first copies only, in the order of the flash. */
  readonly indexes: Map<number, number[]>;
  dataPages: number;
  isDying: boolean;
}

interface Found {
  readonly objects: ReadonlyMap<number, Parts>;
  /** Blocks that have a page in use. */
  readonly liveBlocks: Set<number>;
}

function sortPages(pages: SpiffsPages, builder: ReadingBuilder): Found {
  const objects = new Map<number, Parts>();
  const liveBlocks = new Set<number>();
  for (const page of pages.all()) {
    const says = pageSays(page);
    if (says === 'contradiction') {
      builder.problem(`page ${page.index} is of another file than its lookup table says`);
      continue;
    }
    if (says === 'free' || says === 'nothing') continue;
    liveBlocks.add(pages.blockOf(page.index));
    const parts = partsOf(objects, page);
    if (says === 'data') parts.dataPages++;
    else if (says === 'dying index') parts.isDying = true;
    else {
      const copies = parts.indexes.get(page.span) ?? [];
      if (copies.length < MAX_COPIES) copies.push(page.index);
      parts.indexes.set(page.span, copies);
    }
  }
  return { objects, liveBlocks };
}

function partsOf(objects: Map<number, Parts>, page: SpiffsPage): Parts {
  const object = objectOf(page.lookupId);
  let parts = objects.get(object);
  if (parts === undefined) {
    parts = { indexes: new Map(), dataPages: 0, isDying: false };
    objects.set(object, parts);
  }
  return parts;
}

function reportBlocks(geometry: FoundGeometry, liveBlocks: ReadonlySet<number>, builder: ReadingBuilder): void {
  const { blockBytes, blockCount, statedBlockCount, withoutMagic } = geometry;
  if (statedBlockCount > blockCount) {
    builder.problem(`SPIFFS has ${statedBlockCount} blocks of ${blockBytes} bytes, but only ${blockCount} are here`);
  }
  // One block may have lost power while it was erased. SPIFFS erases it again: what is still in it would be gone.
  const [only] = withoutMagic;
  const isInterruptedErase = withoutMagic.length === 1 && only !== undefined && !liveBlocks.has(only);
  if (withoutMagic.length === 0 || isInterruptedErase) return;
  const shown = withoutMagic.length > 8 ? `${withoutMagic.length} blocks` : `block ${withoutMagic.join(', ')}`;
  builder.problem(`the magic of ${shown} is missing`);
}

/** The pages of a file in the order of its content, or one sentence fragment. */
type PageList =
  { readonly pages: readonly number[]; readonly problem: null } | { readonly pages: null; readonly problem: string };

/** One copy of a file's header, with the content that it leads to. */
interface Version {
  readonly header: FileHeader;
  readonly list: PageList;
}

class SpiffsFile {
  readonly parts: Parts;
  readonly #pages: SpiffsPages;
  readonly #layout: IndexLayout;
  readonly #object: number;

  constructor(pages: SpiffsPages, layout: IndexLayout, object: number, parts: Parts) {
    this.#pages = pages;
    this.#layout = layout;
    this.#object = object;
    this.parts = parts;
  }

  /** By the copies of the header: one, or two when power was lost between writing the new and deleting the old one. */
  versions(): Version[] {
    return (this.parts.indexes.get(0) ?? []).map((index) => {
      const header = readFileHeader(this.#pages.bytes(index), this.#layout);
      return { header, list: this.#follow(index, header.sizeBytes) };
    });
  }

  read(list: readonly number[], sizeBytes: number): Uint8Array {
    const content = new Uint8Array(sizeBytes);
    for (const [span, index] of list.entries()) {
      const start = span * this.#pages.dataBytes;
      content.set(
        this.#pages
          .bytes(index)
          .subarray(PAGE_HEADER_BYTES)
          .subarray(0, sizeBytes - start),
        start,
      );
    }
    return content;
  }

  #follow(headerPage: number, sizeBytes: number): PageList {
    const { pageBytes, dataBytes, count } = this.#pages;
    const needed = Math.ceil(sizeBytes / dataBytes);
    if (needed > count) return missing(`it claims ${sizeBytes} bytes, more than the file system has`);
    const perHeader = headerEntries(pageBytes, this.#layout);
    const perFurther = furtherEntries(pageBytes, this.#layout);
    const list: number[] = [];
    for (let indexSpan = 0; list.length < needed; indexSpan++) {
      const entries = Math.min(needed - list.length, indexSpan === 0 ? perHeader : perFurther);
      const offset = indexSpan === 0 ? this.#layout.tableOffset : this.#layout.headerBytes;
      const copies = indexSpan === 0 ? [headerPage] : (this.parts.indexes.get(indexSpan) ?? []);
      const tables = copies.map((index) => this.#table(index, offset, entries));
      const table = tables.find((pages) => this.#firstWrong(pages, list.length) === -1);
      if (table !== undefined) list.push(...table);
      else if (tables[0] === undefined) return missing(`its index page ${indexSpan} is missing`);
      else {
        const wrong = list.length + this.#firstWrong(tables[0], list.length);
        return missing(`page ${wrong} of ${needed} of its content is missing`);
      }
    }
    return { pages: list, problem: null };
  }

  #table(index: number, offset: number, entries: number): number[] {
    const page = this.#pages.bytes(index);
    return Array.from({ length: entries }, (_, entry) => page.readUInt16LE(offset + entry * 2));
  }

  #firstWrong(table: readonly number[], firstSpan: number): number {
    return table.findIndex((index, entry) => !this.#pages.isDataOf(index, this.#object, firstSpan + entry));
  }
}

/**
 * Adds a file, and gives the pages of its content. Pages that its header does not lead to are no problem: they remain when power is lost or the
 * file system is full while a file grows, and SPIFFS does not show them either.
 */
function addFile(file: SpiffsFile, builder: ReadingBuilder): readonly number[] {
  const versions = file.versions();
  const version = versions.find(({ list }) => list.problem === null) ?? versions[0];
  if (version === undefined) return [];
  const { header, list } = version;
  const name = decodeName(header.name);
  if (name === '' || name === '/') {
    builder.problem('a file without a name');
    return [];
  }
  const path = name.startsWith('/') ? name : `/${name}`;
  if (list.problem !== null) {
    builder.problem(`${printable(path)} cannot be read: ${list.problem}`);
    builder.file(path, header.sizeBytes, () => unreadable(list.problem));
    return [];
  }
  builder.file(path, header.sizeBytes, () => ({ bytes: file.read(list.pages, header.sizeBytes), problem: null }));
  if (versions.some((other) => other.list.problem === null && !isSameVersion(other, version))) {
    builder.problem(
      `there are two versions of ${printable(path)}, and nothing says which is newer; the first is shown`,
    );
  }
  return list.pages;
}

function isSameVersion(one: Version, other: Version): boolean {
  return (
    one.header.sizeBytes === other.header.sizeBytes &&
    Buffer.compare(one.header.name, other.header.name) === 0 &&
    String(one.list.pages) === String(other.list.pages)
  );
}

function missing(problem: string): PageList {
  return { pages: null, problem };
}
