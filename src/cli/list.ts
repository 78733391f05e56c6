/** `espd list`: the boards of the archive. */

import { chipChangeText } from '../archive/chip-change.ts';
import { halfRestoredText } from '../transfer/half-restored.ts';
import { noteForeign, noteProblems, problemJson } from './archive-notes.ts';
import { boardJson, heldBy } from './board-summary.ts';
import type { CommandContext } from './context.ts';
import { formatSize, plural } from './text.ts';

/** So many boards between two looks at the line of progress. */
const PROGRESS_STEP = 64;

export async function list(context: CommandContext): Promise<undefined> {
  const { archive, out, signal } = context;
  const onProgress = (done: number, of: number) => {
    if (done % PROGRESS_STEP === 0) out.status(`Reading the archive: ${done} of ${plural(of, 'board')}`);
  };
  const overview = await archive.overview({ signal, onProgress }).finally(() => out.status(''));
  const found = [...overview.problems, ...overview.boards.flatMap(({ problems }) => problems)];
  const strangers = [...overview.foreign, ...overview.boards.flatMap(({ foreign }) => foreign)];
  const boards: ReturnType<typeof boardJson>[] = [];
  for (const board of overview.boards) {
    const seenAt = board.seen === null ? [] : [board.seen.at];
    const onIt = board.wasRestored ? await heldBy(context, board) : board.newest;
    boards.push(boardJson({ ...board, onIt, seenAt }, context.call));
  }
  const unfinished = overview.boards.flatMap(({ mac, halfRestored }) =>
    halfRestored === null ? [] : [halfRestoredText(mac, halfRestored, context.call)],
  );
  out.document({ boards, problems: found.map(problemJson), foreign: strangers });
  if (boards.length === 0) out.line(`No backups yet in ${archive.root}`);
  else {
    const heading = ['MAC', 'CHIP', 'SIZE', 'BACKUPS', 'LAST SEEN', 'FIRMWARE'];
    const rows = boards.map((board) => [
      board.mac,
      board.chip ?? '?',
      board.sizeBytes === null ? '?' : formatSize(board.sizeBytes),
      String(board.backups),
      // The day (UTC) is short enough for a table, and what --at takes.
      board.lastSeen?.slice(0, '2026-11-23'.length) ?? '-',
      board.chip === null ? reasonFor(board) : (board.firmware ?? '-'),
    ]);
    out.table([heading, ...rows]);
  }
  for (const { mac, chipChange } of overview.boards) {
    if (chipChange !== null) out.line(`${mac}: ${chipChangeText(chipChange)}`);
  }
  for (const { message, hint } of unfinished) {
    out.line(message);
    out.line(`  ${hint}`);
  }
  noteProblems(out, found);
  noteForeign(out, strangers);
  return undefined;
}

/** Why a row has neither chip nor size. */
function reasonFor({ backups, halfRestored }: { backups: number; halfRestored: object | null }): string {
  if (backups > 0) return 'no backup that can be read: see below';
  return halfRestored === null ? 'no backup yet: the first was interrupted' : 'no backup; half restored: see below';
}
