/** What several commands take on their command line: texts of a person to values, or why not. */

import { InvalidArgumentError } from 'commander';
import { checkLabel } from '../archive/marks/labels.ts';
import type { Archive } from '../archive/types.ts';
import { parseSpan } from '../config/span.ts';
import { type FirmwareRange, parseFirmwareRange } from '../firmware/versions.ts';
import { type Mac, parseMac } from '../mac.ts';

export const PORT_HELP =
  'a device path, the name of a remote of the config, rfc2217://host:port, or socket://host:port (raw TCP; the board ' +
  'must be in download mode)';

export const NOW_HELP = 'where a daemon works on the board: end that job cleanly, instead of waiting for it';

export const FLASH_SIZE_HELP = 'how large the flash is (512K, 4M), if its id does not tell';

/** The name of a board, not looked up yet: a MAC in any notation, or what can be a label. */
export function boardArgument(text: string): string {
  if (parseMac(text) !== undefined) return text;
  try {
    return checkLabel(text);
  } catch {
    throw new InvalidArgumentError(
      'A MAC looks like 50:02:91:c3:37:a5; "espd list" and "espd identify" show those of the boards, and their labels.',
    );
  }
}

/**
 * The MAC that is meant, of whatever board, also of one that the archive has never seen; or the board with this label.
 * @throws EspdError see {@link Archive.resolveBoard}
 */
export async function macOf(archive: Pick<Archive, 'resolveBoard'>, text: string): Promise<Mac> {
  return parseMac(text) ?? (await archive.resolveBoard(text));
}

export function firmwareArgument(text: string): FirmwareRange {
  const { range, problem } = parseFirmwareRange(text);
  if (range === null) throw new InvalidArgumentError(`${problem}.`);
  return range;
}

/** Milliseconds of `12h`, `30d`, `4w`, `1y`. */
export function spanArgument(text: string): number {
  const spanMs = parseSpan(text, ['h', 'd', 'w', 'y']) ?? 0;
  if (!(spanMs > 0)) throw new InvalidArgumentError('A span of time looks like 12h, 30d, 4w or 1y.');
  return spanMs;
}

/** What timers and holds count to: 24 days. */
const LONGEST_TIME_MS = 24 * 86_400_000;

/** How long something may take, in milliseconds: `90s`, `10m`, `2h`, `1d`, at most 24 days; a number alone is seconds. */
export function timeArgument(text: string): number {
  const timeMs = parseSpan(text, ['s', 'm', 'h', 'd'], 's') ?? 0;
  if (timeMs > 0 && timeMs <= LONGEST_TIME_MS) return timeMs;
  throw new InvalidArgumentError('A time looks like 90s, 10m, 2h or 1d, and is at most 24d.');
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

/** What flash chips there are, in bytes: powers of two. */
const [SMALLEST_FLASH_BYTES, LARGEST_FLASH_BYTES] = [256 * 1024, 128 * 1024 * 1024];

/** The size of a flash: `512K`, `4M`, or as esptool writes it, `4MB`. */
export function flashSizeArgument(text: string): number {
  const match = /^(\d{1,9})(?:([km])b?)?$/i.exec(text);
  const bytes = Number(match?.[1]) * (UNITS[match?.[2]?.toLowerCase() ?? ''] ?? NaN);
  const isInRange = bytes >= SMALLEST_FLASH_BYTES && bytes <= LARGEST_FLASH_BYTES;
  if (!isInRange || !Number.isInteger(Math.log2(bytes)))
    throw new InvalidArgumentError('The size of a flash looks like 512K or 4M: a power of two from 256K to 128M.');
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
