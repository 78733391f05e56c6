/** Requests beside each other, a few at a time. */

const AT_ONCE = 8;

/** Each group is waited for as a whole, also if one fails: nothing goes on behind the caller's back. */
export async function inGroups<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  for (let at = 0; at < items.length; at += AT_ONCE) {
    const results = await Promise.allSettled(items.slice(at, at + AT_ONCE).map(work));
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }
}
