/**
 * Lines of one file by several stations, merged without a master: by their times, and not by their places in the file, so
 * that all stations come to the same result in whatever order the lines reached them. Pure.
 *
 * A station whose clock is wrong must not silence those that have seen its line: whoever adds one gives it a time behind
 * all that are there (a hybrid logical clock). So a time may be some milliseconds later than the clock was, or as wrong as
 * the worst clock of the fleet; the order is right all the same.
 */

export interface Line {
  readonly at: string;
  /** Who has made it; absent = this station. */
  readonly station?: string;
}

/**
 * Oldest first. Lines of this station alone stay in the order in which they were written: its clock may have gone back in
 * the time before that was guarded against.
 */
export function merged<T extends Line>(lines: readonly T[]): readonly T[] {
  if (lines.every(({ station }) => station === undefined)) return lines;
  const keyed = lines.map((line) => ({
    ...{ line, atMs: Date.parse(line.at) },
    text: JSON.stringify({ ...line, station: undefined }),
  }));
  keyed.sort((a, b) => a.atMs - b.atMs || (a.text < b.text ? -1 : Number(a.text > b.text)));
  return keyed.map(({ line }) => line);
}

/** Later ones are no times to go by: nothing could be written behind them. */
const LAST_MS = Date.parse('9000-01-01T00:00:00Z');

/** Whether others can be behind a line of this time. */
export function hasUsableTime({ at }: Pick<Line, 'at'>): boolean {
  return Date.parse(at) < LAST_MS;
}

/**
 * The time of a new line.
 * @param now by the clock, ISO 8601 UTC
 * @param lines those of the file that are known
 */
export function timeBehind(now: string, lines: Iterable<Pick<Line, 'at'>>): string {
  let newestMs = -Infinity;
  for (const line of lines) if (hasUsableTime(line)) newestMs = Math.max(newestMs, Date.parse(line.at));
  return newestMs >= Date.parse(now) ? new Date(newestMs + 1).toISOString() : now;
}
