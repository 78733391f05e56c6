/** Moments as people say them, with the exact one beside. */

import { signal } from '@preact/signals';

/** Moves on by itself. */
export const now = signal(Date.now());
setInterval(() => (now.value = Date.now()), 10_000);

const UNITS: readonly (readonly [Intl.RelativeTimeFormatUnit, number])[] = [
  ['year', 365 * 86_400_000],
  ['month', 30 * 86_400_000],
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
];
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });
const exact = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' });

/** `3 days ago`, `in 2 hours`, `just now`. */
export function agoText(atMs: number, nowMs: number): string {
  const past = nowMs - atMs;
  for (const [unit, ms] of UNITS) if (Math.abs(past) >= ms) return relative.format(-Math.round(past / ms), unit);
  // The clock here moves on in steps.
  return past < -30_000 ? 'in a moment' : 'just now';
}

export function When({ at }: { at: string | null }) {
  const atMs = at === null ? Number.NaN : Date.parse(at);
  if (Number.isNaN(atMs)) return <span>{at ?? 'never'}</span>;
  return (
    <time dateTime={at ?? ''} title={exact.format(atMs)}>
      {agoText(atMs, now.value)}
    </time>
  );
}

/** The moment itself, as the clock on the wall says it. */
export function Exactly({ at }: { at: string }) {
  const atMs = Date.parse(at);
  return <time dateTime={at}>{Number.isNaN(atMs) ? at : exact.format(atMs)}</time>;
}
