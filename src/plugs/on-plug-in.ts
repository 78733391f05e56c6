/** A session on a port that has just appeared: udev may not be done with it, and its board may be in download mode. */

import { sleep } from '../clock.ts';
import { hasCode } from '../errors.ts';
import type { ResetSequence } from '../esp/reset.ts';
import {
  type LinkOpener,
  type Port,
  type Session,
  type SessionOptions,
  type SessionResult,
  withBoard,
} from '../transfer/session.ts';

/**
 * A tty belongs to root until udev has set its group: 150 to 400 ms were measured on an idle machine, more than 2 s on
 * a busy one with slow rules. So long a port that is new may be missing or forbidden.
 */
const UDEV_MS = 10_000;
const UDEV_RETRY_MS = 250;

/** No step at all. (The reset mode `none` would leave the lines alone also when the board is let go.) */
const IN_DOWNLOAD_MODE: ResetSequence = { name: 'none, it is there already', steps: [], letsBe: 'silent' };
/** The board runs its app, and goes on doing so when no loader answers. */
const ONLY_LISTENING: ResetSequence = { name: 'none, only listening', steps: [], letsBe: 'always' };

export interface PlugInOptions extends SessionOptions {
  /** The port came back after a reset into download mode: the loader is looked for before the board is reset again. */
  readonly inDownloadMode?: boolean;
  /** Only a loader is looked for, for somebody may have pressed BOOT and RESET: no reset. */
  readonly listenOnly?: boolean;
  /** Called before a board that should be in download mode, and is not, is reset once more. */
  readonly onReset?: () => void;
  /** Default: the real ports and network links. */
  readonly openLink?: LinkOpener | undefined;
}

/**
 * Does `work` on the board at a port that has just appeared: waits for udev's permissions, and for a board that is in
 * download mode already.
 * @throws EspdError see {@link withBoard}, and of `work`
 */
export async function onPlugIn<T>(
  port: Port,
  options: PlugInOptions,
  work: (session: Session) => Promise<T>,
): Promise<SessionResult<T>> {
  if (options.listenOnly === true && options.reset !== 'none') {
    return whenPermitted(port, { ...options, reset: ONLY_LISTENING, connectAttempts: 1 }, work);
  }
  if (options.inDownloadMode === true && options.reset !== 'none') {
    try {
      return await whenPermitted(port, { ...options, reset: IN_DOWNLOAD_MODE, connectAttempts: 1 }, work);
    } catch (error) {
      // Then it is in its app after all, and no harm is done by another reset.
      if (!hasCode(error, 'no-answer', 'no-sync', 'boot-mode', 'port-flooded')) throw error;
      options.onReset?.();
    }
  }
  return whenPermitted(port, options, work);
}

async function whenPermitted<T>(
  port: Port,
  options: PlugInOptions,
  work: (session: Session) => Promise<T>,
): Promise<SessionResult<T>> {
  const { clock, signal } = options;
  const started = clock.now();
  for (;;) {
    try {
      return await withBoard(port, options, work, options.openLink);
    } catch (error) {
      const isLate = clock.now() - started >= UDEV_MS;
      if (!hasCode(error, 'port-denied', 'port-missing') || port.usb === null || isLate) throw error;
      await sleep(clock, UDEV_RETRY_MS, signal);
    }
  }
}
