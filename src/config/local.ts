/** `archive.local`: which local copies stay. Pure. */

import type { LocalPolicy } from '../archive/retention/local.ts';

export const LOCAL_WANTED = 'wants all, newest N such as newest 5, or days D such as days 90';

/** Null for every other text. */
export function parseLocal(text: string): LocalPolicy | null {
  if (text === 'all') return { kind: 'all' };
  const match = /^(newest|days) ([1-9]\d{0,5})$/.exec(text);
  if (match === null) return null;
  const count = Number(match[2]);
  return match[1] === 'newest' ? { kind: 'newest', count } : { kind: 'days', days: count };
}
