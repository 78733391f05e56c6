/** Whether a stub that somebody left running reaches all of a large flash: `flash-reach.ts` says why that matters. */

import { EspdError } from '../errors.ts';
import { ROM_REACH_BYTES } from './flash-reach.ts';
import { type Loader, agreedAnswer } from './loader.ts';
import { digestRegion } from './spi-flash.ts';

const PROBE_BYTES = 64 * 1024;

/**
 * Makes sure that a stub that espd did not load reaches beyond 16 MiB: old ones and those of other makers do not.
 * @throws EspdError `no-stub-read` where both halves look the same through it; what a digest throws
 */
export async function proveReach(stub: Loader, flashSizeBytes: number): Promise<void> {
  if (flashSizeBytes <= ROM_REACH_BYTES) return;
  // Twice each: a digest that suffered on the line would make halves differ that are one.
  const digest = (offset: number, sizeBytes: number) => agreedAnswer(() => digestRegion(stub, offset, sizeBytes));
  for (const sizeBytes of [PROBE_BYTES, ROM_REACH_BYTES]) {
    const [lower, upper] = [await digest(0, sizeBytes), await digest(ROM_REACH_BYTES, sizeBytes)];
    if (lower !== undefined && upper !== undefined && lower !== upper) return;
  }
  const what = 'The flasher stub that already runs on this board may not reach above 16 MB';
  throw new EspdError('no-stub-read', what, {
    hint: 'Put the board into download mode anew (hold BOOT, press RESET), so that espd loads its own stub',
  });
}
