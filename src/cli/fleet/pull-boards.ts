/** `espd pull BOARD[@WHICH]...`: makes backups that lie in the object store alone backups of this archive. */

import { placesOf } from '../../archive/elsewhere/places.ts';
import { contendersFor, parseCopyName } from '../../archive/elsewhere/same-id.ts';
import { ElsewhereError } from '../../archive/elsewhere/types.ts';
import type { Archive } from '../../archive/types.ts';
import { EspdError, hasCode } from '../../errors.ts';
import type { Mac } from '../../mac.ts';
import type { Readable } from '../../replication/open.ts';
import { type PullPlan, planPull } from '../../replication/pull.ts';
import { Refusals } from '../../replication/refusals.ts';
import { meantId } from '../../transfer/meant-backup.ts';
import type { CommandContext } from '../context.ts';
import { endedBy } from '../ended-by.ts';
import { split } from '../diff-sides.ts';
import { formatSize, plural, printable } from '../text.ts';
import { type Meant as Name, fetchBackup, planText, storedAs } from './fetch-backup.ts';
import { fleetOf } from './open.ts';

export interface PullBoardsOptions {
  /** `BOARD` or `BOARD@WHICH`, as typed; empty goes together with `all`. */
  readonly backups: readonly string[];
  /** Every backup of these boards, or of all boards. */
  readonly all: boolean;
  readonly dryRun: boolean;
}

interface Meant {
  /** In the store and not here, oldest first. */
  readonly away: readonly Name[];
  readonly here: readonly Name[];
}

type Told = Pick<Name, 'mac' | 'id'>;
const told = ({ mac, id }: Told): Told => ({ mac, id });

/** So many are named in text; `--json` has all. */
const MAX_NAMED = 20;

export async function pullBoards(
  context: CommandContext,
  options: PullBoardsOptions,
  env: NodeJS.ProcessEnv,
): Promise<EspdError | undefined> {
  const { archive, out } = context;
  if (options.backups.length === 0 && !options.all) {
    throw new EspdError('usage', 'What is to be fetched? Name a board, or a backup of it as BOARD@WHICH', {
      hint: 'espd pull --all fetches everything that lies in the store',
    });
  }
  const fleet = fleetOf(context, env);
  try {
    await archive.checkReadable();
    const meant = await findMeant(context, fleet.id, options);
    const bucket = await fleet.openToRead();
    return await (options.dryRun ? tell : fetchAll)(context, bucket, meant, fleet.place);
  } finally {
    out.status('');
    fleet.close();
  }
}

async function findMeant(
  { archive, out }: CommandContext,
  store: string,
  { backups, all }: PullBoardsOptions,
): Promise<Meant> {
  const names = new Map<string, Name>();
  const add = (mac: Mac, id: string, folder: string | null = null) =>
    names.set(`${mac} ${id} ${folder ?? ''}`, { mac, id, folder });
  let inOthers = 0;
  const addAll = async (mac: Mac) => {
    const here = await archive.backupIds(mac);
    for (const id of here) add(mac, id);
    const stored = await archive.elsewhere.of(mac);
    if (stored.length === 0) return;
    const ofStore = stored.filter((each) => each.store === store);
    const { elsewhere } = placesOf((await archive.history(mac)).backups, ofStore);
    for (const { id, folder } of elsewhere) {
      // Others have had the same second as one that is here, or that the id means.
      const isMeant = !here.includes(id) && contendersFor(id, ofStore)[0]?.folder === folder;
      add(mac, id, isMeant ? null : folder);
    }
    const known = new Set([...here, ...ofStore.map(({ id }) => id)]);
    inOthers += new Set(stored.flatMap(({ id }) => (known.has(id) ? [] : [id]))).size;
  };
  for (const text of backups) {
    const { board, which } = split(text);
    if (all && which !== undefined) {
      throw new EspdError('usage', 'With --all every backup of a board is fetched: name the board alone', {
        hint: `Without --all only ${printable(text)} is fetched`,
      });
    }
    const mac = await archive.resolveBoard(board);
    if (all) await addAll(mac);
    else if (which !== undefined && parseCopyName(which) !== undefined) {
      const { id, folder } = await copyMeant(archive, mac, which);
      add(mac, id, folder);
    } else add(mac, await meantId(archive, mac, which ?? 'latest'));
  }
  if (backups.length === 0) {
    // A board that cannot be read now has nothing that could be compared with the store.
    for (const mac of (await archive.boards()).macs) {
      await addAll(mac).catch(() => undefined);
    }
  }
  if (inOthers > 0) out.note(`${plural(inOthers, 'backup')} left out: in another object store than that of the config`);
  const away: Name[] = [];
  const here: Name[] = [];
  for (const name of [...names.values()].sort((a, b) => (a.id < b.id ? -1 : 1))) {
    const isHere = name.folder === null && (await archive.backupIds(name.mac)).includes(name.id);
    (isHere ? here : away).push(name);
  }
  return { away, here };
}

/** Of `ID@STATION`. `folder`: null where it is here, or has an id of its own. */
async function copyMeant(archive: Archive, mac: Mac, which: string): Promise<Omit<Name, 'mac'>> {
  try {
    const { id } = await archive.resolveBackup(mac, which);
    return { id, folder: null };
  } catch (error) {
    if (!(error instanceof ElsewhereError)) throw error;
    return error;
  }
}

async function tell(
  context: CommandContext,
  bucket: Readable,
  { away, here }: Meant,
  place: string,
): Promise<EspdError | undefined> {
  const { archive, out, signal } = context;
  const waiting: (Told & { readonly station: string } & PullPlan)[] = [];
  for (const [index, name] of away.entries()) {
    out.status(`Looking what is here already (${index + 1} of ${away.length})`);
    const stored = await storedAs(context, bucket, name);
    waiting.push({ ...told(name), station: stored.station, ...(await planPull(archive, stored, signal)) });
  }
  out.status('');
  if (away.length === 0) out.line(nothingToFetch(here));
  else {
    const missing = waiting.reduce((sum, { missingBytes }) => sum + missingBytes, 0);
    out.line(
      `Not here yet: ${plural(waiting.length, 'backup')}; at most ${formatSize(missing)} to fetch from ${printable(place)}`,
    );
  }
  for (const { mac, id, station, ...plan } of waiting.slice(0, MAX_NAMED)) {
    out.line(`  ${mac}  ${id}  by ${printable(station)}: ${planText(plan)}`);
  }
  if (waiting.length > MAX_NAMED) out.line(`  and ${waiting.length - MAX_NAMED} more`);
  out.document({ store: place, waiting, here: here.map(told) });
  return undefined;
}

async function fetchAll(
  context: CommandContext,
  bucket: Readable,
  { away, here }: Meant,
  place: string,
): Promise<EspdError | undefined> {
  const { archive, out, signal } = context;
  if (away.length > 0) await archive.checkWritable();
  const pulled: (Told & { readonly fetchedBytes: number; readonly reusedBytes: number })[] = [];
  const failures: (Told & { readonly error: EspdError })[] = [];
  let fault: EspdError | undefined;
  const refusals = new Refusals();
  for (const name of away) {
    try {
      const stored = await storedAs(context, bucket, name);
      const isNoted = away.length === 1;
      const { backup, fetchedBytes, reusedBytes } = await fetchBackup(context, bucket, stored, { isNoted });
      pulled.push({ ...told(backup), fetchedBytes, reusedBytes });
      refusals.served();
    } catch (error) {
      const failure = endedBy(signal, error);
      if (signal.aborted || !(hasCode(failure, 'store-unknown-backup', 'store-key') || refusals.isOfOne(failure))) {
        fault = failure;
        break;
      }
      failures.push({ ...told(name), error: failure });
    }
  }
  out.status('');
  for (const { mac, id, fetchedBytes, reusedBytes } of pulled.slice(0, MAX_NAMED)) {
    const reused = reusedBytes === 0 ? '' : `, ${formatSize(reusedBytes)} were here already`;
    out.line(`${mac}  ${id}  ${formatSize(fetchedBytes)} fetched${reused}`);
  }
  if (pulled.length > MAX_NAMED) out.line(`and ${pulled.length - MAX_NAMED} more`);
  for (const { mac, id, error } of failures) out.behind('FAILED  ', `${mac} ${id}: ${printable(error.message)}`);
  const left = away.length - pulled.length;
  if (left > 0) out.line(`${plural(pulled.length, 'backup')} fetched, ${left} not`);
  else if (away.length === 0) out.line(nothingToFetch(here));
  const error = fault ?? failures[0]?.error;
  out.document({ store: place, pulled, here: here.map(told), failures, ...(error === undefined ? {} : { error }) });
  return error;
}

function nothingToFetch(here: readonly Name[]): string {
  const [only] = here;
  if (here.length === 1 && only !== undefined) return `${only.mac}  ${only.id} is here`;
  return here.length === 0 ? 'Nothing is known to lie in the object store' : `All ${here.length} backups are here`;
}
