/** Which two images the command line of `espd diff` means, opened. */

import { checkedImage } from '../archive/checked-image.ts';
import type { Backup, ImageReader } from '../archive/types.ts';
import { EspdError } from '../errors.ts';
import { type ComparedImage, type Pair, sameBlocks } from '../firmware/compare/index.ts';
import type { Mac } from '../mac.ts';
import { commandLine } from '../transfer/finish-command.ts';
import { knownIds, meantBackup } from '../transfer/meant-backup.ts';
import type { CommandContext } from './context.ts';
import { openImageFile } from './diff-file.ts';
import { fetchedFor } from './fleet/fetch.ts';
import { printable } from './text.ts';

/** One side, as the person named it. */
export type Side =
  | { readonly kind: 'backup'; readonly backup: Backup; readonly image: ImageReader }
  | { readonly kind: 'file'; readonly path: string; readonly image: ImageReader };

/** What has a slash, or ends as images do, is a file; all else a board. A file of another name is named with `./`. */
const LIKE_A_FILE = /[/\\]|\.(?:bin|img|gz)$/i;

/**
 * @param texts one or two arguments: `M`, `M@WHICH`, a file; `@WHICH` as the second means the board of the first
 * @throws EspdError `usage`, and those of finding a backup or opening a file
 */
export async function openSides(context: CommandContext, texts: readonly string[]): Promise<Pair<Side>> {
  const { archive, call } = context;
  const [first = '', second] = texts;
  if (second === undefined) {
    if (LIKE_A_FILE.test(first)) {
      throw refuse('A file is compared with a backup: name that as well', 'espd diff 50:02:91:c3:37:a5 FILE.bin');
    }
    const { board, which } = split(first);
    if (which === undefined) return newestTwo(context, await archive.resolveBoard(board));
    const other = commandLine(call, 'diff', first, `${board}@latest`);
    throw refuse('One backup is named, and a comparison needs two', `With the newest one: "${other}"`);
  }
  if (LIKE_A_FILE.test(first) && LIKE_A_FILE.test(second)) {
    throw refuse('One of the two sides must be a backup in the archive', '"espd import" brings a file into it');
  }
  const named = second.startsWith('@') ? `${split(first).board}${second}` : second;
  const before = await openSide(context, first);
  try {
    return { before, after: await openSide(context, named) };
  } catch (error) {
    await before.image.close();
    throw error;
  }
}

export async function closeSides({ before, after }: Pair<Side>): Promise<void> {
  await before.image.close();
  await after.image.close();
}

/** The board and WHICH of `M@WHICH`. */
export function split(text: string): { readonly board: string; readonly which: string | undefined } {
  const [board = '', which] = text.split(/@(.*)/s);
  return { board, which };
}

export function backupSide({ archive }: CommandContext, backup: Backup): Side {
  return { kind: 'backup', backup, image: checkedImage(backup, (one) => archive.openImage(one)) };
}

async function openSide(context: CommandContext, text: string): Promise<Side> {
  if (LIKE_A_FILE.test(text)) return { kind: 'file', path: text, image: await openImageFile(context.files, text) };
  const { board, which = 'latest' } = split(text);
  const mac = await context.archive.resolveBoard(board);
  return backupSide(context, await fetchedFor(context, () => meantBackup(context.archive, mac, which)));
}

/** The newest backup and the one before it, whatever they were made for. */
async function newestTwo(context: CommandContext, mac: Mac): Promise<Pair<Side>> {
  const { archive, call } = context;
  const [newest, previous] = (await knownIds(archive, mac)).toReversed();
  if (newest === undefined || previous === undefined) {
    const state = newest === undefined ? 'has no backup yet' : `has only one backup, ${newest}`;
    throw new EspdError('archive-unknown-backup', `${mac} ${state}: there is nothing to compare it with`, {
      hint: `With the board itself, if it is attached: "${commandLine(call, 'diff', mac, '--device')}"`,
    });
  }
  return {
    before: backupSide(context, await fetchedFor(context, () => archive.resolveBackup(mac, previous))),
    after: backupSide(context, await fetchedFor(context, () => archive.resolveBackup(mac, newest))),
  };
}

/** Both sides as the comparison takes them; a file is read as if it were of the same chip as the other side. */
export function comparedImages({ before, after }: Pair<Side>): Pair<ComparedImage> {
  const manifest = (before.kind === 'backup' ? before : after.kind === 'backup' ? after : undefined)?.backup.manifest;
  const compared = (side: Side): ComparedImage => ({
    read: (offset, length) => side.image.read(offset, length),
    sizeBytes: side.image.sizeBytes,
    family: (side.kind === 'backup' ? side.backup.manifest : manifest)?.chip.family ?? '',
    encrypted: side.kind === 'backup' && side.backup.manifest.security?.flashEncryption === true,
  });
  return { before: compared(before), after: compared(after) };
}

/** Blocks that the digests of both manifests say to be the same. */
export function knownSame({ before, after }: Pair<Side>): (index: number) => boolean {
  const digests = (side: Side) => (side.kind === 'backup' ? side.backup.manifest.blocks.sha256 : []);
  return sameBlocks(
    { before: digests(before), after: digests(after) },
    { before: before.image.sizeBytes, after: after.image.sizeBytes },
  );
}

/** As it stands in the JSON document. */
export function sideJson(side: Side): object {
  if (side.kind === 'file') return { kind: 'file', path: side.path, sizeBytes: side.image.sizeBytes };
  return backupJson(side.backup);
}

export function backupJson({ mac, id, manifest }: Backup): object {
  const { sha256, sizeBytes } = manifest.image;
  return { kind: 'backup', mac, id, createdAt: manifest.createdAt, sizeBytes, sha256, chip: manifest.chip.name };
}

/** For people. @param mac of the board that is named already: then the id alone tells */
export function sideText(side: Side, mac: Mac | null): string {
  if (side.kind === 'file') return printable(side.path);
  return side.backup.mac === mac ? side.backup.id : `${side.backup.mac}@${side.backup.id}`;
}

function refuse(message: string, hint: string): EspdError {
  return new EspdError('usage', message, { hint });
}
