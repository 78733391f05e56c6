/**
 * Builds the guest where the cache has none. Status 69, and one line on stdout why, where this machine gets no Debian:
 * that is no fault of espd.
 */

import { GuestUnavailable, guestImage } from './image.ts';

/** EX_UNAVAILABLE of sysexits(3). */
const UNAVAILABLE = 69;

try {
  await guestImage((line) => process.stderr.write(`system tests: ${line}\n`));
} catch (error) {
  if (!(error instanceof GuestUnavailable)) throw error;
  process.stdout.write(`${error.message}\n`);
  process.exitCode = UNAVAILABLE;
}
