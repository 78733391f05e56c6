/**
 * What is remembered of a line (a port with its bridge) from session to session: which baud rate it holds, which it
 * does not, and whether packets can be acknowledged early. Pure; where it is kept is the caller's matter.
 */

export interface LineFacts {
  /** Highest rate that a read has proven, in baud; null where none above the first one has been. */
  readonly bestBaudRate: number | null;
  /** Lowest rate that failed: neither it nor a higher one is tried until {@link isRetryDue}. */
  readonly failedBaudRate: number | null;
  /** When a rate or early acknowledgement last failed, as ISO 8601. */
  readonly failedAt: string | null;
  /** Sessions since then in which something was read and nothing failed. */
  readonly sessionsSince: number;
  /** False after an error that early acknowledgement may have caused. */
  readonly acknowledgeEarly: boolean;
}

export interface LineMemory {
  /** What is remembered of this line; null where nothing is. */
  recall(): LineFacts | null;
  remember(facts: LineFacts): void;
}

/** What one session has shown. */
export interface LineExperience {
  /** Something was read. */
  readonly hasRead: boolean;
  /** Highest rate above the first one that a read has proven and that has not failed since. */
  readonly provenBaudRate: number | null;
  /** Lowest rate that failed. */
  readonly failedBaudRate: number | null;
  /** Null where it was not tried. */
  readonly acknowledgeEarly: boolean | null;
}

export const NOTHING_KNOWN: LineFacts = {
  bestBaudRate: null,
  failedBaudRate: null,
  failedAt: null,
  sessionsSince: 0,
  acknowledgeEarly: true,
};

/** What has failed is tried again after so long, or after so many good sessions: cables get exchanged. */
const RETRY_AFTER_MS = 7 * 24 * 3600 * 1000;
const RETRY_AFTER_SESSIONS = 20;

/** Whether what has failed is to be tried again. Also where nobody knows when it failed, or a clock went back far. */
export function isRetryDue({ failedAt, sessionsSince }: LineFacts, now: Date): boolean {
  const ageMs = failedAt === null ? NaN : now.getTime() - new Date(failedAt).getTime();
  return !(Math.abs(ageMs) < RETRY_AFTER_MS) || sessionsSince >= RETRY_AFTER_SESSIONS;
}

/** What to remember after a session; null when it has shown nothing. */
export function factsAfter(before: LineFacts, session: LineExperience, now: Date): LineFacts | null {
  const { hasRead, provenBaudRate: proven, failedBaudRate: failed } = session;
  if (!hasRead && failed === null && session.acknowledgeEarly === null) return null;
  const isLost = failed !== null && before.bestBaudRate !== null && before.bestBaudRate >= failed;
  const bestBaudRate = Math.max(isLost ? 0 : (before.bestBaudRate ?? 0), proven ?? 0) || null;
  const disproven = proven !== null && before.failedBaudRate !== null && proven >= before.failedBaudRate;
  const failedBaudRate = failed ?? (disproven ? null : before.failedBaudRate);
  const acknowledgeEarly = session.acknowledgeEarly ?? before.acknowledgeEarly;
  const common = { bestBaudRate, failedBaudRate, acknowledgeEarly };
  if (failed !== null || session.acknowledgeEarly === false) {
    return { ...common, failedAt: now.toISOString(), sessionsSince: 0 };
  }
  if (failedBaudRate === null && acknowledgeEarly) return { ...common, failedAt: null, sessionsSince: 0 };
  return { ...common, failedAt: before.failedAt, sessionsSince: before.sessionsSince + (hasRead ? 1 : 0) };
}
