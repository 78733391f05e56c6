/** The archive hashed again: all of it, one board's part, or a sample. */

import { join } from 'node:path';
import type { Clock } from '../clock.ts';
import { hasCode } from '../errors.ts';
import { macToFolder } from '../mac.ts';
import type { Mac } from '../mac.ts';
import { listBoard } from './board-folder.ts';
import { readFault } from './disk-faults.ts';
import type { Disk } from './disk.ts';
import { BOARDS } from './index/glance-file.ts';
import { VerifiedTimes } from './index/verified.ts';
import { isUnreadable, toProblem } from './problems.ts';
import { type BackupName, chooseSample, sortOldest } from './sample.ts';
import { SIGHTINGS, readSightings } from './sightings.ts';
import type { Archive, ArchiveCache, ArchiveProblem, ForeignEntry, VerifyReport } from './types.ts';

export interface VerifyParts {
  readonly root: string;
  readonly disk: Disk;
  readonly cache: ArchiveCache;
  readonly clock: Clock;
  boards(): ReturnType<Archive['boards']>;
  /** Rejects with `archive-unknown-backup` where nothing has this id. */
  verifyBackup(
    mac: Mac,
    id: string,
    signal?: AbortSignal,
  ): Promise<{ readonly problems: readonly ArchiveProblem[]; readonly foreign: readonly ForeignEntry[] }>;
}

type Options = Parameters<Archive['verify']>[0];

interface Item extends BackupName {
  /** From 1, of so many. */
  readonly place: { readonly board: number; readonly boards: number };
}

export async function verifyArchive(parts: VerifyParts, options: Options): Promise<VerifyReport> {
  const { signal, between, onProgress, onProblem } = options;
  const { cache, clock } = parts;
  const { items, ...found } = await listAll(parts, options);
  const problems: ArchiveProblem[] = [...found.problems];
  const foreign: ForeignEntry[] = [...found.foreign];
  for (const problem of problems) onProblem?.(problem);
  const times = await VerifiedTimes.read(cache);
  if (options.mac === undefined) times.forgetAllBut(items);
  const timeOf = ({ mac, id }: Item) => times.of(mac, id);
  const chosen = choose(items, options, times, clock, timeOf);
  if (options.pass === true) await times.save(chosen.passMs);
  let checked = 0;
  let isBrokenOff = false;
  try {
    for (const [index, { mac, id, place }] of chosen.items.entries()) {
      signal?.throwIfAborted();
      onProgress?.(mac, id, { ...place, backup: index + 1, backups: chosen.items.length });
      const startMs = clock.now();
      try {
        const judged = await parts.verifyBackup(mac, id, signal);
        for (const problem of judged.problems) onProblem?.(problem);
        problems.push(...judged.problems);
        foreign.push(...judged.foreign);
        if (!judged.problems.some(({ error }) => isUnreadable(error))) checked++;
      } catch (error) {
        if (!hasCode(error, 'archive-unknown-backup')) throw error; // else pruned since it was listed
      }
      // What cannot be read, too: it must not come first each time and keep others from being looked at.
      await times.note(mac, id, clock.date().getTime());
      await between?.(clock.now() - startMs);
    }
    if (options.pass === true) await times.save(null);
  } catch (error) {
    if (signal?.aborted !== true) throw error;
    isBrokenOff = true;
  } finally {
    await times.save();
    // Damage that changed no time: the next listing is to see it as well.
    const isNews = problems.length > found.problems.length;
    if (isNews && (await cache.read(BOARDS)) !== undefined) await cache.write(BOARDS, '');
  }
  return {
    checked,
    ...(options.sample === undefined ? {} : { of: items.length }),
    damaged: problems.filter(({ error }) => !isUnreadable(error)),
    unreadable: problems.filter(({ error }) => isUnreadable(error)),
    foreign,
    ...(isBrokenOff ? { isBrokenOff: true } : {}),
  };
}

function choose(
  items: readonly Item[],
  { pass, sample }: Options,
  times: VerifiedTimes,
  clock: Clock,
  timeOf: (item: Item) => number,
): { items: readonly Item[]; passMs: number | null } {
  if (pass === true) {
    const nowMs = clock.date().getTime();
    // A pass of the future was begun by a wrong clock.
    const passMs = times.passMs !== null && times.passMs <= nowMs ? times.passMs : nowMs;
    const left = items.filter((item) => timeOf(item) < passMs || timeOf(item) > nowMs);
    return { items: sortOldest(left, timeOf), passMs };
  }
  return { items: sample === undefined ? items : chooseSample(items, sample, timeOf), passMs: null };
}

/** All backups, and what is wrong or foreign beside them. */
async function listAll(
  parts: VerifyParts,
  { mac, signal }: Options,
): Promise<{ items: Item[]; problems: ArchiveProblem[]; foreign: ForeignEntry[] }> {
  const all = mac === undefined ? await parts.boards() : { macs: [mac], problems: [], foreign: [] };
  const problems: ArchiveProblem[] = [...all.problems];
  const foreign: ForeignEntry[] = [...all.foreign];
  const items: Item[] = [];
  for (const [index, each] of all.macs.entries()) {
    signal?.throwIfAborted();
    const board = await lookAtBoard(parts, each);
    problems.push(...board.problems);
    foreign.push(...board.foreign);
    const place = { board: index + 1, boards: all.macs.length };
    items.push(...board.ids.map((id) => ({ mac: each, id, place })));
  }
  return { items, problems, foreign };
}

/** All but the backups themselves. */
async function lookAtBoard(
  { root, disk }: VerifyParts,
  mac: Mac,
): Promise<{ ids: readonly string[]; problems: ArchiveProblem[]; foreign: readonly ForeignEntry[] }> {
  const problems: ArchiveProblem[] = [];
  let ids: readonly string[] = [];
  let foreign: readonly ForeignEntry[] = [];
  let file = macToFolder(mac);
  try {
    const folder = await listBoard(disk, root, mac);
    if (folder === undefined) return { ids, problems, foreign };
    ({ ids, foreign } = folder);
    file = join(file, SIGHTINGS);
    if (folder.hasSightings) await readSightings(disk, folder.path);
  } catch (error) {
    problems.push(toProblem(mac, null, file, readFault(error)));
  }
  return { ids, problems, foreign };
}
