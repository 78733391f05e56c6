/** Which backup the command line of a restore means. */

import type { Archive, Backup, Which } from '../archive/types.ts';
import { EspdError } from '../errors.ts';
import type { Mac } from '../mac.ts';
import { commandLine } from '../transfer/finish-command.ts';
import { knownIds, meantBackup } from '../transfer/meant-backup.ts';
import { noteForeign } from './archive-notes.ts';
import type { CommandContext } from './context.ts';
import { fetchedFor } from './fleet/fetch.ts';

/** A board as the person typed it, and which of its backups. */
export interface BoardAndWhich {
  readonly board: string;
  readonly at: string;
}

export interface NamedBoard {
  /** `MAC` or `MAC@WHICH`, as an argument or by either option: one of them. */
  readonly board?: string;
  readonly mac?: string;
  readonly from?: string;
  readonly at?: string;
}

/** @throws EspdError `usage` unless exactly one board and at most one WHICH is named */
export function boardAndWhich({ board, mac, from, at }: NamedBoard): BoardAndWhich {
  const refuse = (message: string, hint: string) => new EspdError('usage', message, { hint });
  const [named, second] = [board, mac, from].filter((text) => text !== undefined);
  if (named === undefined) {
    throw refuse('Whose backup? Name a board', 'espd restore 50:02:91:c3:37:a5, or a backup of it: MAC@WHICH');
  }
  if (second !== undefined) {
    throw refuse('The board whose backup is restored is named twice', 'MAC, --mac MAC and --from MAC mean the same');
  }
  const [name = '', which] = named.split(/@(.*)/s);
  if (which === undefined) return { board: name, at: at ?? 'latest' };
  if (at !== undefined) {
    throw refuse('Which backup is meant is said twice', 'Give either MAC@WHICH or --at WHICH');
  }
  return { board: name, at: which };
}

/**
 * The backup that is meant, verified; `latest` of a board with an interrupted restore is what that began with.
 * @param target the board that is written to; null for each board that is plugged in
 * @throws EspdError see {@link meantBackup}; `archive-damaged`
 */
export async function chooseBackup(
  context: CommandContext,
  { board, at }: BoardAndWhich,
  target: Mac | 'same' | null,
): Promise<{ backup: Backup; why: string }> {
  const { archive } = context;
  const mac = await archive.resolveBoard(board);
  const begun = at === 'latest' ? await begunWith(archive, mac, target === 'same' ? mac : target) : undefined;
  const backup = await soundBackup(context, mac, begun ?? at);
  const ids = await knownIds(archive, mac);
  const count = `${ids.indexOf(backup.id) + 1} of ${ids.length}`;
  if (begun !== undefined) return { backup, why: `to finish the interrupted restore (${count})` };
  if (at === 'latest' && backup.id !== ids.at(-1)) {
    return { backup, why: `the latest but for snapshots of restores (${count})` };
  }
  if (ids.length === 1) return { backup, why: 'the only one' };
  if (at === 'latest' || at === 'first') return { backup, why: `${at} of ${ids.length}` };
  return { backup, why: at === backup.id ? `named by its id (${count})` : `the newest not after ${at} (${count})` };
}

/**
 * The backup that is meant, every file of it hashed.
 * @throws EspdError see {@link meantBackup}; `archive-damaged`, `archive-unreadable`
 */
export async function soundBackup(context: CommandContext, mac: Mac, which: Which): Promise<Backup> {
  const { archive, call, out, signal } = context;
  const backup = await fetchedFor(context, () => meantBackup(archive, mac, which));
  const [damage] = await archive.verifyBackup(backup.mac, backup.id, signal);
  if (damage !== undefined) {
    const { code, hint } = damage.error;
    const what = code === 'archive-damaged' ? 'is damaged' : 'cannot be verified';
    const show = `"${commandLine(call, 'show', mac)}" lists the other backups, "${commandLine(call, 'restore', `${mac}@WHICH`)}" puts one back`;
    throw new EspdError(code, `Backup ${backup.id} of ${backup.mac} ${what}: ${damage.file} ${damage.problem}`, {
      hint: `Nothing was written. ${hint === '' ? '' : `${hint}. `}${show}`,
    });
  }
  const { foreign } = await archive.history(mac);
  noteForeign(
    out,
    foreign.filter(({ id }) => id === backup.id),
  );
  return backup;
}

/** Of `mac`'s backups the one with which a restore of `target` has begun and not ended. */
async function begunWith(archive: Archive, mac: Mac, target: Mac | null): Promise<string | undefined> {
  const record = target === null ? undefined : (await archive.halfRestored(target))?.record;
  return record?.from.mac === mac ? record.from.id : undefined;
}
