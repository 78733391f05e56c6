/** A flash made of files at offsets, as build systems and flashers keep them. Pure. */

import { hex } from '../bytes.ts';

/** What flash chips there are, in bytes: powers of two. */
export const SMALLEST_FLASH_BYTES = 256 * 1024;
export const LARGEST_FLASH_BYTES = 128 * 1024 * 1024;

/** Whether a flash chip can have this many bytes. */
export function isFlashSize(sizeBytes: number): boolean {
  return (
    sizeBytes >= SMALLEST_FLASH_BYTES && sizeBytes <= LARGEST_FLASH_BYTES && Number.isInteger(Math.log2(sizeBytes))
  );
}

/** A file of the flash, or a run of bytes in one. */
export interface DumpPart {
  /** For people: the file's name. */
  readonly name: string;
  /** From the start of the flash. */
  readonly offset: number;
  readonly bytes: Buffer;
}

export type Composed =
  | { readonly image: Buffer; readonly blankBytes: number; readonly problem: null }
  | { readonly image: null; readonly problem: string };

/**
 * The flash with all parts in it, the rest as erased flash is (0xFF); or what does not fit.
 *
 * @param sizeBytes of the flash; see {@link isFlashSize}
 * @returns `blankBytes`: how many bytes no part covers
 */
export function composeFlash(parts: readonly DumpPart[], sizeBytes: number): Composed {
  const sorted = parts.toSorted((a, b) => a.offset - b.offset);
  let covered = 0;
  let last: DumpPart | undefined;
  for (const part of sorted) {
    if (part.offset + part.bytes.length > sizeBytes) {
      const end = hex(part.offset + part.bytes.length);
      return { image: null, problem: `${part.name} reaches to ${end}, beyond the flash of ${hex(sizeBytes)} bytes` };
    }
    if (last !== undefined && part.offset < last.offset + last.bytes.length) {
      return {
        image: null,
        problem: `${part.name} at ${hex(part.offset)} overlaps ${last.name} at ${hex(last.offset)}`,
      };
    }
    covered += part.bytes.length;
    last = part;
  }
  const only = sorted[0];
  if (only !== undefined && sorted.length === 1 && covered === sizeBytes) {
    return { image: only.bytes, blankBytes: 0, problem: null };
  }
  const image = Buffer.alloc(sizeBytes, 0xff);
  for (const { offset, bytes } of sorted) bytes.copy(image, offset);
  return { image, blankBytes: sizeBytes - covered, problem: null };
}
