/** What the archive has and the bucket should have as well: no list that could be lost, but the difference of the two. */

import { createHash } from 'node:crypto';
import type { Archive } from '../archive/types.ts';
import type { Mac } from '../mac.ts';
import { folderKey } from './layout.ts';
import { openLocalBackup } from './local-backup.ts';
import type { Fleet } from './open.ts';
import { type Done, doneName, doneOf } from './state.ts';

export interface Waiting {
  readonly mac: Mac;
  readonly id: string;
}

export interface Unpushed {
  /** Oldest first. */
  readonly waiting: readonly Waiting[];
  /** A station has removed them from the store by its retention, so they do not come back by themselves. */
  readonly removed: readonly Waiting[];
}

/** What the archive has and the bucket not, as far as this station knows. */
export async function findUnpushed(archive: Archive, fleet: Fleet, only?: Mac): Promise<Unpushed> {
  const done = doneOf(await fleet.state.done());
  const station = await fleet.state.station();
  const waiting: Waiting[] = [];
  const removed: Waiting[] = [];
  const macs = only === undefined ? (await archive.boards()).macs : [only];
  for (const mac of macs) {
    // A board that cannot be read now is looked at again later.
    const ids = await archive.backupIds(mac).catch(() => []);
    const left = ids.filter((id) => !done.has(doneName({ mac, id })));
    const pushed = ids.flatMap((id) => done.get(doneName({ mac, id })) ?? []);
    for (const id of await wantedAgain(archive, fleet, station, pushed)) waiting.push({ mac, id });
    if (left.length === 0) continue;
    const gone = await removedThere(archive, fleet, mac, left);
    for (const id of left) (gone.has(id) ? removed : waiting).push({ mac, id });
  }
  return { waiting: waiting.sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0)), removed };
}

/** Of these backups those that a station has removed from the store; a pin wants them there all the same. */
async function removedThere(
  archive: Archive,
  fleet: Fleet,
  mac: Mac,
  ids: readonly string[],
): Promise<ReadonlySet<string>> {
  const gone = (await archive.elsewhere.gone(mac)).filter(
    ({ id, store, isMissing }) => store === fleet.id && isMissing !== true && ids.includes(id),
  );
  const removed = new Set<string>();
  if (gone.length === 0) return removed;
  const pins = await archive.marks.pins(mac);
  for (const { id, manifestSha256 } of gone) {
    if (pins.some((pin) => pin.id === id)) continue;
    // Of two stations that made a backup in the same second, it may have been that of the other.
    if (manifestSha256 === (await manifestDigest(archive, mac, id))) removed.add(id);
  }
  return removed;
}

/**
 * Of what was pushed from here: it is pinned, and was removed there before anybody knew. Its folder may hold what another
 * station has made in the same second. Once it is there again, the journal notes so.
 */
async function wantedAgain(
  archive: Archive,
  fleet: Fleet,
  station: string,
  pushed: readonly Done[],
): Promise<string[]> {
  const [first] = pushed;
  if (first === undefined) return [];
  const { mac } = first;
  // One that cannot be read now is looked for again later.
  const pinned = new Set((await archive.marks.pins(mac).catch(() => [])).map(({ id }) => id));
  const wanted = pushed.filter(({ id }) => pinned.has(id));
  if (wanted.length === 0) return [];
  const gone = (await archive.elsewhere.gone(mac)).filter(({ store }) => store === fleet.id);
  const stored = (await archive.elsewhere.of(mac)).filter(({ store }) => store === fleet.id);
  const again: string[] = [];
  for (const { id, place } of wanted) {
    const folder = folderKey({ prefix: '', station }, place, mac, id);
    const isGone = gone.some((each) => each.folder === folder);
    const byAnother = stored.find((each) => each.folder === folder && each.station !== station);
    const isOther = byAnother !== undefined && byAnother.manifestSha256 !== (await manifestDigest(archive, mac, id));
    if (isGone || isOther) again.push(id);
  }
  return again;
}

async function manifestDigest(archive: Archive, mac: Mac, id: string): Promise<string | undefined> {
  try {
    const local = await openLocalBackup(await archive.resolveBackup(mac, id));
    await local.close();
    return createHash('sha256').update(local.manifest).digest('hex');
  } catch {
    return undefined;
  }
}
