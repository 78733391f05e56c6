/** What happens to one board that was plugged in: a backup, and nothing that writes flash. */

import type { Archive } from '../archive/types.ts';
import { sleep } from '../clock.ts';
import { EspdError, hasCode } from '../errors.ts';
import type { ResetSequence } from '../esp/reset.ts';
import type { Mac } from '../mac.ts';
import type { PortInfo } from '../serial/ports.ts';
import { type BackupOutcome, readFlash } from '../transfer/backup.ts';
import {
  type LinkOpener,
  type Session,
  type SessionOptions,
  type SessionResult,
  withBoard,
} from '../transfer/session.ts';

export interface BackupJobOptions extends PlugInJobOptions {
  readonly archive: Archive;
  readonly full: boolean;
  /** Boards that other jobs work on right now: two ports never serve one MAC. */
  readonly busyMacs: Set<Mac>;
}

/**
 * A tty belongs to root until udev has set its group: 150 to 400 ms were measured on an idle machine, more than 2 s on
 * a busy one with slow rules. So long a port that is new may be missing or forbidden.
 */
const UDEV_MS = 10_000;
const UDEV_RETRY_MS = 250;

/** No step at all. (The reset mode `none` would leave the lines alone also when the board is let go.) */
const IN_DOWNLOAD_MODE: ResetSequence = { name: 'none, it is there already', steps: [] };

export interface PlugInJobOptions extends SessionOptions {
  /** The port came back after a reset into download mode: the loader is looked for before the board is reset again. */
  readonly inDownloadMode?: boolean;
  /** Default: the real ports and network links. */
  readonly openLink?: LinkOpener | undefined;
}

/**
 * The backup is kept once the board has been released; its MAC stays busy until then.
 * @throws EspdError whatever went wrong; `interrupted` or the reason of the signal when it was aborted
 */
export async function runBackupJob(port: PortInfo, options: BackupJobOptions): Promise<SessionResult<BackupOutcome>> {
  const { busyMacs } = options;
  let claimed: Mac | undefined;
  try {
    const result = await onPlugIn(port, options, (session) => {
      const { mac } = session.board.identity;
      if (busyMacs.has(mac) && claimed !== mac) {
        throw new EspdError('port-busy', `${mac} is being worked on at another port`, {
          hint: 'Two boards answer with the same MAC, or one board is attached twice',
        });
      }
      busyMacs.add(mac);
      claimed = mac;
      return readFlash(session, options);
    });
    return { ...result, value: await result.value.keep() };
  } finally {
    if (claimed !== undefined) busyMacs.delete(claimed);
  }
}

/**
 * Does `work` on the board at a port that has just appeared: waits for udev's permissions, and for a board that is in
 * download mode already.
 * @throws EspdError see {@link withBoard}, and of `work`
 */
export async function onPlugIn<T>(
  port: PortInfo,
  options: PlugInJobOptions,
  work: (session: Session) => Promise<T>,
): Promise<SessionResult<T>> {
  if (options.inDownloadMode === true && options.reset !== 'none') {
    try {
      return await whenPermitted(port, { ...options, reset: IN_DOWNLOAD_MODE, connectAttempts: 1 }, work);
    } catch (error) {
      // Then it is in its app after all, and no harm is done by another reset.
      if (!hasCode(error, 'no-answer', 'no-sync', 'boot-mode')) throw error;
    }
  }
  return whenPermitted(port, options, work);
}

async function whenPermitted<T>(
  port: PortInfo,
  options: PlugInJobOptions,
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
