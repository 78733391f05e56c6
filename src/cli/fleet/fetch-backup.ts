/** Fetches a backup out of the store of the config, and says so: what the commands share. */

import { contendersFor } from '../../archive/elsewhere/same-id.ts';
import type { StoredBackup } from '../../archive/elsewhere/types.ts';
import type { Backup } from '../../archive/types.ts';
import { EspdError } from '../../errors.ts';
import type { Mac } from '../../mac.ts';
import type { Fleet, Readable } from '../../replication/open.ts';
import { type PullPlan, type Pulled, pullBackup } from '../../replication/pull.ts';
import type { CommandContext } from '../context.ts';
import { formatSize, printable } from '../text.ts';
import { fleetOf } from './open.ts';

/** `folder`: of several of this id the one there; null = the one that the id means. */
export type Meant = Pick<StoredBackup, 'mac' | 'id'> & { readonly folder: string | null };

/** The backup that a command means. @throws EspdError that says what is here in its place */
export async function fetchMeant(context: CommandContext, meant: Meant): Promise<Backup> {
  const { archive, out, signal } = context;
  let fleet: Fleet | undefined;
  try {
    // A store that does not answer is asked for two minutes.
    out.status(`Asking the object store for backup ${meant.id}`);
    fleet = fleetOf(context, context.env);
    const bucket = await fleet.openToRead();
    const stored = await storedAs(context, bucket, meant);
    return (await fetchBackup(context, bucket, stored)).backup;
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof EspdError)) throw error;
    throw notFetched(error, meant, await nameOf(context, meant.mac), (await archive.backupIds(meant.mac)).at(-1));
  } finally {
    out.status('');
    fleet?.close();
  }
}

/** Fetches one, and tells how far it is. */
export async function fetchBackup(
  context: CommandContext,
  bucket: Readable,
  stored: StoredBackup,
  { isNoted = true }: { readonly isNoted?: boolean } = {},
): Promise<Pulled> {
  const { archive, out, signal } = context;
  const name = await nameOf(context, stored.mac);
  const what = `Fetching backup ${stored.id} of ${name} from the store`;
  const onPlan = (plan: PullPlan) => {
    if (isNoted) out.note(`${what}: ${planText(plan)}`);
  };
  const onProgress = (doneBytes: number, ofBytes: number) => {
    context.onFetch(doneBytes, ofBytes);
    if (ofBytes > 0) out.status(`${what}: ${Math.floor((100 * doneBytes) / ofBytes)} %`);
  };
  const pulled = await pullBackup(bucket, archive, stored, { signal, onPlan, onProgress });
  const { fetchedBytes, reusedBytes } = pulled;
  const { id } = pulled.backup;
  if (id !== stored.id) out.note(`Its id is ${id} here: ${stored.id} is another backup`);
  context.onMark({ type: 'backup-pulled', mac: stored.mac, id, fetchedBytes, reusedBytes });
  return pulled;
}

export function planText({ missingBytes, sizeBytes }: PullPlan): string {
  if (missingBytes === 0) return `all of its ${formatSize(sizeBytes)} are here in other images`;
  return `${formatSize(missingBytes)} of ${formatSize(sizeBytes)} are not here yet`;
}

/**
 * Where the store of the config has it.
 * @throws EspdError `archive-elsewhere` where only another store has it
 */
export async function storedAs(
  { archive }: Pick<CommandContext, 'archive'>,
  bucket: Pick<Readable, 'id'>,
  { mac, id, folder }: Meant,
): Promise<StoredBackup> {
  const copies = (await archive.elsewhere.of(mac)).filter((each) => each.id === id);
  const there = copies.filter(({ store }) => store === bucket.id);
  const stored = folder === null ? contendersFor(id, there)[0] : there.find((each) => each.folder === folder);
  if (stored !== undefined) return stored;
  if (copies.length === 0) throw new EspdError('archive-unknown-backup', `${mac} has no backup ${printable(id)}`);
  throw new EspdError(
    'archive-elsewhere',
    `Backup ${id} of ${mac} lies in another object store than that of the config`,
    {
      hint: 'Name that store in the section store of the config, or wait until the station that has it pushes into this one',
    },
  );
}

/** How a person calls the board. */
async function nameOf({ archive }: CommandContext, mac: Mac): Promise<string> {
  const label = await archive.marks.about(mac).then(
    (about) => about.label,
    () => null,
  );
  return label === null ? mac : printable(label);
}

function notFetched(error: EspdError, { mac, id }: Meant, name: string, here: string | undefined): EspdError {
  const other =
    here === undefined ? `No backup of ${name} is here` : `The newest that is here: ${mac}@${here} (or --at ${here})`;
  const hint = error.hint === '' ? other : `${error.hint}. ${other}`;
  const why =
    error.code === 'store-off'
      ? 'lies in an object store, and the config names none'
      : `is not here, and could not be fetched: ${error.message}`;
  return new EspdError(error.code, `Backup ${id} of ${name} ${why}`, { hint, cause: error });
}
