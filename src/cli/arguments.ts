/** What several commands take on their command line: texts of a person to values, or why not. */

import { InvalidArgumentError } from 'commander';
import { type Mac, parseMac } from '../mac.ts';

export const PORT_HELP =
  'a device path, rfc2217://host:port, or socket://host:port (raw TCP; the board must be in download mode)';

export function macArgument(text: string): Mac {
  const mac = parseMac(text);
  if (mac === undefined)
    throw new InvalidArgumentError(
      'A MAC looks like 50:02:91:c3:37:a5; "espd list" and "espd identify" show those of the boards.',
    );
  return mac;
}

const UNITS: Readonly<Record<string, number>> = { '': 1, k: 1024, m: 1024 * 1024 };

/** A place in a flash, or a size: `0x9000`, `36864`, `36K`, `2M`. */
export function bytesArgument(text: string): number {
  const match = /^(?:(0x[0-9a-f]{1,8})|(\d{1,10})([km]?))$/i.exec(text);
  const bytes = Number(match?.[1] ?? match?.[2]) * (UNITS[match?.[3]?.toLowerCase() ?? ''] ?? NaN);
  if (!Number.isSafeInteger(bytes))
    throw new InvalidArgumentError('A number of bytes looks like 0x9000, 36864, 36K or 2M.');
  return bytes;
}

export function countArgument(text: string): number {
  const count = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (count < 1) throw new InvalidArgumentError('Give a whole number, 1 or more.');
  return count;
}

/** For an option that may be given several times. */
export function listArgument(text: string, before: readonly string[] | undefined): string[] {
  return [...(before ?? []), text];
}
