/**
 * The pages of a SPIFFS partition: what the lookup table of their block says about them, and what they say themselves.
 *
 * https://github.com/pellepl/spiffs/blob/0b2e1290110b7bcc4e56c7141b6ca49f830a5fcf/src/spiffs_nucleus.h ("SPIFFS layout",
 * spiffs_page_header, SPIFFS_PH_FLAG_*) is the source of every number here.
 */

/** Object id of a page that was never written (SPIFFS_OBJ_ID_FREE), and of one that is deleted (SPIFFS_OBJ_ID_DELETED). */
const FREE = 0xffff;
const DELETED = 0;
/** Set in the id of pages that index others (SPIFFS_OBJ_ID_IX_FLAG). */
const INDEX_ID = 0x8000;
/** Flags are active when 0. */
const FLAG = { used: 0x01, final: 0x02, index: 0x04, indexBeingDeleted: 0x40, deleted: 0x80 } as const;
/** spiffs_page_header: object id and span index of 16 bits each, and 8 flags. */
export const PAGE_HEADER_BYTES = 5;
/** Where names begin in a header page, of both layouts that there are: see spiffs-index.ts. */
const NAME_OFFSETS = [13, 11];
/** Control characters, and what is no UTF-8. */
const UNLIKELY = /[\p{Cc}\ufffd]/u;

export interface SpiffsPage {
  readonly index: number;
  /** In the lookup table. */
  readonly lookupId: number;
  /** In the page itself, like the rest. */
  readonly id: number;
  readonly span: number;
  readonly flags: number;
}

/**
 * What a page is, by its lookup table and by itself: an index or data in use, one that is about to be deleted, free,
 * nothing (deleted, or not finished), or a contradiction between both.
 */
export type PageVerdict = 'index' | 'dying index' | 'data' | 'free' | 'nothing' | 'contradiction';

export function pageSays({ lookupId, id, flags }: SpiffsPage): PageVerdict {
  if (lookupId === FREE) return 'free';
  if (lookupId === DELETED) return 'nothing';
  const isFinished = (flags & (FLAG.used | FLAG.final)) === 0;
  // The table is written before the page, and the page's deletion after the table's: power loss leaves both.
  if (!isFinished || (flags & FLAG.deleted) === 0) return 'nothing';
  const isIndex = (flags & FLAG.index) === 0;
  if (objectOf(id) !== objectOf(lookupId) || isIndex !== (lookupId & INDEX_ID) > 0) return 'contradiction';
  if (!isIndex) return 'data';
  return (flags & FLAG.indexBeingDeleted) === 0 ? 'dying index' : 'index';
}

/** The number of the object (a file), without the mark of index pages. */
export function objectOf(id: number): number {
  return id & ~INDEX_ID;
}

/** Pages at the start of each block that hold its lookup table of 16 bits a page (SPIFFS_OBJ_LOOKUP_PAGES). */
export function lookupPages(pageBytes: number, blockBytes: number): number {
  return Math.max(1, Math.floor(((blockBytes / pageBytes) * 2) / pageBytes));
}

export class SpiffsPages {
  readonly pageBytes: number;
  /** Of content in a page of data. */
  readonly dataBytes: number;
  readonly #partition: Buffer;
  readonly #pagesPerBlock: number;
  readonly #lookupPages: number;
  readonly #blockCount: number;
  readonly #blank: Buffer;

  constructor(
    partition: Buffer,
    geometry: { readonly pageBytes: number; readonly blockBytes: number; readonly blockCount: number },
  ) {
    const { pageBytes, blockBytes, blockCount } = geometry;
    this.#partition = partition;
    this.pageBytes = pageBytes;
    this.dataBytes = pageBytes - PAGE_HEADER_BYTES;
    this.#pagesPerBlock = blockBytes / pageBytes;
    this.#lookupPages = lookupPages(pageBytes, blockBytes);
    this.#blockCount = blockCount;
    this.#blank = Buffer.alloc(pageBytes, 0xff);
  }

  /** Of all blocks, with the pages of the lookup tables. */
  get count(): number {
    return this.#blockCount * this.#pagesPerBlock;
  }

  blockOf(index: number): number {
    return Math.floor(index / this.#pagesPerBlock);
  }

  /** All pages but those of the lookup tables, in the order of the flash. */
  *all(): Generator<SpiffsPage> {
    for (let block = 0; block < this.#blockCount; block++) {
      const first = block * this.#pagesPerBlock;
      for (let entry = 0; entry < this.#pagesPerBlock - this.#lookupPages; entry++) {
        const lookupId = this.#partition.readUInt16LE(first * this.pageBytes + entry * 2);
        yield this.#page(first + this.#lookupPages + entry, lookupId);
      }
    }
  }

  /**
   * Whether a page holds part `span` of an object's content: what SPIFFS asks before it reads one
   * (SPIFFS_VALIDATE_DATA), and that it lies inside.
   */
  isDataOf(index: number, object: number, span: number): boolean {
    if (index >= this.count || index % this.#pagesPerBlock < this.#lookupPages) return false;
    const page = this.#page(index, object);
    return pageSays(page) === 'data' && page.id === object && page.span === span;
  }

  /** All bytes of a page, which must be inside. */
  bytes(index: number): Buffer {
    return this.#partition.subarray(index * this.pageBytes, (index + 1) * this.pageBytes);
  }

  isBlank(index: number): boolean {
    return this.bytes(index).equals(this.#blank);
  }

  /** Whether a header page begins a name as people give them: UTF-8 without control characters, and an end. */
  hasPlausibleName(index: number): boolean {
    const page = this.bytes(index);
    return NAME_OFFSETS.some((offset) => {
      const name = page.subarray(offset, Math.max(offset, page.indexOf(0, offset)));
      const text = name.toString('utf8');
      return name.length > 0 && !UNLIKELY.test(text);
    });
  }

  #page(index: number, lookupId: number): SpiffsPage {
    const at = index * this.pageBytes;
    return {
      index,
      lookupId,
      id: this.#partition.readUInt16LE(at),
      span: this.#partition.readUInt16LE(at + 2),
      flags: this.#partition.readUInt8(at + 4),
    };
  }
}
