/** What is said of one board: by `list`, `show` and the API alike. */

import type { ChipChangeSince } from '../archive/chip-change.ts';
import type { BoardAbout } from '../archive/marks/marks.ts';
import type { HalfRestored } from '../archive/restore-record.ts';
import { type ElsewhereGlance, allIds } from '../archive/elsewhere/places.ts';
import type { Archive, BackupGlance, BoardOverview, Sighting } from '../archive/types.ts';
import { EspdError } from '../errors.ts';
import type { Mac } from '../mac.ts';
import { type EspdCall, finishCommand } from '../transfer/finish-command.ts';
import { expectedBackup } from '../transfer/meant-backup.ts';
import { printable } from '../printable.ts';

/** Of a backup, here or in a store, what is told of it in short. */
export type Told = Pick<BackupGlance, 'id' | 'manifest'>;

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
  { mac, newest }: { readonly mac: Mac; readonly newest: Told | null },
): Promise<Told | null> {
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
    readonly onIt: Told | null;
    readonly chipChange: ChipChangeSince | null;
    readonly seen: readonly Pick<Sighting, 'at' | 'station'>[];
    readonly elsewhere: ElsewhereGlance | null;
    readonly halfRestored: HalfRestored | null;
    readonly about: BoardAbout;
  },
  call: EspdCall,
) {
  const { mac, onIt, chipChange, halfRestored, about, elsewhere } = board;
  const ids = allIds(board.ids, elsewhere);
  const newest = newestOf(board);
  const last = lastSeenOf(board);
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
    lastSeen: last?.at ?? null,
    lastSeenBy: last?.station ?? null,
    places: elsewhere === null ? null : placesJson(board.ids.length, elsewhere),
    firmware: onIt === null ? null : firmwareText(onIt),
    chipChange,
    halfRestored: halfRestored === null ? null : halfRestoredJson(halfRestored, call),
  };
}

/** Of all that is known, here and in a store. */
export function newestOf({ newest, elsewhere }: Pick<BoardOverview, 'newest' | 'elsewhere'>): Told | null {
  return elsewhere?.newest ?? newest;
}

function lastSeenOf(
  board: Pick<BoardOverview, 'newest' | 'elsewhere'> & { readonly seen: readonly Pick<Sighting, 'at' | 'station'>[] },
): Pick<Sighting, 'at' | 'station'> | undefined {
  const newest = newestOf(board);
  const station = board.elsewhere?.station;
  const made = newest && { at: newest.manifest.createdAt, ...(station ? { station } : {}) };
  const moments = [...(made === null ? [] : [made]), ...board.seen];
  return moments.sort((a, b) => (a.at < b.at ? -1 : Number(a.at > b.at))).at(-1);
}

/** How many backups lie where; those that lie in both places count for each. */
function placesJson(here: number, { ids, alsoHere }: ElsewhereGlance) {
  return { here, store: ids.length + alsoHere, both: alsoHere };
}

/** A board at a glance, as `list --json` has it. */
export async function overviewJson(parts: DocumentParts, overview: BoardOverview) {
  const { mac, seen, wasRestored } = overview;
  const newest = newestOf(overview);
  const onIt = wasRestored ? await heldBy(parts, { mac, newest }) : newest;
  return { json: boardJson({ ...overview, onIt, seen: seen === null ? [] : [seen] }, parts.call), onIt };
}

/** Of a record that cannot be read, only that it is there. */
function halfRestoredJson(half: HalfRestored, call: EspdCall): object {
  const { record, problem } = half;
  if (record === null) return { from: null, startedAt: null, why: null, parts: null, snapshot: null, problem };
  const { from, startedAt, why, parts, snapshot } = record;
  const station = half.station === undefined ? {} : { station: half.station };
  return { from, startedAt, why, parts, snapshot, ...station, finish: finishCommand(record, call) };
}

export function firmwareText({ manifest }: Told): string | null {
  const { firmware } = manifest.contents;
  return firmware === null ? null : printable([firmware.name, firmware.version ?? ''].join(' ').trim());
}
