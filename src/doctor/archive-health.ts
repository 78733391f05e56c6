/** What is in the archive: a sample of it hashed again, boards left half restored, and room on the disk. */

import { hasNoInodes } from '../archive/inodes.ts';
import { keptFree } from '../archive/free-space.ts';
import { VERIFIED, parseVerified } from '../archive/index/verified.ts';
import { isUnreadable } from '../archive/problems.ts';
import { sortOldest } from '../archive/sample.ts';
import type { ArchiveProblem } from '../archive/types.ts';
import { parseSize } from '../config/size.ts';
import { EspdError } from '../errors.ts';
import { macToFolder } from '../mac.ts';
import { finishCommand } from '../transfer/finish-command.ts';
import { halfRestoredText } from '../transfer/half-restored.ts';
import type { Backups, Facts } from './facts.ts';
import type { Space } from './outside.ts';
import { type Finding, asUser, byHand, cannotCheck, note, ok, problem, told } from './types.ts';

/** Hashing stops after so long, in the middle of a backup if need be. */
const SAMPLE_MS = 2500;
const SAMPLE_COUNT = 5;
/** Boards that are asked whether they are half restored. */
const MAX_BOARDS = 5000;
const MIB = 1024 ** 2;
/** What an image and its draft may need beyond what has to stay free: flash of 16 MB, and a margin. */
const ONE_BACKUP_BYTES = 20 * MIB;
const FEW_BACKUPS = 16;

/** Nothing is noted in the archive's cache: root, who runs this too, would leave files there that the service cannot read. */
export async function checkHealth(facts: Facts): Promise<Finding[]> {
  const { archive } = facts;
  const backups = await facts.backups();
  if (archive === null || backups === null) return [];
  if (backups.macs.length === 0 && backups.problems.length === 0) return [ok('archive-sample', 'The archive is empty')];
  const verified = parseVerified((await archive.cache.read(VERIFIED))?.toString('utf8') ?? '');
  const timeOf = ({ mac, id }: Backups['names'][number]) => verified.times.get(`${macToFolder(mac)} ${id}`) ?? 0;
  const sample = sortOldest(backups.names, timeOf).slice(0, SAMPLE_COUNT);
  const problems: ArchiveProblem[] = [...backups.problems];
  const limit = new AbortController();
  const cancel = facts.clock.schedule(SAMPLE_MS, () => limit.abort());
  let hashed = 0;
  try {
    for (const { mac, id } of sample) {
      if (limit.signal.aborted) break;
      problems.push(...(await archive.verifyBackup(mac, id, limit.signal)));
      hashed += 1;
    }
  } catch (error) {
    // Pruned meanwhile, or the time is up: what was hashed counts.
    if (!limit.signal.aborted && !(error instanceof EspdError && error.code === 'archive-unknown-backup')) throw error;
  } finally {
    cancel();
  }
  return [judgeSample(problems, { hashed, of: backups.names.length }), ...(await checkRestores(facts, backups))];
}

export function judgeSample(
  problems: readonly ArchiveProblem[],
  { hashed, of }: { readonly hashed: number; readonly of: number },
): Finding {
  const remedy = byHand(asUser('espd', 'verify'));
  const [damaged] = problems.filter(({ error }) => !isUnreadable(error));
  if (damaged !== undefined) {
    const detail = 'The other backups are not touched by it. All that is damaged is told by:';
    return problem('archive-sample', `The archive is damaged: ${damaged.file} ${damaged.problem}`, { detail, remedy });
  }
  const [unread] = problems;
  if (unread !== undefined) {
    return problem('archive-sample', `A part of the archive cannot be read: ${unread.file} ${unread.problem}`, {
      remedy,
    });
  }
  if (hashed === 0)
    return note('archive-sample', `None of ${of} backups could be hashed in the time there is`, { remedy });
  return ok('archive-sample', `${hashed} of ${of} backups hashed again, longest unchecked first: sound`);
}

async function checkRestores({ archive, call }: Facts, { macs }: Backups): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const mac of macs.slice(0, MAX_BOARDS)) {
    // What cannot be read is told of by the sample, or by the command that needs it.
    const half = await archive?.halfRestored(mac).catch(() => null);
    if (half === null || half === undefined) continue;
    const { message, hint } = halfRestoredText(mac, half, call);
    const remedy = half.record === null ? undefined : told(finishCommand(half.record, call));
    findings.push(problem('half-restored', message, remedy === undefined ? { detail: hint } : { remedy }));
  }
  return findings;
}

export async function checkSpace({ loaded, archive, outside }: Facts): Promise<Finding[]> {
  if (loaded instanceof EspdError || archive === null) return [];
  const space = await outside.space(archive.root);
  if (!space.found) {
    if (space.code === 'ENOENT' || space.code === 'EACCES') return [];
    return [cannotCheck('disk-space', 'Room on the disk', `the system does not tell (${space.code})`)];
  }
  const { minFreeBytes } = loaded.config.archive;
  return [judgeSpace(archive.root, space.value, minFreeBytes === null ? null : parseSize(minFreeBytes))];
}

/** @param minFreeBytes `archive.minFreeBytes`; null = the default */
export function judgeSpace(root: string, space: Space, minFreeBytes: number | null): Finding {
  const id = 'disk-space';
  const remedy = byHand(asUser('espd', 'prune', '--dry-run'));
  const { freeBytes, diskBytes } = space;
  // Some network file systems tell nothing.
  if (diskBytes === 0) return cannotCheck(id, 'Room on the disk', 'its file system does not tell');
  if (hasNoInodes(space, 100)) {
    const detail = '"df -i" shows it: too many files, freeing bytes alone does not help';
    return problem(id, `The disk of the archive holds nearly as many files as it can: ${root}`, { detail });
  }
  const kept = keptFree(minFreeBytes, diskBytes);
  const free = `${mib(freeBytes)} free, ${mib(kept)} must stay free (archive.minFreeBytes)`;
  const detail = 'Free some space, or see what a policy would remove:';
  if (freeBytes < kept + ONE_BACKUP_BYTES) {
    return problem(id, `The disk of the archive is full: ${free}`, { detail, remedy });
  }
  if (freeBytes < kept + FEW_BACKUPS * ONE_BACKUP_BYTES) {
    return note(id, `The disk of the archive is nearly full: ${free}`, { detail, remedy });
  }
  return ok(id, `Room on the disk of the archive: ${free}`);
}

function mib(bytes: number): string {
  return bytes >= 10 * 1024 * MIB ? `${Math.floor(bytes / (1024 * MIB))} GiB` : `${Math.floor(bytes / MIB)} MiB`;
}
