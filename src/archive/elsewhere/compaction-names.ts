/** Files beside elsewhere.jsonl while it is made shorter. Pure. */

import { draftOwner } from '../owner.ts';
import { ELSEWHERE } from './stored-lines.ts';

const NEXT = `${ELSEWHERE}.next.`;
const BEFORE = `${ELSEWHERE}.before.`;

/** What will replace the file, and is the lock of the compaction meanwhile. @param draft name of its maker's, as of a draft */
export function nextName(draft: string): string {
  return NEXT + draft;
}

/** A second name of the file that is replaced. */
export function beforeName(draft: string): string {
  return BEFORE + draft;
}

/** The maker's name out of {@link nextName}; undefined for every other. */
export function makerOfNext(name: string): string | undefined {
  return makerBehind(NEXT, name);
}

/** Out of {@link beforeName}. */
export function makerOfBefore(name: string): string | undefined {
  return makerBehind(BEFORE, name);
}

export function isOfCompaction(name: string): boolean {
  return makerOfNext(name) !== undefined || makerOfBefore(name) !== undefined;
}

function makerBehind(prefix: string, name: string): string | undefined {
  if (!name.startsWith(prefix)) return undefined;
  const draft = name.slice(prefix.length);
  return draftOwner(draft) === undefined ? undefined : draft;
}
