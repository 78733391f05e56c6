/** What happens to one board that was plugged in: a backup, and nothing that writes flash. */

import type { Archive } from '../archive/types.ts';
import type { Reason } from '../archive/manifest.ts';
import { EspdError } from '../errors.ts';
import type { Mac } from '../mac.ts';
import { type PlugInJobOptions, workOnPlugIn } from '../plugs/job.ts';
import type { PortInfo } from '../serial/ports.ts';
import { type BackupOutcome, readFlash } from '../transfer/backup.ts';
import type { OtherStations } from '../transfer/elsewhere.ts';
import { type SessionResult, whileHeld } from '../transfer/session.ts';

export interface BackupJobOptions extends PlugInJobOptions {
  readonly archive: Archive;
  /** Backups of other stations. */
  readonly stations?: OtherStations | undefined;
  readonly full: boolean;
  /** Why the backup is made. */
  readonly reason: Reason;
  /** Back up a half restored board as it is. */
  readonly allowHalfRestored: boolean;
  /** Boards that other jobs work on right now: two ports never serve one MAC. */
  readonly busyMacs: Set<Mac>;
  /** Asked as soon as the board has said who it is: null = it is due, else why it is let go at once. */
  readonly whyNotDue: (mac: Mac) => Promise<string | null>;
}

/** Of a board that was let go as soon as it had said who it is. */
export interface NotDue {
  readonly notDue: string;
}

/**
 * The backup is kept once the board has been released; its MAC stays busy until then.
 * @throws EspdError whatever went wrong; `interrupted` or the reason of the signal when it was aborted
 */
export async function runBackupJob(
  port: PortInfo,
  options: BackupJobOptions,
): Promise<SessionResult<BackupOutcome | NotDue>> {
  const { archive, full, busyMacs, whyNotDue, reason, allowHalfRestored, stations } = options;
  let claimed: Mac | undefined;
  try {
    const result = await workOnPlugIn(port, options, async (session) => {
      const { mac } = session.board.identity;
      if (busyMacs.has(mac) && claimed !== mac) {
        throw new EspdError('port-busy', `${mac} is being worked on at another port`, {
          hint: 'Two boards answer with the same MAC, or one board is attached twice',
        });
      }
      busyMacs.add(mac);
      claimed = mac;
      const notDue = await whileHeld(session, whyNotDue(mac));
      if (notDue !== null) return { notDue };
      return readFlash(session, { archive, full, reason, allowHalfRestored, stations });
    });
    const { value } = result;
    return { ...result, value: 'notDue' in value ? value : await value.keep() };
  } finally {
    if (claimed !== undefined) busyMacs.delete(claimed);
  }
}
