/** What is said of one board: by `list`, `show` and the API alike. */

import type { ChipChangeSince } from '../archive/chip-change.ts';
import type { BoardAbout } from '../archive/marks/marks.ts';
import type { HalfRestored } from '../archive/restore-record.ts';
import type { Archive, BackupGlance, BoardOverview } from '../archive/types.ts';
import { EspdError } from '../errors.ts';
import type { Mac } from '../mac.ts';
import { type EspdCall, finishCommand } from '../transfer/finish-command.ts';
import { expectedBackup } from '../transfer/meant-backup.ts';
import { printable } from '../printable.ts';

/** Where documents come from. */
export interface DocumentParts {
  readonly archive: Archive;
  /** How espd was called, for commands that documents name. */
  readonly call: EspdCall;
  readonly signal: AbortSignal;
}

/** What should be on a board that was restored; its newest backup where that cannot be told. */
export async function heldBy(
  { archive, signal }: Pick<DocumentParts, 'archive' | 'signal'>,
  { mac, newest }: Pick<BoardOverview, 'mac' | 'newest'>,
): Promise<BackupGlance | null> {
  signal.throwIfAborted();
  try {
    return await expectedBackup(archive, mac);
  } catch (error) {
    if (!(error instanceof EspdError)) throw error;
    return newest;
  }
}

export function boardJson(
  board: {
    readonly mac: Mac;
    readonly ids: readonly string[];
    /** The newest that looks sound. */
    readonly newest: BackupGlance | null;
    /** What is on the board, as far as the archive knows. */
    readonly onIt: BackupGlance | null;
    readonly chipChange: ChipChangeSince | null;
    readonly seenAt: readonly string[];
    readonly halfRestored: HalfRestored | null;
    readonly about: BoardAbout;
  },
  call: EspdCall,
) {
  const { mac, ids, newest, onIt, chipChange, seenAt, halfRestored, about } = board;
  const moments = newest === null ? seenAt : [newest.manifest.createdAt, ...seenAt];
  return {
    mac,
    label: about.label,
    note: about.note,
    group: about.group,
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

/** A board at a glance, as `list --json` has it. */
export async function overviewJson(parts: DocumentParts, overview: BoardOverview) {
  const { newest, seen, wasRestored } = overview;
  const onIt = wasRestored ? await heldBy(parts, overview) : newest;
  const seenAt = seen === null ? [] : [seen.at];
  return { json: boardJson({ ...overview, onIt, seenAt }, parts.call), onIt };
}

/** Of a record that cannot be read, only that it is there. */
function halfRestoredJson({ record, problem }: HalfRestored, call: EspdCall): object {
  if (record === null) return { from: null, startedAt: null, why: null, parts: null, snapshot: null, problem };
  const { from, startedAt, why, parts, snapshot } = record;
  return { from, startedAt, why, parts, snapshot, finish: finishCommand(record, call) };
}

export function firmwareText({ manifest }: BackupGlance): string | null {
  const { firmware } = manifest.contents;
  return firmware === null ? null : printable([firmware.name, firmware.version ?? ''].join(' ').trim());
}
