/** `espd diff`: what changed between two images, or between a backup and the attached board. Only reads. */

import type { Backup } from '../archive/types.ts';
import { EspdError } from '../errors.ts';
import { type FlashComparison, type Pair, compareFlash } from '../firmware/compare/index.ts';
import { describeFirmware, mapFlash, sharesOf, type PartShare } from '../firmware/index.ts';
import { BLOCK_BYTES, SECTOR_BYTES } from '../flash.ts';
import type { Mac } from '../mac.ts';
import { type DeviceDifference, compareDevice } from '../transfer/compare-device.ts';
import { commandLine } from '../transfer/finish-command.ts';
import { guardMac } from '../transfer/guard-mac.ts';
import { expectedBackup, meantBackup } from '../transfer/meant-backup.ts';
import { findBoard, noteFailures, onBoards, selectPorts } from './boards.ts';
import type { CommandContext } from './context.ts';
import { fetchedFor } from './fleet/fetch.ts';
import {
  type Side,
  backupJson,
  backupSide,
  closeSides,
  comparedImages,
  knownSame,
  openSides,
  sideJson,
  sideText,
  split,
} from './diff-sides.ts';
import { comparisonLines, placesOf, regionLines } from './diff-text.ts';
import { bold, formatSize, plural } from './text.ts';

export interface DiffCommandOptions {
  readonly device: boolean;
  readonly port?: string;
  readonly sectors: boolean;
  readonly reveal: boolean;
  readonly exitCode: boolean;
}

/** @param texts one or two sides, as the person typed them */
export async function diff(
  context: CommandContext,
  texts: readonly string[],
  options: DiffCommandOptions,
): Promise<EspdError | undefined> {
  if (options.port !== undefined && !options.device) {
    throw new EspdError('usage', '--port goes together with --device', {
      hint: 'Without --device two images are compared, and no port is opened',
    });
  }
  if (options.device && texts.length > 1) {
    throw new EspdError('usage', 'With --device the second side is the attached board: name one backup', {
      hint: `espd diff ${texts[0] ?? ''} --device`,
    });
  }
  // Before any board is touched.
  await context.archive.checkReadable();
  if (options.device) return diffDevice(context, texts[0] ?? '', options);
  const sides = await openSides(context, texts);
  try {
    const comparison = await compareSides(context, sides, options);
    const error = verdictOf(comparison.equal, options);
    context.out.document({ ...documentOf(sides, comparison), ...(error === undefined ? {} : { error }) });
    showSides(context, sides);
    showComparison(context, comparison, options);
    return error;
  } finally {
    await closeSides(sides);
  }
}

async function compareSides(
  context: CommandContext,
  sides: Pair<Side>,
  { reveal }: Pick<DiffCommandOptions, 'reveal'>,
): Promise<FlashComparison> {
  const { out, signal } = context;
  const { before, after } = comparedImages(sides);
  let shown = -1;
  const onProgress = (done: number, total: number) => {
    const percent = Math.floor((done / total) * 100);
    if (percent !== shown) out.status(`Comparing: ${percent} %`);
    shown = percent;
  };
  const work = compareFlash(before, after, { isSameBlock: knownSame(sides), reveal, signal, onProgress });
  return work.finally(() => out.status(''));
}

function documentOf({ before, after }: Pair<Side>, comparison: FlashComparison): object {
  return { by: 'content', before: sideJson(before), after: sideJson(after), ...comparison };
}

/** A comparison that found something is no failure, unless that is asked for. */
function verdictOf(equal: boolean, { exitCode }: DiffCommandOptions): EspdError | undefined {
  if (equal || !exitCode) return undefined;
  return new EspdError('differs', 'The two sides differ', { hint: 'Without --exit-code that is no failure' });
}

function showSides({ out }: CommandContext, { before, after }: Pair<Side>): void {
  const mac = macOf({ before, after });
  const title = `${sideText(before, mac)} \u2192 ${sideText(after, mac)}`;
  out.line(bold(mac === null ? title : `${mac}  ${title}`));
}

/** The board, where no other one is compared. */
function macOf({ before, after }: Pair<Side>): Mac | null {
  const [one, other] = [before, after].map((side) => (side.kind === 'backup' ? side.backup.mac : null));
  return (one === null || other === null || one === other ? (one ?? other) : null) ?? null;
}

function showComparison(
  { out }: CommandContext,
  comparison: FlashComparison,
  { sectors }: Pick<DiffCommandOptions, 'sectors'>,
): void {
  if (comparison.equal) {
    out.line(`  The two are equal, byte for byte (${formatSize(comparison.sizeBytes.after)})`);
    return;
  }
  for (const line of comparisonLines(comparison)) out.line(line);
  if (!sectors || comparison.regions.length === 0) return;
  const places = comparison.contents === null ? [] : placesOf(comparison.contents);
  for (const line of regionLines(comparison.regions, places)) out.line(line);
}

async function diffDevice(
  context: CommandContext,
  text: string,
  options: DiffCommandOptions,
): Promise<EspdError | undefined> {
  const { archive, out } = context;
  const { board, which } = split(text);
  const mac = await archive.resolveBoard(board);
  const backup = await fetchedFor(context, () =>
    which === undefined ? expectedBackup(archive, mac) : meantBackup(archive, mac, which),
  );
  const side = backupSide(context, backup);
  try {
    const image = side.image;
    const ports =
      options.port === undefined ? [await findBoard(context, mac)] : await selectPorts(context, options.port);
    const { outcomes, failures } = await onBoards(context, ports, (session) => {
      guardMac(session.board.identity, mac);
      return compareDevice(session, archive, backup, image);
    });
    const [outcome] = outcomes;
    if (outcome === undefined) {
      const [failure] = failures;
      throw failure?.error ?? new EspdError('internal', `${mac} was not compared`);
    }
    noteFailures(context, failures, undefined);
    const found = outcome.result.value;
    const attached = { mac, port: outcome.port.address };
    const { equals } = found;
    // What it holds is in the archive: then all can be told of it.
    if (equals !== null) return await showKnown(context, { side, attached, found, equals }, options);
    return await showUnknown(context, { side, backup, attached, found }, options);
  } finally {
    out.status('');
    await side.image.close();
  }
}

interface Attached {
  readonly mac: Mac;
  readonly port: string;
}

async function showKnown(
  context: CommandContext,
  facts: { side: Side; attached: Attached; found: DeviceDifference; equals: Backup },
  options: DiffCommandOptions,
): Promise<EspdError | undefined> {
  const { side, attached, found, equals } = facts;
  const sides = { before: side, after: backupSide(context, equals) };
  try {
    const comparison = await compareSides(context, sides, options);
    const error = verdictOf(comparison.equal, options);
    context.out.document({
      by: 'content',
      before: sideJson(side),
      after: { kind: 'device', ...attached, sizeBytes: found.flashBytes, equals: backupJson(equals) },
      ...comparison,
      digestsAsked: found.digestsAsked,
      ...(error === undefined ? {} : { error }),
    });
    showSides(context, { before: side, after: sides.after });
    context.out.line(`  The board at ${attached.port} holds ${sideText(sides.after, attached.mac)}, by its digest`);
    showComparison(context, comparison, options);
    return error;
  } finally {
    await sides.after.image.close();
  }
}

async function showUnknown(
  context: CommandContext,
  facts: { side: Side; backup: Backup; attached: Attached; found: DeviceDifference },
  options: DiffCommandOptions,
): Promise<EspdError | undefined> {
  const { out, call } = context;
  const { side, backup, attached, found } = facts;
  const { flashBytes, regions, unitBytes } = found;
  const { manifest } = backup;
  const parts = await partsOf(side, backup, regions);
  const common = Math.min(flashBytes, manifest.image.sizeBytes);
  const differing = regions.reduce((sum, { sizeBytes }) => sum + Math.ceil(sizeBytes / unitBytes), 0);
  const counts = { compared: Math.ceil(common / unitBytes), differing };
  const error = verdictOf(false, options);
  out.document({
    by: 'digests',
    before: backupJson(backup),
    after: { kind: 'device', ...attached, sizeBytes: flashBytes, equals: null },
    equal: false,
    sizeBytes: { before: manifest.image.sizeBytes, after: flashBytes },
    unitBytes,
    [unitBytes === SECTOR_BYTES ? 'sectors' : 'blocks']: counts,
    regions,
    parts,
    digestsAsked: found.digestsAsked,
    ...(error === undefined ? {} : { error }),
  });
  const mac = backup.mac === attached.mac ? attached.mac : null;
  out.line(bold(`${attached.mac}  ${sideText(side, mac)} \u2192 the board at ${attached.port}`));
  if (flashBytes !== manifest.image.sizeBytes) {
    out.line(`  size  ${formatSize(manifest.image.sizeBytes)} \u2192 ${formatSize(flashBytes)}`);
  }
  const unit = unitBytes === SECTOR_BYTES ? 'sector' : 'block';
  const size = formatSize(differing * unitBytes);
  out.line(`  ${counts.differing} of ${plural(counts.compared, unit)} differ (${size}), by digests of the chip`);
  const rows = parts.map((part) => [
    part.name,
    part.kind === 'partition' ? `${part.type}/${part.subtype}` : '',
    unitBytes === BLOCK_BYTES ? '' : plural(part.sectors, 'sector'),
    `0x${part.from.toString(16)} to 0x${part.to.toString(16)}`,
  ]);
  if (rows.length > 0) out.table(rows, '  ');
  if (options.sectors) for (const line of regionLines(regions, parts)) out.line(line);
  out.line('  To be told what changed, keep what is on it and compare that:');
  out.line(`    ${commandLine(call, 'backup', '--mac', attached.mac)}`);
  out.line(`    ${commandLine(call, 'diff', attached.mac)}`);
  return error;
}

/** On which parts of the backup's own map the regions fall. */
async function partsOf(
  side: Side,
  { manifest }: Backup,
  regions: readonly { offset: number; sizeBytes: number }[],
): Promise<PartShare[]> {
  const { sizeBytes } = manifest.image;
  const { family } = manifest.chip;
  const { partitions, tableOffset } = await describeFirmware(
    (offset, length) => side.image.read(offset, length),
    sizeBytes,
    family,
  );
  return sharesOf(mapFlash(partitions, tableOffset, { sizeBytes, family }), regions);
}
