/**
 * A backup that the chip has confirmed and the archive has not got yet. Everything that only the disk is needed for
 * happens here: the board runs its app again meanwhile.
 */

import type { ChipChangeSince } from '../archive/chip-change.ts';
import type { Archive, Backup, Draft, Sighting } from '../archive/types.ts';
import { type SessionFacts, type TransferReport, manifestOf } from './backup-manifest.ts';

export interface BackupOutcome {
  readonly backup: Backup;
  /** The board equals `backup`, which was there before: nothing was added but a sighting. */
  readonly unchanged: boolean;
  readonly transfer: TransferReport;
  /** The newest backup before this one is of another chip or another flash chip; null where nothing says so. */
  readonly chipChange: ChipChangeSince | null;
  /** The newest backup before this one that can be read; of an unchanged board that is `backup`. */
  readonly before: Backup | null;
  /** The archive had nothing of this board. */
  readonly isFirst: boolean;
}

/** What the archive had of the board, and how its chip differs from that. */
export interface Past {
  readonly chipChange: ChipChangeSince | null;
  readonly before: Backup | null;
  readonly isFirst: boolean;
}

export interface UnkeptBackup {
  /**
   * Puts it on the disk; to be called once, whatever the signal of the session says by then: what was read is proven,
   * and the board does not wait. Until it has settled, no other job may begin for the same MAC.
   * @throws EspdError of the archive: see `commit` of {@link Draft} and {@link Archive.recordSighting}
   */
  keep(): Promise<BackupOutcome>;
}

/** The flash is in the draft, confirmed by the chip. */
export function newBackup(draft: Draft, facts: SessionFacts, transfer: TransferReport, past: Past): UnkeptBackup {
  return {
    async keep() {
      let content;
      try {
        content = await manifestOf(facts, draft);
      } catch (error) {
        await draft.setAside();
        throw error;
      }
      const backup = await draft.commit(content);
      return { backup, unchanged: false, transfer, ...past };
    },
  };
}

/**
 * The flash equals a backup that is sound: by the chip's digest of all of it, and by its files.
 *
 * @param draft where the same image was put together before that was known
 */
export function sameAs(
  backup: Backup,
  seen: {
    readonly archive: Archive;
    readonly sighting: Sighting;
    readonly draft: Draft | undefined;
  },
  transfer: TransferReport,
): UnkeptBackup {
  return {
    async keep() {
      await seen.draft?.discard();
      await seen.archive.recordSighting(backup.mac, seen.sighting);
      return { backup, unchanged: true, transfer, chipChange: null, before: backup, isFirst: false };
    },
  };
}
