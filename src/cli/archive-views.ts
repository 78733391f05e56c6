/** `espd list` and `espd show`: what the archive holds. */

import { type ChipChangeSince, chipChangeText, chipChanges } from '../archive/chip-change.ts';
import type { HalfRestored } from '../archive/restore-record.ts';
import type { Backup, BoardHistory, BoardOverview } from '../archive/types.ts';
import { EspdError } from '../errors.ts';
import type { Mac } from '../mac.ts';
import { type EspdCall, finishCommand } from '../transfer/finish-command.ts';
import { halfRestoredText } from '../transfer/half-restored.ts';
import { expectedBackup, meantBackup } from '../transfer/meant-backup.ts';
import { noteForeign, noteProblems, problemJson } from './archive-notes.ts';
import type { CommandContext } from './context.ts';
import { SIZE_TOLD, bold, dim, formatSize, plural, printable } from './text.ts';

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
async function heldBy(
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

/** @param which undefined = all backups of the board */
export async function show(context: CommandContext, board: string, which: string | undefined): Promise<undefined> {
  const { archive, out } = context;
  const mac = await archive.resolveBoard(board);
  const history = await archive.history(mac);
  const backups = which === undefined ? history.backups : [await meantBackup(archive, mac, which)];
  const changes = chipChanges(history.backups);
  const newest = history.backups.at(-1);
  const summary = boardJson(
    {
      mac,
      ids: idsIn(history),
      newest: newest ?? null,
      onIt: await heldBy(context, { mac, newest: newest ?? null }),
      chipChange: changes.get(newest?.id ?? '') ?? null,
      seenAt: history.sightings.map(({ at }) => at),
      halfRestored: history.halfRestored,
    },
    context.call,
  );
  const notes: string[] = [];
  const restores = await archive.restores(mac).catch((error: unknown) => {
    if (!(error instanceof EspdError)) throw error;
    notes.push(error.message);
    return [];
  });
  out.document({
    board: summary,
    backups: backups.map((backup) => backupJson(backup, history, changes.get(backup.id) ?? null)),
    restores,
    problems: history.problems.map(problemJson),
    foreign: history.foreign,
  });
  out.line(bold(`${mac}  ${summary.chip ?? ''}`));
  if (history.halfRestored !== null) {
    const { message, hint } = halfRestoredText(mac, history.halfRestored, context.call);
    out.line(`  ${message}`);
    out.line(`  ${hint}`);
  }
  for (const backup of backups) {
    printBackup(context, backup, history, which !== undefined || backup === backups.at(-1));
    const change = changes.get(backup.id);
    if (change !== undefined) out.line(`    ${chipChangeText(change)}`);
  }
  for (const { at, from, snapshot, partial } of restores.slice(-5)) {
    const what = `${partial ? 'a part of ' : ''}${from.id}${from.mac === mac ? '' : ` of ${from.mac}`}`;
    out.line(`  restored ${at}: ${what}${snapshot === null ? '' : `; before it: ${snapshot}`}`);
  }
  for (const note of notes) out.note(`problem: ${note}`);
  noteProblems(out, history.problems);
  noteForeign(out, history.foreign);
  return undefined;
}

/** What stands in the board's folder by name, sound or not. */
function idsIn({ backups, problems }: BoardHistory): string[] {
  const ids = [...backups.map(({ id }) => id), ...problems.flatMap(({ id }) => id ?? [])];
  return [...new Set(ids)].sort();
}

function boardJson(
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

function backupJson(backup: Backup, { sightings }: BoardHistory, chipChange: ChipChangeSince | null): object {
  const { image, createdBy, ...manifest } = backup.manifest;
  return {
    id: backup.id,
    path: backup.path,
    sha256: image.sha256,
    sizeBytes: image.sizeBytes,
    createdAt: manifest.createdAt,
    createdBy,
    chipChange,
    chip: manifest.chip,
    flash: manifest.flash,
    security: manifest.security,
    firmware: manifest.contents.firmware,
    partitions: manifest.contents.partitions,
    source: manifest.source,
    transfer: manifest.transfer,
    seenUnchanged: sightings.filter((sighting) => sighting.id === backup.id).map((sighting) => sighting.at),
  };
}

function printBackup({ out }: CommandContext, backup: Backup, { sightings }: BoardHistory, detailed: boolean): void {
  const { manifest } = backup;
  const seen = sightings.filter((sighting) => sighting.id === backup.id).at(-1);
  out.line('  ', bold(backup.id), `  ${formatSize(manifest.image.sizeBytes)}  ${firmwareText(backup) ?? ''}`.trimEnd());
  out.line(dim(`    sha256 ${manifest.image.sha256}`));
  if (seen !== undefined) out.line(dim(`    seen unchanged ${seen.at}`));
  if (manifest.flash.aliasedAtBytes !== null) {
    out.line(
      `    the flash repeats itself from ${formatSize(manifest.flash.aliasedAtBytes)} on: it is smaller than it claims`,
    );
  }
  if (manifest.flash.sizeFrom === 'person') out.line(`    ${SIZE_TOLD}`);
  if (manifest.security?.flashEncryption === true) out.line('    encrypted: restorable only to this very chip');
  if (!detailed || manifest.contents.partitions.length === 0) return;
  const rows = manifest.contents.partitions.map((partition) => [
    printable(partition.name),
    `${partition.type}/${partition.subtype}`,
    `0x${partition.offset.toString(16)}`,
    formatSize(partition.sizeBytes),
  ]);
  out.table([['PARTITION', 'TYPE', 'OFFSET', 'SIZE'], ...rows], '    ');
}

function firmwareText({ manifest }: Backup): string | null {
  const { firmware } = manifest.contents;
  return firmware === null ? null : printable([firmware.name, firmware.version ?? ''].join(' ').trim());
}
