/** What a board goes back to by `espd undo`: what was on it before the last restore, or before the last change. Pure. */

import { idToDate } from './ids.ts';
import type { CompletedRestore } from './restores.ts';

/** A backup as far as it tells one content from another. */
export interface PastBackup {
  readonly id: string;
  /** Of the image; null where the backup cannot be understood, so that nothing is known of its content. */
  readonly sha256: string | null;
}

/**
 * `restore`: the last restore on record is undone; `since` are backups that were made after it, oldest first. `change`:
 * there is no restore on record, and `changed` is the first backup of what is on the board now, as far as is known.
 * `not-kept`, `gone`: what was there before that restore was not kept, or is no longer in the archive. `damaged`: nothing
 * is known of the content of the newest backup. `nothing`: no two backups differ.
 */
export type UndoChoice =
  | { readonly kind: 'restore'; readonly id: string; readonly of: CompletedRestore; readonly since: readonly string[] }
  | { readonly kind: 'change'; readonly id: string; readonly changed: string }
  | { readonly kind: 'not-kept'; readonly of: CompletedRestore }
  | { readonly kind: 'gone'; readonly id: string; readonly of: CompletedRestore }
  | { readonly kind: 'damaged'; readonly id: string }
  | { readonly kind: 'nothing'; readonly backups: number };

/**
 * A restore on record is always what is undone, whatever was backed up since: after a restore the app writes its
 * settings, and the next plug-in makes a backup of that, which is no change that anybody would want to undo. An undo is
 * a restore itself, so a second one undoes the first.
 *
 * @param backups of the board, oldest first, sound or not. Where a restore is on record only their ids count; else the
 *   oldest ones may be missing, as long as one is there that differs from the newest
 * @param restores of the board that are done, oldest first
 */
export function undoChoice(backups: readonly PastBackup[], restores: readonly CompletedRestore[]): UndoChoice {
  const of = restores.at(-1);
  if (of !== undefined) return undoOfRestore(backups, of);
  const newest = backups.at(-1);
  if (newest === undefined) return { kind: 'nothing', backups: 0 };
  if (newest.sha256 === null) return { kind: 'damaged', id: newest.id };
  // One that cannot be understood is never passed over: it may be the one that is meant.
  const at = backups.findLastIndex(({ sha256 }) => sha256 !== newest.sha256);
  const [before, changed] = [backups[at], backups[at + 1]];
  if (before === undefined || changed === undefined) return { kind: 'nothing', backups: backups.length };
  return { kind: 'change', id: before.id, changed: changed.id };
}

function undoOfRestore(backups: readonly PastBackup[], of: CompletedRestore): UndoChoice {
  const { snapshot: id } = of;
  if (id === null) return { kind: 'not-kept', of };
  if (!backups.some((backup) => backup.id === id)) return { kind: 'gone', id, of };
  const madeAfter = (backup: PastBackup) => (idToDate(backup.id)?.getTime() ?? 0) > Date.parse(of.at);
  const since = backups.filter((backup) => backup.id !== id && madeAfter(backup));
  return { kind: 'restore', id, of, since: since.map((backup) => backup.id) };
}
