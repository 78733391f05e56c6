/** What this station has to say and has not said yet: from its own files, none of which is a queue that could be lost. */

import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { type ArchiveElsewhere, type MarkFile, REPLICATED_MARKS } from '../../archive/elsewhere/types.ts';
import { type Manifest, parseManifest } from '../../archive/manifest.ts';
import { sharedFileSystem as fs } from '../../archive/node-fs.ts';
import type { Archive } from '../../archive/types.ts';
import type { Clock } from '../../clock.ts';
import { hasCode } from '../../errors.ts';
import { type Mac, macToFolder } from '../../mac.ts';
import { folderKey } from '../layout.ts';
import { CHECKSUMS, openLocalBackup } from '../local-backup.ts';
import type { Bucket } from '../push-backup.ts';
import type { DoneLine } from '../state.ts';
import { encodeLine } from './segment.ts';
import type { Cursor, JournalState, Told } from './state.ts';
import { whenNoted } from './when-noted.ts';

export interface OwnSteps {
  readonly archive: JournalArchive;
  readonly state: JournalState;
  readonly clock: Clock;
}

/** What of the archive has to do with journals. */
export interface JournalArchive extends Pick<Archive, 'root' | 'boards' | 'resolveBackup' | 'cache'> {
  readonly elsewhere: Pick<ArchiveElsewhere, 'of' | 'gone' | 'note' | 'forget' | 'receive' | 'ownLines'>;
}

/** Lines that belong together, and what the cursor is when they are said. */
export interface OwnStep {
  readonly lines: readonly string[];
  readonly reached: (cursor: Cursor) => void;
  /** Of which files they come; null = of none of the archive. */
  readonly mac: Mac | null;
}

/** @param cursor what is said; not changed */
export async function* ownSteps(
  parts: OwnSteps,
  bucket: Bucket,
  cursor: Cursor,
  signal: AbortSignal,
): AsyncGenerator<OwnStep, void, undefined> {
  yield* fromOutbox(parts, cursor);
  yield* fromDone(parts, bucket, cursor, signal);
  yield* fromMarks(parts, cursor, signal);
}

async function* fromOutbox({ state }: OwnSteps, { outbox }: Cursor): AsyncGenerator<OwnStep> {
  const { lines, nextByte } = await state.outbox(outbox.byte);
  if (lines.length === 0) return;
  yield { lines, mac: null, reached: (cursor) => (cursor.outbox = { byte: nextByte }) };
}

/** Backups that are complete in the bucket, in the order in which they came there. */
async function* fromDone(
  parts: OwnSteps,
  bucket: Bucket,
  cursor: Cursor,
  signal: AbortSignal,
): AsyncGenerator<OwnStep> {
  const done = await bucket.state.done();
  const { count, last } = cursor.done;
  const isSame = count <= done.length && (count === 0 || nameOf(done[count - 1]) === last);
  for (let index = isSame ? count : 0; index < done.length; index++) {
    const each = done[index];
    if (each === undefined) continue;
    signal.throwIfAborted();
    const line = each.isGone ? undefined : await backupLine(parts, bucket, each, signal);
    yield {
      lines: line === undefined ? [] : [line],
      mac: each.mac,
      reached: (now) => (now.done = { count: index + 1, last: nameOf(each) }),
    };
  }
}

const nameOf = (done: DoneLine | undefined) =>
  done === undefined ? '' : `${done.mac} ${done.id}${done.isGone ? ' gone' : ''}`;

/**
 * Noted here too. The store is asked whether it is still there: a state that was lost may say the same again long after
 * somebody has removed it. So its time is that of the store, the same however often it is said.
 */
async function backupLine(
  { archive, clock }: OwnSteps,
  { id: store, layout, store: objects }: Bucket,
  { mac, id, place }: DoneLine,
  signal: AbortSignal,
): Promise<string | undefined> {
  const key = folderKey(layout, place, mac, id);
  const folder = key.slice(layout.prefix.length);
  const sums = await objects.head(key + CHECKSUMS, { signal });
  // Who has removed it has said so; if nobody has, the next scan finds it missing.
  if (sums === undefined) return undefined;
  const at = await whenNoted(archive.elsewhere, { mac, store, folder }, sums.writtenMs ?? clock.date().getTime());
  const content = (await localManifest(archive, mac, id)) ?? (await notedManifest(archive, mac, folder));
  // Removed here before it was ever said: a full scan of another station finds it.
  if (content === undefined) return undefined;
  await archive.elsewhere.note({ mac, id, store, folder, at, station: layout.station, ...content });
  return encodeLine({ kind: 'backup', mac, id, folder, at, ...content });
}

interface Content {
  readonly manifestSha256: string;
  readonly manifest: Manifest;
}

async function localManifest(archive: JournalArchive, mac: Mac, id: string): Promise<Content | undefined> {
  try {
    const local = await openLocalBackup(await archive.resolveBackup(mac, id));
    await local.close();
    const reading = parseManifest(local.manifest.toString('utf8'));
    if (reading.kind !== 'read') return undefined;
    const manifestSha256 = createHash('sha256').update(local.manifest).digest('hex');
    return { manifestSha256, manifest: reading.manifest };
  } catch (error) {
    // What cannot be read now was sound when it was pushed, and is noted or is not.
    if (hasCode(error, 'archive-unwritable', 'disk-full')) throw error;
    return undefined;
  }
}

async function notedManifest({ elsewhere }: JournalArchive, mac: Mac, folder: string): Promise<Content | undefined> {
  const noted = (await elsewhere.of(mac)).find((each) => each.folder === folder);
  return noted && { manifestSha256: noted.manifestSha256, manifest: noted.manifest };
}

async function* fromMarks({ archive }: OwnSteps, cursor: Cursor, signal: AbortSignal): AsyncGenerator<OwnStep> {
  for (const mac of (await archive.boards()).macs) {
    signal.throwIfAborted();
    const told = cursor.marks[mac] ?? {};
    // Most boards of a fleet are elsewhere, and have none of these files here: one call instead of six.
    const names = new Set(await fs.readdir(join(archive.root, macToFolder(mac))).catch(() => []));
    for (const file of REPLICATED_MARKS) {
      if (told[file] === undefined && !names.has(file)) continue;
      signal.throwIfAborted();
      const step = await markStep(archive, mac, file, told[file] ?? { byte: 0 });
      if (step !== undefined) yield step;
    }
  }
}

async function markStep(
  { elsewhere, root }: JournalArchive,
  mac: Mac,
  file: MarkFile,
  told: Told,
): Promise<OwnStep | undefined> {
  // Of two thousand boards hardly one has said anything since the last look: length and time of the last change tell.
  const stats = await fs.lstat(join(root, macToFolder(mac), file)).catch(() => undefined);
  const size = stats?.size ?? 0;
  const changedMs = stats?.ctimeMs ?? 0;
  if (size === told.byte && (size === 0 || changedMs === told.changedMs)) return undefined;
  // A board that cannot be read now has its turn at the next look.
  const own = await elsewhere.ownLines(mac, file, told.byte, told.tail).catch(() => undefined);
  if (own === undefined) return undefined;
  const { nextByte, tail } = own;
  // A line that is not ended yet; the rest is as it was.
  if (nextByte === told.byte && tail === told.tail && nextByte !== size) return undefined;
  const lines = own.lines
    // One that bears a station is of another, and goes out by that one alone.
    .filter((line) => !('station' in line))
    .map((line) => encodeLine({ kind: 'mark', mac, file, line: line as { at: string } }));
  return {
    lines,
    mac,
    reached: (now) => (now.marks[mac] = { ...now.marks[mac], [file]: { byte: nextByte, tail, changedMs } }),
  };
}
