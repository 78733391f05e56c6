/** `espd list`: what boards the archive holds. */

import { type ChipChangeSince, chipChangeText } from '../archive/chip-change.ts';
import type { HalfRestored } from '../archive/restore-record.ts';
import type { Backup, BoardOverview } from '../archive/types.ts';
import { EspdError } from '../errors.ts';
import type { Mac } from '../mac.ts';
import { type EspdCall, finishCommand } from '../transfer/finish-command.ts';
import { halfRestoredText } from '../transfer/half-restored.ts';
import { expectedBackup } from '../transfer/meant-backup.ts';
import { noteForeign, noteProblems, problemJson } from './archive-notes.ts';
import type { CommandContext } from './context.ts';
import { formatSize, plural, printable } from './text.ts';

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

/** What should be on a board that was restored; its newest backup where that cannot be told. */
export async function heldBy(
  { archive, signal }: CommandContext,
  { mac, newest }: Pick<BoardOverview, 'mac' | 'newest'>,
): Promise<Backup | null> {
  signal.throwIfAborted();
  try {
    return await expectedBackup(archive, mac);
  } catch (error) {
    if (!(error instanceof EspdError)) throw error;
    return newest;
  }
}

/** Why a row has neither chip nor size. */
function reasonFor({ backups, halfRestored }: { backups: number; halfRestored: object | null }): string {
  if (backups > 0) return 'no backup that can be read: see below';
  return halfRestored === null ? 'no backup yet: the first was interrupted' : 'no backup; half restored: see below';
}

/** A board as it stands in JSON documents. */
export function boardJson(
  board: {
    readonly mac: Mac;
    readonly ids: readonly string[];
    /** The newest that looks sound. */
    readonly newest: Backup | null;
    /** What is on the board, as far as the archive knows. */
    readonly onIt: Backup | null;
    readonly chipChange: ChipChangeSince | null;
    readonly seenAt: readonly string[];
    readonly halfRestored: HalfRestored | null;
  },
  call: EspdCall,
) {
  const { mac, ids, newest, onIt, chipChange, seenAt, halfRestored } = board;
  const moments = newest === null ? seenAt : [newest.manifest.createdAt, ...seenAt];
  return {
    mac,
    label: null,
    chip: newest?.manifest.chip.name ?? null,
    sizeBytes: newest?.manifest.flash.sizeBytes ?? null,
    backups: ids.length,
    first: ids[0] ?? null,
    latest: ids.at(-1) ?? null,
    lastSeen: moments.toSorted().at(-1) ?? null,
    firmware: onIt === null ? null : firmwareText(onIt),
    chipChange,
    halfRestored: halfRestored === null ? null : halfRestoredJson(halfRestored, call),
  };
}

/** Of a record that cannot be read, only that it is there. */
function halfRestoredJson({ record, problem }: HalfRestored, call: EspdCall): object {
  if (record === null) return { from: null, startedAt: null, why: null, parts: null, snapshot: null, problem };
  const { from, startedAt, why, parts, snapshot } = record;
  return { from, startedAt, why, parts, snapshot, finish: finishCommand(record, call) };
}

export function firmwareText({ manifest }: Backup): string | null {
  const { firmware } = manifest.contents;
  return firmware === null ? null : printable([firmware.name, firmware.version ?? ''].join(' ').trim());
}
