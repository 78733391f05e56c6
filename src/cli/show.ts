/** `espd show`: the backups of one board, why they were made, what is noted of them, and the flash as a map. */

import { chipChangeText } from '../archive/chip-change.ts';
import type { StoredBackup } from '../archive/elsewhere/types.ts';
import type { Removal } from '../archive/marks/events.ts';
import { isConfirmed } from '../archive/marks/marks.ts';
import { stationText } from '../archive/station-text.ts';
import type { Backup, BoardHistory } from '../archive/types.ts';
import { firmwareText } from '../documents/board.ts';
import { gatherHistory, historyJson, laterConfirmation, nameElsewhere } from '../documents/history.ts';
import type { Mac } from '../mac.ts';
import { commandLine } from '../transfer/finish-command.ts';
import { halfRestoredText } from '../transfer/half-restored.ts';
import { noteForeign, noteProblems } from './archive-notes.ts';
import type { CommandContext } from './context.ts';
import { mapLines } from './map-text.ts';
import { SIZE_TOLD, bold, dim, formatSize, plural, printable } from './text.ts';

export interface ShowCommandOptions {
  /** Lists the backups that were removed; else they are counted. */
  readonly removed: boolean;
}

/** @param which undefined = all backups of the board */
export async function show(
  context: CommandContext,
  board: string,
  which: string | undefined,
  options: ShowCommandOptions,
): Promise<undefined> {
  const { archive, out } = context;
  const mac = await archive.resolveBoard(board);
  const gathered = await gatherHistory(context, mac, which);
  const { backups, changes, history, removed, restores, summary } = gathered;
  const { strangePinLines } = history.marks;
  out.document(historyJson(gathered));
  printBoard(context, mac, summary.chip, history);
  const stations = new Set([...history.elsewhere, ...history.stored.values()].map(({ station }) => station));
  for (const backup of backups) {
    const change = changes.get(backup.id);
    printBackup(context, backup, history, stations);
    if (change !== undefined) out.line(`    ${chipChangeText(change)}`);
    if (which !== undefined || backup === backups.at(-1)) printFlash(context, backup, history);
  }
  if (which === undefined) for (const each of history.elsewhere) printElsewhere(context, each, history, stations);
  for (const { at, from, snapshot, partial } of restores.list.slice(-5)) {
    const what = `${partial ? 'a part of ' : ''}${from.id}${from.mac === mac ? '' : ` of ${from.mac}`}`;
    out.line(`  restored ${at}: ${what}${snapshot === null ? '' : `; before it: ${snapshot}`}`);
  }
  printRemoved(context, mac, removed, options);
  if (restores.problem !== null) out.note(`problem: ${restores.problem}`);
  if (strangePinLines.length > 0) {
    out.note(`problem: of pins.jsonl ${plural(strangePinLines.length, 'line')} cannot be understood`);
  }
  noteProblems(out, history.problems);
  noteForeign(out, history.foreign);
  return undefined;
}

function printBoard({ out, call }: CommandContext, mac: Mac, chip: string | null, history: BoardHistory): void {
  const { label, group, note } = history.marks.about;
  const names = [...(label === null ? [] : [`"${label}"`]), ...(group === null ? [] : [`group ${group}`])];
  out.line(bold([mac, chip ?? '', ...names].join('  ').trimEnd()));
  if (note !== null) out.paragraph(`  ${note}`, '  ');
  if (history.halfRestored === null) return;
  const { message, hint } = halfRestoredText(mac, history.halfRestored, call);
  out.line(`  ${message}`);
  out.line(`  ${hint}`);
}

/** A backup that lies in the store, and not here. */
function printElsewhere(
  { out, call }: CommandContext,
  stored: StoredBackup,
  history: BoardHistory,
  stations: ReadonlySet<string>,
): void {
  const { mac, id, manifest, station } = stored;
  out.line('  ', bold(id), `  ${formatSize(manifest.image.sizeBytes)}  ${firmwareText(stored) ?? ''}`.trimEnd());
  const pin = history.marks.pins.find((each) => each.id === id);
  if (pin !== undefined) out.line(`    pinned${pin.note === null ? '' : `: ${pin.note}`}`);
  out.line(`    in the store only, by ${stationText(station, stations)}`);
  out.line(dim(`    sha256 ${manifest.image.sha256}`));
  const name = nameElsewhere(stored, history);
  if (name !== id) out.line(`    another station has made another backup in that second: this one is called ${name}`);
  out.line(dim(`    fetch it: ${commandLine(call, 'pull', `${mac}@${name}`)}`));
}

function printBackup(
  { out }: CommandContext,
  backup: Backup,
  { sightings, marks, stored }: BoardHistory,
  stations: ReadonlySet<string>,
): void {
  const { manifest } = backup;
  const copy = stored.get(backup.id);
  const seen = sightings.filter((sighting) => sighting.id === backup.id).at(-1);
  out.line('  ', bold(backup.id), `  ${formatSize(manifest.image.sizeBytes)}  ${firmwareText(backup) ?? ''}`.trimEnd());
  const pin = marks.pins.find(({ id }) => id === backup.id);
  if (pin !== undefined) out.line(`    pinned${pin.note === null ? '' : `: ${pin.note}`}`);
  const reason = reasonText(backup);
  if (reason !== null) out.line(`    ${reason}`);
  if (manifest.confirmed === null) {
    const later = laterConfirmation(backup, marks);
    const told =
      isConfirmed(backup, marks) && later !== null ? `the chip confirmed it ${later.at}` : 'confirmed by no chip';
    out.line(`    ${told}`);
  }
  out.line(dim(`    sha256 ${manifest.image.sha256}`));
  if (seen !== undefined) {
    const by = seen.station === undefined ? '' : ` by ${stationText(seen.station, stations)}`;
    out.line(dim(`    seen unchanged ${seen.at}${by}`));
  }
  if (copy !== undefined) out.line(dim(`    here and in the store, by ${stationText(copy.station, stations)}`));
  if (manifest.flash.aliasedAtBytes !== null) {
    out.line(
      `    the flash repeats itself from ${formatSize(manifest.flash.aliasedAtBytes)} on: it is smaller than it claims`,
    );
  }
  if (manifest.flash.sizeFrom === 'person') out.line(`    ${SIZE_TOLD}`);
  if (manifest.security?.flashEncryption === true) out.line('    encrypted: restorable only to this very chip');
}

/** Why it was made; null where its manifest does not say. */
function reasonText({ manifest }: Backup): string | null {
  const { reason, source } = manifest;
  switch (reason) {
    case 'plug-in':
      return 'made when the board was plugged in';
    case 'by-hand':
      return 'made by hand';
    case 'before-restore':
      return 'made before a restore: what was on the board then';
    case 'imported':
      return `imported${source.file === null ? '' : ` from ${printable(source.file)}`}`;
    case null:
      return null;
  }
}

/** The map, and the partitions that the manifest lists. */
function printFlash({ out }: CommandContext, backup: Backup, { backups }: BoardHistory): void {
  const { image, blocks, contents } = backup.manifest;
  const previous = backups[backups.findIndex(({ id }) => id === backup.id) - 1];
  const map = mapLines({
    sizeBytes: image.sizeBytes,
    digests: blocks.sha256,
    before: previous === undefined ? null : { id: previous.id, digests: previous.manifest.blocks.sha256 },
    partitions: contents.partitions,
  });
  for (const line of map) out.line(...line);
  if (contents.partitions.length === 0) return;
  const rows = contents.partitions.map((partition) => [
    printable(partition.name),
    `${partition.type}/${partition.subtype}`,
    `0x${partition.offset.toString(16)}`,
    formatSize(partition.sizeBytes),
  ]);
  out.table([['PARTITION', 'TYPE', 'OFFSET', 'SIZE'], ...rows], '    ');
}

function printRemoved(
  { out, call }: CommandContext,
  mac: Mac,
  removed: readonly Removal[],
  options: ShowCommandOptions,
): void {
  if (removed.length === 0) return;
  const count = `${plural(removed.length, 'backup')} removed`;
  if (!options.removed) {
    out.line(dim(`  ${count}: "${commandLine(call, 'show', mac, '--removed')}" lists them`));
    return;
  }
  out.line(`  ${count}:`);
  out.table([['BACKUP', 'REMOVED', 'WHY'], ...removed.map(({ id, at, why }) => [id, at, why])], '    ');
}
