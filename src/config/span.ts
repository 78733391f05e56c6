/** Spans of time as a person writes them: `90s`, `10m`, `2h`, `7d`. Pure. */

const UNITS_MS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 7 * 86_400_000, y: 365 * 86_400_000 } as const;

export type SpanUnit = keyof typeof UNITS_MS;

/**
 * In milliseconds; null for what is no whole number with one of `units` behind it.
 * @param bare the unit of a number that stands alone; absent = such a number is no span
 */
export function parseSpan(text: string, units: readonly SpanUnit[], bare?: SpanUnit): number | null {
  const match = /^(\d{1,9})([a-z]?)$/i.exec(text.trim());
  if (match === null) return null;
  const named = match[2]?.toLowerCase() ?? '';
  const unit = named === '' ? bare : units.find((each) => each === named);
  return unit === undefined ? null : Number(match[1]) * UNITS_MS[unit];
}
