/** `watch.quietHours`: a span of each day, `22:00-06:30`, in which no board is touched by itself. Pure. */

export interface QuietHours {
  /** Minutes since midnight; `toMinute` may be the smaller one: over midnight. */
  readonly fromMinute: number;
  readonly toMinute: number;
}

const DAY_MINUTES = 24 * 60;
const MINUTE_MS = 60_000;

/** Null for what is no such span, or an empty one. */
export function parseQuietHours(text: string): QuietHours | null {
  const match = /^([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)$/.exec(text.trim());
  if (match === null) return null;
  const [fromHour = 0, from = 0, toHour = 0, to = 0] = match.slice(1).map(Number);
  const hours = { fromMinute: fromHour * 60 + from, toMinute: toHour * 60 + to };
  return hours.fromMinute === hours.toMinute ? null : hours;
}

/**
 * How long `date` is quiet, in milliseconds; 0 outside of the quiet hours. Where clocks are put forward or back meanwhile,
 * it is an hour off: ask again then.
 * @param timezone name of a time zone; null = that of the machine
 */
export function quietMs(date: Date, { fromMinute, toMinute }: QuietHours, timezone: string | null): number {
  const minute = minuteOfDay(date, timezone);
  const isQuiet =
    fromMinute < toMinute ? minute >= fromMinute && minute < toMinute : minute >= fromMinute || minute < toMinute;
  if (!isQuiet) return 0;
  const minutesLeft = (toMinute - minute + DAY_MINUTES) % DAY_MINUTES;
  return minutesLeft * MINUTE_MS - (date.getTime() % MINUTE_MS);
}

function minuteOfDay(date: Date, timezone: string | null): number {
  const format = new Intl.DateTimeFormat('en-GB', {
    ...{ hour: '2-digit', minute: '2-digit', hourCycle: 'h23' },
    ...(timezone !== null && { timeZone: timezone }),
  });
  const parts = format.formatToParts(date);
  const valueOf = (type: 'hour' | 'minute') => Number(parts.find((part) => part.type === type)?.value);
  return valueOf('hour') * 60 + valueOf('minute');
}
