/**
 * Which failures at a port may pass while it stays, when it is tried again, and how gently. A board that runs its app
 * must not be reset again and again, so only what touches nothing is tried for ever.
 * Pure: an object for each plug-in, asked after each failure.
 */

import { type EspdError, hasCode } from '../errors.ts';
import type { JobTrace } from './job.ts';
import type { PlugInOptions } from './on-plug-in.ts';

/**
 * `as-usual`: like a plug-in. `listen-first`: a loader is looked for, and then it goes on as usual. `gently`: the same, and
 * then the board gets one attempt only. `listen`: a loader is looked for, and no line is moved; it is there when a person
 * has pressed BOOT and RESET meanwhile.
 */
export type RetryWay = 'as-usual' | 'listen-first' | 'gently' | 'listen';

export interface Retry {
  readonly waitMs: number;
  readonly way: RetryWay;
}

/**
 * `closed`: the port did not open, or the archive is not there, and nothing was touched. `silent`: no answer, perhaps no board at all. `running`: it
 * was reset, and runs its app or talks for ever. `dropped`: the port was lost under the job, although it is still there.
 * `mute`: a server took the connection, and is none of RFC 2217, or busy with another client. It may have opened its port
 * all the same, which moves the lines of the board.
 */
type Passing = 'closed' | 'silent' | 'running' | 'dropped' | 'mute';

const WAITS_MS = [5000, 15_000, 30_000, 60_000] as const;
/** Then only what touches nothing. Whoever waits for it has most likely plugged the board in anew by then. */
const RARELY_MS = 600_000;
/** After these, somebody has to look what listens there. */
const MUTE_WAITS_MS = [60_000, 600_000, 3_600_000] as const;
/** Tries of what moves the lines of a board, or sends to it; the time in which a hand finds two buttons. */
const MOST_TOUCHES: Readonly<Record<Exclude<Passing, 'closed' | 'mute'>, number>> = {
  silent: 2,
  running: 2,
  dropped: 4,
};

const WAYS = { silent: 'gently', running: 'listen', dropped: 'listen-first' } as const satisfies Record<
  string,
  RetryWay
>;

export class RetryBudget {
  #opens = 0;
  #greetings = 0;
  #touches = 0;
  /** Its app has been seen to run: from then on it is not reset again. */
  #isRunning = false;

  /**
   * When to try again after `error`; undefined = not before the port is plugged in anew.
   * @param isOwnUsb a chip's own USB: whoever presses its RESET makes a new plug-in
   */
  next(error: EspdError, trace: JobTrace, isOwnUsb: boolean): Retry | undefined {
    const passing = passingOf(error, trace);
    if (passing === undefined) return undefined;
    if (passing === 'closed') return { waitMs: WAITS_MS[this.#opens++] ?? RARELY_MS, way: 'as-usual' };
    if (passing === 'mute') {
      const waitMs = MUTE_WAITS_MS[this.#greetings++];
      return waitMs === undefined ? undefined : { waitMs, way: 'as-usual' };
    }
    if (passing === 'running' && isOwnUsb) return undefined;
    const waitMs = WAITS_MS[this.#touches];
    if (this.#touches >= MOST_TOUCHES[passing] || waitMs === undefined) return undefined;
    this.#touches++;
    this.#isRunning ||= passing === 'running';
    return { waitMs, way: this.#isRunning ? 'listen' : WAYS[passing] };
  }
}

/** The port did not open. */
const PORT_CODES = ['port-busy', 'port-denied', 'port-missing', 'port-failed'] as const;
/** The archive was asked first, and could not have kept anything: its disk may be mounted again. */
const ARCHIVE_CODES = ['archive-missing', 'archive-unwritable', 'disk-full'] as const;

function passingOf(error: EspdError, { wasOpened, mac }: JobTrace): Passing | undefined {
  if (hasCode(error, 'no-rfc2217')) return 'mute';
  if (!wasOpened) {
    return hasCode(error, ...PORT_CODES, ...ARCHIVE_CODES) ? 'closed' : undefined;
  }
  if (hasCode(error, 'port-vanished', 'port-failed')) return 'dropped';
  // What fails once the board has said who it is has been tried often enough: see esp/persistence.ts.
  if (mac !== undefined) return undefined;
  if (hasCode(error, 'no-answer', 'no-sync')) return 'silent';
  return hasCode(error, 'boot-mode', 'port-flooded') ? 'running' : undefined;
}

/** How a job goes about it that tries again. */
export function approachOf(
  way: RetryWay,
): Partial<Pick<PlugInOptions, 'connectAttempts' | 'inDownloadMode' | 'listenOnly'>> {
  switch (way) {
    case 'as-usual':
      return {};
    case 'listen-first':
      return { inDownloadMode: true };
    case 'gently':
      return { inDownloadMode: true, connectAttempts: 1 };
    case 'listen':
      return { listenOnly: true };
  }
}

/** Whether two failures tell a person the same: the kinds of silence differ with how the board was asked. */
export function isSameTrouble(one: EspdError, other: EspdError): boolean {
  const isSilence = (error: EspdError) => hasCode(error, 'no-answer', 'no-sync', 'boot-mode', 'port-flooded');
  return one.code === other.code || (isSilence(one) && isSilence(other));
}
