/** What happens to one board that was plugged in: a backup, and nothing that writes flash. */

import type { Archive } from '../archive/types.ts';
import { sleep } from '../clock.ts';
import { EspdError, hasCode } from '../errors.ts';
import type { ResetSequence } from '../esp/reset.ts';
import type { Mac } from '../mac.ts';
import type { PortInfo } from '../serial/ports.ts';
import { type BackupOutcome, backupBoard } from '../transfer/backup.ts';
import { type LinkOpener, type SessionOptions, type SessionResult, withBoard } from '../transfer/session.ts';

export interface BackupJobOptions extends SessionOptions {
  readonly archive: Archive;
  readonly full: boolean;
  /** Boards that other jobs work on right now: two ports never serve one MAC. */
  readonly busyMacs: Set<Mac>;
  /** The port came back after a reset into download mode: the loader is looked for before the board is reset again. */
  readonly inDownloadMode?: boolean;
  /** Default: the real ports and network links. */
  readonly openLink?: LinkOpener | undefined;
}

/**
 * A tty belongs to root until udev has set its group: 150 to 400 ms were measured on an idle machine, more than 2 s on
 * a busy one with slow rules. So long a port that is new may be missing or forbidden.
 */
const UDEV_MS = 10_000;
const UDEV_RETRY_MS = 250;

/** No step at all. (The reset mode `none` would leave the lines alone also when the board is let go.) */
const IN_DOWNLOAD_MODE: ResetSequence = { name: 'none, it is there already', steps: [] };

/** @throws EspdError whatever went wrong; `interrupted` or the reason of the signal when it was aborted */
export async function runBackupJob(port: PortInfo, options: BackupJobOptions): Promise<SessionResult<BackupOutcome>> {
  if (options.inDownloadMode === true && options.reset !== 'none') {
    try {
      return await backUp(port, { ...options, reset: IN_DOWNLOAD_MODE, connectAttempts: 1 });
    } catch (error) {
      // Then it is in its app after all, and no harm is done by another reset.
      if (!hasCode(error, 'no-answer', 'no-sync', 'boot-mode')) throw error;
    }
  }
  return backUp(port, options);
}

async function backUp(port: PortInfo, options: BackupJobOptions): Promise<SessionResult<BackupOutcome>> {
  const { clock, signal } = options;
  const started = clock.now();
  for (;;) {
    try {
      return await backUpOnce(port, options);
    } catch (error) {
      const isLate = clock.now() - started >= UDEV_MS;
      if (!hasCode(error, 'port-denied', 'port-missing') || port.usb === null || isLate) throw error;
      await sleep(clock, UDEV_RETRY_MS, signal);
    }
  }
}

async function backUpOnce(port: PortInfo, options: BackupJobOptions): Promise<SessionResult<BackupOutcome>> {
  const { busyMacs, openLink } = options;
  return withBoard(
    port,
    options,
    async (session) => {
      const { mac } = session.board.identity;
      if (busyMacs.has(mac)) {
        throw new EspdError('port-busy', `${mac} is being worked on at another port`, {
          hint: 'Two boards answer with the same MAC, or one board is attached twice',
        });
      }
      busyMacs.add(mac);
      try {
        return await backupBoard(session, options);
      } finally {
        busyMacs.delete(mac);
      }
    },
    openLink,
  );
}
