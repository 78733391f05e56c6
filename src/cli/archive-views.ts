/** `espd show`: what the archive holds of one board. */

import { type ChipChangeSince, chipChangeText, chipChanges } from '../archive/chip-change.ts';
import { NOTHING_ABOUT } from '../archive/marks/marks.ts';
import type { Backup, BoardHistory } from '../archive/types.ts';
import { EspdError } from '../errors.ts';
import { halfRestoredText } from '../transfer/half-restored.ts';
import { meantBackup } from '../transfer/meant-backup.ts';
import { noteForeign, noteProblems, problemJson } from './archive-notes.ts';
import { boardJson, firmwareText, heldBy } from './board-summary.ts';
import type { CommandContext } from './context.ts';
import { SIZE_TOLD, bold, dim, formatSize, printable } from './text.ts';

/** @param which undefined = all backups of the board */
export async function show(context: CommandContext, board: string, which: string | undefined): Promise<undefined> {
  const { archive, out } = context;
  const mac = await archive.resolveBoard(board);
  const history = await archive.history(mac);
  const backups = which === undefined ? history.backups : [await meantBackup(archive, mac, which)];
  const changes = chipChanges(history.backups);
  const newest = history.backups.at(-1);
  const notes: string[] = [];
  const about = await archive.marks.about(mac).catch((error: unknown) => {
    if (!(error instanceof EspdError)) throw error;
    notes.push(error.message);
    return NOTHING_ABOUT;
  });
  const summary = boardJson(
    {
      mac,
      ids: idsIn(history),
      newest: newest ?? null,
      onIt: await heldBy(context, { mac, newest: newest ?? null }),
      chipChange: changes.get(newest?.id ?? '') ?? null,
      seenAt: history.sightings.map(({ at }) => at),
      halfRestored: history.halfRestored,
      about,
    },
    context.call,
  );
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
  out.line(bold(`${mac}  ${summary.chip ?? ''}`), ...(about.label === null ? [] : [`  ${about.label}`]));
  if (about.group !== null) out.line(`  group ${about.group}`);
  if (about.note !== null) out.paragraph(`note: ${about.note}`, '  ');
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
