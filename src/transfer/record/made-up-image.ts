/** The images of a recording, made up again: of the same tag the same bytes. Pure. */

import { createHash } from 'node:crypto';
import { SECTOR_BYTES } from '../../flash.ts';
import type { CutOut, KnownLine, RecordingLine } from './format.ts';

export interface MadeUpImage {
  readonly line: KnownLine;
  readonly bytes: Buffer;
}

/** Bytes that stand for those that were cut out; the same for the same tag. */
export class MadeUpBytes {
  /** Sectors of which a part is known, by their tag. */
  readonly #known = new Map<string, Buffer>();

  /** @param lines of the whole recording */
  constructor(lines: readonly RecordingLine[]) {
    const tables = new Map(
      lines.flatMap((line) => (line.kind === 'known' && line.table !== null ? [[line.image, line.table]] : [])),
    );
    for (const line of lines) {
      if (line.kind !== 'sectors') continue;
      const table = tables.get(line.image);
      if (table === undefined) continue;
      const sector = line.sectors[Math.floor(table.at / SECTOR_BYTES) - line.from];
      if (typeof sector !== 'string' || sector.length !== 32) continue;
      const bytes = Buffer.from(made(SECTOR_BYTES, sector));
      Buffer.from(table.hex, 'hex').copy(bytes, table.at % SECTOR_BYTES);
      this.#known.set(sector, bytes);
    }
  }

  of({ bytes: length, fill, tag = '' }: CutOut = { bytes: 0 }): Buffer {
    if (fill !== undefined) return Buffer.alloc(length, fill);
    const known = this.#known.get(tag);
    return known?.length === length ? known : made(length, tag);
  }
}

/** The images that espd had when this was recorded, in the order in which they were opened. */
export function madeUpImages(lines: readonly RecordingLine[], made: MadeUpBytes): MadeUpImage[] {
  return lines.flatMap((line) => {
    if (line.kind !== 'known') return [];
    const bytes = Buffer.alloc(line.sizeBytes, 0xff);
    for (const { from, sectors } of lines.flatMap((one) =>
      one.kind === 'sectors' && one.image === line.image ? [one] : [],
    )) {
      for (const [index, sector] of sectors.entries()) {
        const told = { bytes: SECTOR_BYTES, ...(typeof sector === 'number' ? { fill: sector } : { tag: sector }) };
        const isWhole = typeof sector === 'string' && sector.length > 32;
        (isWhole ? Buffer.from(sector, 'hex') : made.of(told)).copy(bytes, (from + index) * SECTOR_BYTES);
      }
    }
    return [{ line, bytes }];
  });
}

function made(length: number, tag: string): Buffer {
  const pieces: Buffer[] = [];
  for (let counter = 0, sum = 0; sum < length; counter++) {
    const piece = createHash('sha256').update(`${tag}:${counter}`).digest();
    pieces.push(piece);
    sum += piece.length;
  }
  return Buffer.concat(pieces).subarray(0, length);
}
