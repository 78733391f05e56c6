/** The history of one board, as `show` and the API tell it. */

import { type ChipChangeSince, chipChanges } from '../archive/chip-change.ts';
import { elsewhereGlance } from '../archive/elsewhere/places.ts';
import { contendersFor, nameOf } from '../archive/elsewhere/same-id.ts';
import type { StoredBackup } from '../archive/elsewhere/types.ts';
import type { Removal } from '../archive/marks/events.ts';
import type { BoardMarks } from '../archive/marks/marks.ts';
import type { CompletedRestore } from '../archive/restores.ts';
import type { Archive, Backup, BoardHistory } from '../archive/types.ts';
import { EspdError } from '../errors.ts';
import type { Mac } from '../mac.ts';
import { meantBackup } from '../transfer/meant-backup.ts';
import { type DocumentParts, boardJson, heldBy, newestOf } from './board.ts';
import { problemJson } from './problem.ts';

/** What is known of a board, gathered once for all that is told of it. */
export interface GatheredHistory {
  readonly mac: Mac;
  readonly history: BoardHistory;
  /** Those that are asked for, oldest first. */
  readonly backups: readonly Backup[];
  /** Backups of another chip than the one before, by id. */
  readonly changes: ReadonlyMap<string, ChipChangeSince>;
  readonly summary: ReturnType<typeof boardJson>;
  /** `problem`: why the restores cannot be told. */
  readonly restores: { readonly list: readonly CompletedRestore[]; readonly problem: string | null };
  /** Backups that were removed, oldest first. */
  readonly removed: readonly Removal[];
}

/**
 * @param which undefined = all backups of the board
 * @throws EspdError `archive-unknown-board`, and as {@link meantBackup}
 */
export async function gatherHistory(
  parts: DocumentParts,
  mac: Mac,
  which: string | undefined,
): Promise<GatheredHistory> {
  const { archive, call } = parts;
  const history = await archive.history(mac);
  const backups = which === undefined ? history.backups : [await meantBackup(archive, mac, which)];
  const changes = chipChanges(history.backups);
  const newest = history.backups.at(-1) ?? null;
  const { about } = history.marks;
  const elsewhere = elsewhereGlance(idsIn(history), allStored(history));
  const summary = boardJson(
    {
      about,
      ...{ mac, newest, ids: idsIn(history), halfRestored: history.halfRestored, elsewhere },
      onIt: await heldBy(parts, { mac, newest: newestOf({ newest, elsewhere }) }),
      chipChange: changes.get(newest?.id ?? '') ?? null,
      seen: history.sightings,
    },
    call,
  );
  const restores = await restoresOf(archive, mac);
  return { mac, history, backups, changes, summary, restores, removed: removalsOf(history) };
}

/** The document of `show --json`. */
export function historyJson({ history, backups, changes, summary, restores, removed }: GatheredHistory) {
  return {
    board: summary,
    backups: backups.map((backup) => backupJson(backup, history, changes.get(backup.id) ?? null)),
    elsewhere: history.elsewhere.map((stored) => elsewhereJson(stored, history)),
    removed,
    restores: restores.list,
    problems: history.problems.map(problemJson),
    foreign: history.foreign,
  };
}

async function restoresOf(archive: Archive, mac: Mac): Promise<GatheredHistory['restores']> {
  try {
    return { list: await archive.restores(mac), problem: null };
  } catch (error) {
    if (!(error instanceof EspdError)) throw error;
    return { list: [], problem: error.message };
  }
}

function allStored({ elsewhere, stored }: BoardHistory): StoredBackup[] {
  return [...elsewhere, ...stored.values()].sort((a, b) => (a.id < b.id ? -1 : Number(a.id > b.id)));
}

/** What stands in the board's folder by name, sound or not. */
function idsIn({ backups, problems }: BoardHistory): string[] {
  const ids = [...backups.map(({ id }) => id), ...problems.flatMap(({ id }) => id ?? [])];
  return [...new Set(ids)].sort();
}

/** Backups that were removed, oldest first. One that is there was not, whatever is noted of it. */
function removalsOf(history: BoardHistory): Removal[] {
  const there = new Set(idsIn(history));
  const last = new Map(history.marks.removals.map((removal) => [removal.id, removal]));
  return [...last.values()].filter(({ id }) => !there.has(id)).sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** What a backup that is not here is called, behind its board's `@`. */
export function nameElsewhere(stored: StoredBackup, history: BoardHistory): string {
  const isHere = idsIn(history).includes(stored.id);
  return nameOf(stored, !isHere && contendersFor(stored.id, allStored(history))[0]?.folder === stored.folder);
}

/** A backup that lies in a store, and not here. */
function elsewhereJson(stored: StoredBackup, history: BoardHistory) {
  const { id, manifest, station, store, folder } = stored;
  const { backups, marks } = history;
  const { image, createdAt, reason, chip, flash, contents } = manifest;
  const pin = marks.pins.find((each) => each.id === id);
  return {
    ...{ id, station, store, folder, sha256: image.sha256, sizeBytes: image.sizeBytes, createdAt, reason },
    pinned: pin === undefined ? null : { at: pin.at, note: pin.note },
    ...{ chip, flash, firmware: contents.firmware },
    // Another backup is here under this id.
    isTaken: backups.some((backup) => backup.id === id),
    name: nameElsewhere(stored, history),
  };
}

function backupJson(backup: Backup, history: BoardHistory, chipChange: ChipChangeSince | null): object {
  const { sightings, marks } = history;
  const { image, createdBy, ...manifest } = backup.manifest;
  const pin = marks.pins.find(({ id }) => id === backup.id);
  return {
    id: backup.id,
    path: backup.path,
    sha256: image.sha256,
    sizeBytes: image.sizeBytes,
    createdAt: manifest.createdAt,
    createdBy,
    reason: manifest.reason,
    pinned: pin === undefined ? null : { at: pin.at, note: pin.note },
    confirmed: manifest.confirmed ?? laterConfirmation(backup, marks),
    chipChange,
    chip: manifest.chip,
    flash: manifest.flash,
    security: manifest.security,
    firmware: manifest.contents.firmware,
    partitions: manifest.contents.partitions,
    source: manifest.source,
    transfer: manifest.transfer,
    stored: storedJson(history.stored.get(backup.id)),
    seenUnchanged: sightings.filter((sighting) => sighting.id === backup.id).map((sighting) => sighting.at),
  };
}

function storedJson(stored: StoredBackup | undefined) {
  return stored === undefined ? null : { station: stored.station, store: stored.store, folder: stored.folder };
}

/** The chip that gave the digest of an image from elsewhere; null while none has. */
export function laterConfirmation({ id, manifest }: Backup, { confirmations }: BoardMarks) {
  return confirmations.findLast((one) => one.id === id && one.md5 === manifest.image.md5) ?? null;
}
