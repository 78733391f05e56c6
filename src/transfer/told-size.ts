/** A flash whose size only a person has told: what the chip says against it, before anything is read or written. */

import { EspdError } from '../errors.ts';
import type { FlashFacts } from '../esp/board.ts';
import { SECTOR_BYTES } from '../flash.ts';
import { BLANK, ZERO, uniformDigest } from '../archive/uniform.ts';

/**
 * A flash answers the same again behind its real end. Writing there would overwrite its beginning, and an image of it
 * would be twice the flash. Uniform halves say nothing. A size that is too small cannot be seen from here.
 *
 * @param ask MD5 of a region of the flash, by the chip
 * @throws EspdError `usage` where the halves of the flash are equal
 */
export async function guardToldSize(
  flash: FlashFacts,
  ask: (offset: number, sizeBytes: number) => Promise<string>,
): Promise<void> {
  if (flash.sizeFrom === 'id') return;
  let realBytes = flash.sizeBytes;
  while (realBytes > SECTOR_BYTES) {
    const half = realBytes / 2;
    const lower = await ask(0, half);
    if (lower === uniformDigest(BLANK, half) || lower === uniformDigest(ZERO, half)) break;
    if ((await ask(half, half)) !== lower) break;
    realBytes = half;
  }
  if (realBytes === flash.sizeBytes) return;
  const message = `The flash repeats itself from ${realBytes} bytes on: it is smaller than --flash-size says`;
  throw new EspdError('usage', message, {
    hint: `Nothing was read or written. Say the size that is printed on the flash chip, ${realBytes} bytes perhaps`,
  });
}
