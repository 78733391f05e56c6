/** The board that is attached, in the words of a manifest: for a comparison with those that the archive holds. */

import { type ChipChangeSince, type ChipFacts, chipChange } from '../archive/chip-change.ts';
import type { Backup } from '../archive/types.ts';
import type { Board } from '../esp/board.ts';
import type { JedecId } from '../esp/spi-flash.ts';

/** @param efuses default: the words that were read so far */
export function attachedChip(board: Board, flash: JedecId, efuses: ChipFacts['efuses'] = board.knownEfuses): ChipFacts {
  const { family, revision } = board.identity;
  const { manufacturer, device } = flash;
  return { chip: { family, revision }, flash: { manufacturer, device }, efuses };
}

/** What says that `backup` was taken of another chip; null where nothing does, and for no backup. */
export function changedSince(
  backup: Pick<Backup, 'id' | 'manifest'> | undefined,
  now: ChipFacts,
): ChipChangeSince | null {
  const change = backup === undefined ? null : chipChange(backup.manifest, now);
  return backup === undefined || change === null ? null : { ...change, since: backup.id };
}
