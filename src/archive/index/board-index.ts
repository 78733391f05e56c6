/**
 * All boards at a glance without reading two manifests of each: what was seen of a board the last time holds while all
 * files that it rests on are as they were. Only boards with nothing wrong are in the index, so what is damaged, half
 * restored or cannot be read is looked at anew each time. A fault of the index costs time, and nothing else.
 *
 * What can go wrong: a file system that shows old or invented times (see `evidence.ts`; a network file system shows what
 * another machine did up to a minute later). So an index serves for a week, and is then made anew.
 */

import { join } from 'node:path';
import type { Clock } from '../../clock.ts';
import type { Logger } from '../../log.ts';
import { macToFolder } from '../../mac.ts';
import type { Mac } from '../../mac.ts';
import { forEachAtOnce } from '../at-once.ts';
import type { FolderCache } from '../cache.ts';
import type { Disk } from '../disk.ts';
import type { BoardOverview, OverviewOptions } from '../types.ts';
import { EVIDENCE_NUMBERS, isSame, isSettled, writeEvidence } from './evidence.ts';
import { type Glance, witnessesOf } from './glance.ts';
import { BOARDS, type Entry, type GlanceIndex, decodeGlances, encodeGlances } from './glance-file.ts';

/** Boards looked at in one go: more than the system's few threads for files, so that none of them waits. */
export const AT_ONCE = 16;
/** Fewer boards are read as soon as the index would be, and a command that only reads then writes nothing. */
const WORTH_BOARDS = 64;
const MAX_AGE_MS = 7 * 24 * 60 * 60 * 1000;

export interface BoardIndexParts {
  readonly root: string;
  readonly disk: Disk;
  readonly cache: FolderCache;
  readonly clock: Clock;
  readonly log: Logger;
  /** There is no index of fewer boards; default 64. */
  readonly indexFrom?: number | undefined;
}

/**
 * In the order of `macs`.
 * @param look reads a board; rejects for nothing in the archive
 * @param isUnsure of boards that are not to be taken from the index, whatever their folders look like
 */
export async function glanceAtAll(
  parts: BoardIndexParts,
  macs: readonly Mac[],
  look: (mac: Mac) => Promise<Glance>,
  isUnsure: (mac: Mac) => boolean,
  { signal, onProgress, only }: OverviewOptions,
): Promise<BoardOverview[]> {
  // The index is of all boards: written by who looks at some of them, it would lack the others.
  const isWorth = only === undefined && macs.length >= (parts.indexFrom ?? WORTH_BOARDS);
  const index = isWorth ? await load(parts) : NONE;
  const boards = new Map<Mac, BoardOverview>();
  const entries = new Map<Mac, Entry>();
  const keep = (mac: Mac, board: BoardOverview, entry: Entry | undefined) => {
    boards.set(mac, board);
    if (entry !== undefined) entries.set(mac, entry);
    onProgress?.(boards.size, macs.length);
  };
  const changed: Mac[] = [];
  const check = async (mac: Mac) => {
    const entry = isUnsure(mac) ? undefined : index.entries.get(mac);
    if (entry !== undefined && (await isUnchanged(parts, entry))) keep(mac, entry.board, entry);
    else changed.push(mac);
  };
  await forEachAtOnce(macs, AT_ONCE, check, signal);
  if (changed.length > 0) {
    // Before anything is read: whatever changes from now on bears this time or a later one.
    const nowMs = isWorth ? await parts.cache.stampMs() : undefined;
    const read = async (mac: Mac) => {
      const glance = await look(mac);
      keep(mac, glance.board, nowMs === undefined ? undefined : await toEntry(parts, glance, nowMs));
    };
    await forEachAtOnce(changed, AT_ONCE, read, signal);
  }
  if (isWorth) await save(parts, index, entries);
  return macs.flatMap((mac) => boards.get(mac) ?? []);
}

const NONE: GlanceIndex = { sinceMs: 0, entries: new Map() };

async function load({ root, cache, clock, log }: BoardIndexParts): Promise<GlanceIndex> {
  const nowMs = clock.date().getTime();
  const none = { ...NONE, sinceMs: nowMs };
  const bytes = await cache.read(BOARDS);
  if (bytes === undefined) return none;
  const index = decodeGlances(bytes, root);
  const ageMs = nowMs - (index?.sinceMs ?? NaN);
  if (index !== undefined && ageMs >= 0 && ageMs <= MAX_AGE_MS) return index;
  log.debug('the index of boards is of no use and made anew', { bytes: bytes.length, ageMs });
  return none;
}

async function save({ cache }: BoardIndexParts, before: GlanceIndex, entries: Map<Mac, Entry>): Promise<void> {
  const isNew =
    entries.size !== before.entries.size || Array.from(entries).some(([mac, e]) => before.entries.get(mac) !== e);
  if (isNew) await cache.write(BOARDS, encodeGlances({ sinceMs: before.sinceMs, entries }));
}

/** A file that cannot be looked at counts as changed. */
async function isUnchanged({ root, disk }: BoardIndexParts, { board, basis, evidence }: Entry): Promise<boolean> {
  const folder = join(root, macToFolder(board.mac));
  try {
    for (const [index, path] of witnessesOf(board, basis).entries()) {
      const stats = await disk.fs.lstat(`${folder}/${path}`);
      if (!isSame(evidence, index * EVIDENCE_NUMBERS, stats)) return false;
    }
    return true;
  } catch {
    return false;
  }
}

/** Undefined for a board that is not to be taken from the index. */
async function toEntry({ root, disk }: BoardIndexParts, glance: Glance, nowMs: number): Promise<Entry | undefined> {
  const { board, basis, stats: known } = glance;
  if (basis === null) return undefined;
  const folder = join(root, macToFolder(board.mac));
  const paths = witnessesOf(board, basis);
  const evidence = new Float64Array(paths.length * EVIDENCE_NUMBERS);
  try {
    for (const [index, path] of paths.entries()) {
      const stats = known.get(path) ?? (await disk.fs.lstat(`${folder}/${path}`));
      if (!isSettled(stats, nowMs)) return undefined;
      writeEvidence(evidence, index * EVIDENCE_NUMBERS, stats);
    }
    return { board, basis, evidence };
  } catch {
    return undefined;
  }
}
