/** `espd export`: a backup, or a part of it, as a file that other programs read. */

import { createHash } from 'node:crypto';
import { checkedImage } from '../../archive/checked-image.ts';
import { isConfirmed } from '../../archive/marks/marks.ts';
import type { Backup, ImageReader } from '../../archive/types.ts';
import { EspdError, hasCode } from '../../errors.ts';
import type { Region } from '../../flash.ts';
import type { FlashSource } from '../../firmware/contents.ts';
import { esptoolWriteCommand } from '../../firmware/dump/esptool-command.ts';
import { intelHexText } from '../../firmware/dump/intel-hex.ts';
import { printable } from '../../printable.ts';
import { commandLine, shellWord } from '../../transfer/finish-command.ts';
import { piecesOf } from '../../transfer/pieces.ts';
import type { CommandContext } from '../context.ts';
import { fetchedFor } from '../fleet/fetch.ts';
import { COPY_BYTES, bytesOf } from '../image-file.ts';
import { dim, formatSize } from '../text.ts';
import type { ExportFormat } from './options.ts';
import { type FoundFile, type Wanted, checkWanted, findFile, wantedRegion } from './selection.ts';

export interface ExportCommandOptions extends Wanted {
  readonly format: ExportFormat;
}

const STDOUT = '-';

/** What goes into the file, and what is said of it. */
interface Selected {
  readonly content: AsyncIterable<Uint8Array | string>;
  /** Of the image; null for a file out of a file system. */
  readonly region: Region | null;
  readonly found: FoundFile | null;
  /** How many bytes of the image. */
  readonly sizeBytes: number;
}

/** @param which of the board's backups; undefined = the newest */
export async function exportBackup(
  context: CommandContext,
  board: string,
  which: string | undefined,
  target: string,
  options: ExportCommandOptions,
): Promise<undefined> {
  const { archive, out, signal, call, files } = context;
  checkWanted(options);
  checkTarget(context, target, options);
  if (target !== STDOUT) await files.checkNewFile(target);
  const mac = await archive.resolveBoard(board);
  const backup = await fetchedFor(context, () => archive.resolveBackup(mac, which ?? 'latest'));
  await refuseUnknownPart(context, backup, options);
  // What is handed out may be all that is left one day: it is proven first.
  out.status(`verifying ${backup.id}`);
  const [damage] = await archive.verifyBackup(mac, backup.id, signal);
  out.status('');
  if (damage !== undefined) {
    throw new EspdError(damage.error.code, damage.error.message, {
      hint: `Nothing was exported. See all that is wrong: ${commandLine(call, 'verify', '--mac', mac)}`,
      cause: damage.error,
    });
  }
  // And what is read is compared once more, block by block: the files may change under the command.
  await withImage(context, backup, async (image) => {
    const selected = await select(image, backup, options);
    const sha256 = createHash('sha256');
    const content = counted(selected.content, sha256, signal);
    if (target === STDOUT) for await (const bytes of content) await out.raw(bytes);
    else await files.writeNewFile(target, content);
    const confirmed = isConfirmed(backup, await archive.marks.of(mac));
    report(context, backup, target, options, { ...selected, confirmed, sha256: sha256.digest('hex') });
  });
  return undefined;
}

/**
 * What the image does not have is told at once: to verify it takes a while. What is wrong with the image is left to that.
 * @throws EspdError `usage`
 */
async function refuseUnknownPart(
  context: CommandContext,
  backup: Backup,
  options: ExportCommandOptions,
): Promise<void> {
  const { partition, offset } = options;
  const { partitions } = backup.manifest.contents;
  const isKnown = partition !== undefined && partitions.some(({ name }) => name === partition);
  if (isKnown || (partition === undefined && offset === undefined)) return;
  try {
    await withImage(context, backup, async (image) => {
      await wantedRegion(sourceOf(image, backup), options);
    });
  } catch (error) {
    if (hasCode(error, 'usage')) throw error;
  }
}

async function withImage(
  { archive }: CommandContext,
  backup: Backup,
  work: (image: ImageReader) => Promise<void>,
): Promise<void> {
  const image = checkedImage(backup, (one) => archive.openImage(one));
  try {
    await work(image);
  } finally {
    await image.close();
  }
}

/** @throws EspdError `usage` */
function checkTarget({ out }: CommandContext, target: string, { format, file }: ExportCommandOptions): void {
  const refuse = (message: string, hint: string) => new EspdError('usage', message, { hint });
  if (file !== undefined && format !== 'bin') {
    throw refuse('A file out of a file system is exported as it is', 'Leave --format away');
  }
  if (target !== STDOUT) return;
  if (format === 'merged-args') throw refuse('The command needs a file to name', 'Name one in the place of -');
  if (out.json) throw refuse('With --json, stdout is for the document', 'Name a file in the place of -');
  if (out.isTerminal) throw refuse('The image is not for a terminal', 'Name a file, or send stdout elsewhere: > FILE');
}

function sourceOf(image: ImageReader, { manifest }: Backup): FlashSource {
  return {
    read: (offset, length) => image.read(offset, length),
    sizeBytes: image.sizeBytes,
    family: manifest.chip.family,
  };
}

async function select(image: ImageReader, backup: Backup, options: ExportCommandOptions): Promise<Selected> {
  const source = sourceOf(image, backup);
  if (options.file !== undefined) {
    const found = await findFile(source, options.file, options.partition);
    return { content: only(found.bytes), region: null, found, sizeBytes: found.bytes.length };
  }
  const region = await wantedRegion(source, options);
  const pieces = piecesOf(image, region, COPY_BYTES);
  const content = options.format === 'hex' ? intelHexText(pieces) : bytesOf(pieces);
  return { content, region, found: null, sizeBytes: region.sizeBytes };
}

async function* only(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes);
}

/** Hashes what passes, and ends when the command is interrupted. */
async function* counted(
  content: AsyncIterable<Uint8Array | string>,
  sha256: { update(bytes: Uint8Array): unknown },
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  for await (const part of content) {
    signal.throwIfAborted();
    const bytes = typeof part === 'string' ? Buffer.from(part, 'latin1') : part;
    sha256.update(bytes);
    yield bytes;
  }
}

function report(
  { out }: CommandContext,
  { mac, id, manifest }: Backup,
  target: string,
  { format, file }: ExportCommandOptions,
  { region, found, sizeBytes, confirmed, sha256 }: Selected & { confirmed: boolean; sha256: string },
): void {
  const command =
    region !== null && format === 'merged-args'
      ? esptoolWriteCommand({ family: manifest.chip.family, offset: region.offset, file: target })
      : null;
  const problems = found?.problems ?? [];
  const notes = [
    ...(confirmed ? [] : ['This image came out of a file, and no chip has confirmed it']),
    ...problems.slice(0, 3).map((problem) => `The file system is damaged elsewhere: ${printable(problem)}`),
  ];
  if (target !== STDOUT) {
    const what =
      found === null
        ? `${formatSize(sizeBytes)} from 0x${(region?.offset ?? 0).toString(16)}`
        : `${printable(file ?? '')} of partition ${found.partition} (${found.kind}), ${formatSize(sizeBytes)}`;
    out.line(`${mac}  ${id}  written to ${printable(target)}`);
    out.line(dim(`  ${what}, sha256 ${sha256}`));
  }
  for (const note of notes) out.note(`  ${note}`);
  if (command !== null) {
    out.line('');
    out.line(command.v5.map(shellWord).join(' '));
    out.note(dim(`  before version 5 of esptool: ${command.v4.map(shellWord).join(' ')}`));
  }
  out.document({
    mac,
    id,
    file: target,
    format,
    region: region === null ? null : { offset: region.offset, sizeBytes: region.sizeBytes },
    partition: found?.partition ?? null,
    sizeBytes,
    sha256,
    confirmed,
    problems,
    command,
  });
}
