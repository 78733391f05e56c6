/** Sizes as a person writes them in the config. Pure. */

const UNITS: Readonly<Record<string, number>> = { '': 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3, T: 1024 ** 4 };

/** `50G`, `1.5T`, `500M`, `50GB`, `50GiB` or a number of bytes, in bytes: powers of 1024. Null for others. */
export function parseSize(value: string | number): number | null {
  const match = /^(\d{1,15}(?:\.\d{1,3})?)\s?([KMGT]?)(?:i?B)?$/i.exec(String(value).trim());
  if (match === null) return null;
  const bytes = Math.floor(Number(match[1]) * (UNITS[match[2]?.toUpperCase() ?? ''] ?? Number.NaN));
  return Number.isSafeInteger(bytes) ? bytes : null;
}
