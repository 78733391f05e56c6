/**
 * The flash as this room sees it: a reader that is handed in, and text out of it that is safe to print.
 *
 * Everything here is written for hostile content (an image is whatever a stranger's board held): lengths are clamped,
 * the sum of what is read is bounded, and nothing but the reader itself can fail.
 */

/** Gives `length` bytes from `offset` of the flash; may reject with whatever the storage behind it reports. */
export type ReadFlash = (offset: number, length: number) => Promise<Buffer>;

/** A {@link ReadFlash} that knows the size of the flash and never reads more than its budget in total. */
export class BoundedFlash {
  readonly sizeBytes: number;
  readonly #read: ReadFlash;
  #leftBytes: number;

  /**
   * @param sizeBytes of the flash; anything but a positive integer counts as 0
   * @param budgetBytes the most that all reads together may fetch
   */
  constructor(read: ReadFlash, sizeBytes: number, budgetBytes: number) {
    this.sizeBytes = Number.isSafeInteger(sizeBytes) && sizeBytes > 0 ? sizeBytes : 0;
    this.#read = read;
    this.#leftBytes = budgetBytes;
  }

  /**
   * What there is of `length` bytes from `offset`: fewer where the flash or the budget ends, none outside. Rejects only
   * if the reader does.
   */
  async read(offset: number, length: number): Promise<Buffer> {
    const end = Math.min(offset + length, this.sizeBytes, offset + this.#leftBytes);
    if (!(offset >= 0 && end > offset)) return Buffer.alloc(0);
    this.#leftBytes -= end - offset;
    const bytes = await this.#read(offset, end - offset);
    return bytes.subarray(0, end - offset);
  }
}

/**
 * A fixed-width text field of a C struct: up to the first NUL, everything but printable ASCII as `\xNN`, so that it can
 * go to a terminal, a log or a file name's column as it is.
 */
export function cText(field: Buffer): string {
  const end = field.indexOf(0);
  return asciiText(end < 0 ? field : field.subarray(0, end));
}

/** `bytes` with everything but printable ASCII escaped, and the escape character itself doubled. */
export function asciiText(bytes: Buffer): string {
  return bytes
    .toString('latin1')
    .replaceAll('\\', '\\\\')
    .replace(/[^\x20-\x7e]/g, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

/** `0x9000`: how the field writes offsets and sizes. */
export function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
