/**
 * WLED's description of itself: `wled_metadata_t`, since 0.15.2, proven by a hash.
 * https://github.com/wled/WLED/blob/v16.0.1/wled00/wled_metadata.cpp
 */

/** WLED_CUSTOM_DESC_MAGIC, `WSTS`, as it lies in flash. */
export const WLED_MAGIC = 'STSW';
const TEXT_BYTES = 48;
const VERSION_AT = 8;
const RELEASE_AT = VERSION_AT + TEXT_BYTES;
const HASH_AT = RELEASE_AT + TEXT_BYTES;
/** Magic, structure's version, WLED's version, name of the release, hash of that name. */
const DESCRIPTION_BYTES = HASH_AT + 4;

/** The version in the description at the start of `window` (Latin-1), or undefined where there is none. */
export function wledDescribedVersion(window: string): string | undefined {
  if (!window.startsWith(WLED_MAGIC) || window.length < DESCRIPTION_BYTES) return undefined;
  const hash = Buffer.from(window.slice(HASH_AT, DESCRIPTION_BYTES), 'latin1').readUInt32LE(0);
  if (djb2(untilNul(window.slice(RELEASE_AT, HASH_AT))) !== hash) return undefined;
  const version = untilNul(window.slice(VERSION_AT, RELEASE_AT));
  return /^[\w.+-]{1,47}$/.test(version) ? version : undefined;
}

function untilNul(text: string): string {
  const end = text.indexOf('\0');
  return end < 0 ? text : text.slice(0, end);
}

/** D. J. Bernstein's hash, as WLED computes it: 5381, then times 33 plus the character. */
function djb2(text: string): number {
  let hash = 5381;
  for (let at = 0; at < text.length; at += 1) hash = (Math.imul(hash, 33) + text.charCodeAt(at)) >>> 0;
  return hash;
}
