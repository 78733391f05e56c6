/** A whole recording (docs/record.md), played to espd's own code: with the images that espd had, link by link. */

import type { TestContext } from 'node:test';
import { EspdError } from '../../src/errors.ts';
import type { Backup } from '../../src/archive/types.ts';
import { parseMac } from '../../src/mac.ts';
import { OPCODE } from '../../src/esp/protocol.ts';
import type { KnownLine, Recording, RecordingLine } from '../../src/transfer/record/format.ts';
import { parseRecording } from '../../src/transfer/record/format.ts';
import { type MadeUpImage, MadeUpBytes, madeUpImages } from '../../src/transfer/record/made-up-image.ts';
import { ReplayLink } from '../../src/transfer/record/replay-link.ts';
import type { RestoreOptions } from '../../src/transfer/restore/options.ts';
import { Bench } from '../transfer/support.ts';

/** What became of one link. */
export interface ReplayedLink {
  readonly link: number;
  /** What was done on it. */
  readonly work: 'identify' | 'backup' | 'restore';
  readonly done: number;
  readonly recorded: number;
  /** The first thing that espd did otherwise; undefined where it did what it did. */
  readonly divergence: string | undefined;
  /** How the job ended; undefined = well. */
  readonly error: EspdError | undefined;
  readonly bench: Bench;
}

/** Commands that put an image back. */
const RESTORES = ['restore', 'undo'];
/** What no identification asks. */
const OF_FLASH: readonly number[] = [OPCODE.SPI_FLASH_MD5, OPCODE.READ_FLASH, OPCODE.READ_FLASH_SLOW];

/** @throws EspdError `input-unreadable` for what is no recording */
export async function replayRecording(t: Pick<TestContext, 'after'>, text: string): Promise<ReplayedLink[]> {
  const recording = parseRecording(text);
  const links = [...new Set(recording.lines.filter(isOfLink).map(({ link }) => link ?? 1))];
  const replayed: ReplayedLink[] = [];
  for (const link of links) replayed.push(await replayLink(t, recording, link));
  return replayed;
}

async function replayLink(
  t: Pick<TestContext, 'after'>,
  { header, lines: all }: Recording,
  link: number,
): Promise<ReplayedLink> {
  const lines = all.filter((line) => isOfLink(line) && (line.link ?? 1) === link);
  const bench = await Bench.open(t);
  const known = await keepImages(bench, all);
  const replay = new ReplayLink({ clock: bench.clock, lines, all });
  const { options = {}, settings } = header ?? {};
  const command = header?.command ?? 'identify';
  const isAboutFlash = lines.some((line) => line.kind === 'cmd' && OF_FLASH.includes(opcodeOf(line.hex)));
  const target = RESTORES.includes(command) ? known.get('opened') : undefined;
  const work = !isAboutFlash
    ? 'identify'
    : target !== undefined
      ? 'restore'
      : command === 'backup'
        ? 'backup'
        : 'identify';
  const through = () => replay;
  const session = {
    through,
    ...(settings && { baudRate: settings.baudRate, connectAttempts: settings.connectAttempts }),
  };
  let error: EspdError | undefined;
  try {
    const board = bench.board();
    if (work === 'restore' && target !== undefined) {
      const targetMac = parseMac(typeof options['to'] === 'string' ? options['to'] : '') ?? target.mac;
      await bench.restore(board, target, { ...session, targetMac, ...restoreOptions(options), unconfirmed: true });
    } else if (work === 'backup') {
      const full = options['full'] === true || settings?.full === true;
      await bench.backup(board, { ...session, full });
    } else await bench.session(board, () => Promise.resolve(), session);
  } catch (thrown) {
    if (!(thrown instanceof EspdError)) throw thrown;
    error = thrown;
  }
  return { link, work, ...replay.progress, divergence: replay.divergence, error, bench };
}

function restoreOptions(options: Readonly<Record<string, unknown>>): Partial<RestoreOptions> {
  const { partition, offset, size, keep, keepCalibration, snapshot, dryRun } = options;
  const is = (name: string) => options[name] === true;
  const part = Array.isArray(partition)
    ? { partitions: partition.map(String) }
    : offset === undefined
      ? undefined
      : { offset: Number(offset), sizeBytes: Number(size) };
  return {
    ...(part && { part }),
    ...(Array.isArray(keep) || keepCalibration === true
      ? { keep: { names: Array.isArray(keep) ? keep.map(String) : [], calibration: keepCalibration === true } }
      : {}),
    dryRun: dryRun === true,
    snapshot: snapshot !== false,
    overrides: {
      ...{ revision: is('ignoreRevision'), flashSize: is('ignoreFlashSize'), security: is('ignoreSecurity') },
      ...{ writeProtect: is('ignoreWriteProtect'), layout: is('ignoreLayout'), chipChange: is('ignoreChipChange') },
    },
  };
}

/** The images that espd had, made up, in the archive of the bench: what was opened first, was verified, or was the newest. */
async function keepImages(bench: Bench, all: readonly RecordingLine[]): Promise<Map<KnownLine['role'], Backup>> {
  const told = madeUpImages(all, new MadeUpBytes(all));
  const roleOf = (role: KnownLine['role']) => told.filter(({ line }) => line.role === role).slice(0, 1);
  // What was opened later was made meanwhile: the snapshot before a restore.
  const images = [...roleOf('opened'), ...told.filter(({ line }) => line.role === 'verified'), ...roleOf('latest')];
  const kept = new Map<number, Backup>();
  const byRole = new Map<KnownLine['role'], Backup>();
  // The newest of a board is what `latest` said: it comes last.
  const ordered = [...images].sort((a, b) => Number(isLatest(images, a)) - Number(isLatest(images, b)));
  for (const [index, image] of ordered.entries()) {
    const { line, bytes } = image;
    const backup = kept.get(line.image) ?? (await keep(bench, line, bytes, index));
    kept.set(line.image, backup);
  }
  for (const { line } of images) {
    const backup = kept.get(line.image);
    if (backup !== undefined && !byRole.has(line.role)) byRole.set(line.role, backup);
  }
  return byRole;
}

const isLatest = (images: readonly MadeUpImage[], { line }: MadeUpImage) =>
  images.some((one) => one.line.image === line.image && one.line.role === 'latest');

async function keep(bench: Bench, line: KnownLine, bytes: Buffer, index: number): Promise<Backup> {
  const mac = parseMac(line.mac);
  if (mac === undefined) throw new TypeError('a parsed recording has MACs');
  const draft = await bench.archive.begin(mac, bytes.length);
  await draft.write(0, bytes);
  const { md5 } = await draft.digests();
  const createdAt = `2026-01-01T00:${String(index).padStart(2, '0')}:00.000Z`;
  type Content = Parameters<typeof draft.commit>[0];
  return draft.commit({
    ...{ createdAt, mac, chip: line.chip as Content['chip'], flash: line.flash as Content['flash'] },
    efuses: Object.fromEntries(Object.entries(line.efuses ?? {}).map(([name, words]) => [name, [...words]])),
    ...{ security: line.security as Content['security'], transfer: null },
    reason: line.confirmed ? 'by-hand' : 'imported',
    contents: { firmware: null, partitions: line.partitions as Content['contents']['partitions'] },
    confirmed: line.confirmed ? { by: 'stub', md5, at: createdAt } : null,
    source: { port: null, file: line.confirmed ? null : 'image.bin', usb: null, host: 'replay' },
  });
}

const isOfLink = (line: RecordingLine) => line.kind !== 'known' && line.kind !== 'sectors';

const opcodeOf = (hex: string) => Number.parseInt(hex.slice(2, 4), 16);
