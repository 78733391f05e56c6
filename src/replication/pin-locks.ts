/**
 * Pinned backups are held by the store itself (legal hold of S3 Object Lock), so that nobody can destroy them there: not a
 * station that was taken over, nor a person with a console. The pins of all stations count, whoever holds for them.
 *
 * A hold is ended only where a pin was, and was taken back: holds that a person has put on something else stay. What was
 * done is noted, so that it is asked for once; if the notes are lost, all is asked for again, and nothing else happens.
 */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { StoredBackup } from '../archive/elsewhere/types.ts';
import type { Archive } from '../archive/types.ts';
import { EspdError, hasCode, toEspdError } from '../errors.ts';
import type { Mac } from '../mac.ts';
import { ENCRYPTED } from './layout.ts';
import { CHECKSUMS, MANIFEST } from './local-backup.ts';
import type { Bucket } from './push-backup.ts';
import { Refusals } from './refusals.ts';
import { appendLines, parseJson, replaceFile } from './state-file.ts';

const NOTES = 'holds.jsonl';
/** The file is written anew where it has so many more lines than backups it speaks of. */
const SPARE_LINES = 1000;
const noteSchema = z.object({ folder: z.string().max(512), at: z.string().max(64), held: z.boolean() });

type HoldingBucket = Pick<Bucket, 'id' | 'store'> & { readonly layout: { readonly prefix: string } };

export interface PinLockParts {
  readonly archive: Pick<Archive, 'boards' | 'elsewhere' | 'marks'>;
  readonly bucket: HoldingBucket;
  /** Of the state, for this store and archive. */
  readonly stateFolder: string;
}

export interface Held {
  readonly mac: Mac;
  readonly id: string;
  readonly folder: string;
  /** Else its hold was ended. */
  readonly isHeld: boolean;
}

/** What was done, and was not so before. */
export interface PinLockReport {
  readonly done: readonly Held[];
  /** Boards whose pins could not be read; nothing was changed for them. */
  readonly unread: readonly Mac[];
  /** Boards of which a pinned backup is not in the store, as far as is known here. */
  readonly waiting: readonly Mac[];
}

/**
 * Makes the holds in the bucket what the pins are, as far as they are known here.
 * @param only these boards; absent = all
 * @throws EspdError `store-denied` where the credentials may not, `store-failed` where the bucket has no object lock; other
 *   `store-...`, `archive-unwritable`; the signal's reason. What was done until then is noted
 */
export async function lockPins(
  { archive, bucket, stateFolder }: PinLockParts,
  { only, signal }: { readonly only?: Iterable<Mac>; readonly signal: AbortSignal },
): Promise<PinLockReport> {
  const notes = await HoldNotes.read(join(stateFolder, NOTES));
  const done: Held[] = [];
  const unread: Mac[] = [];
  const waiting = new Set<Mac>();
  const refusals = new Refusals();
  let fault: EspdError | undefined;
  for (const mac of only ?? (await archive.boards()).macs) {
    signal.throwIfAborted();
    const marks = await archive.marks.of(mac).catch((error: unknown) => {
      if (!hasCode(error, 'archive-unreadable', 'archive-damaged')) throw error;
      unread.push(mac);
    });
    if (marks === undefined || (marks.pins.length === 0 && marks.unpinned.length === 0)) continue;
    const pinned = new Set(marks.pins.map(({ id }) => id));
    // Any of the lines that nobody understands may be a pin.
    const unpinned = new Set(marks.strangePinLines.length > 0 ? [] : marks.unpinned);
    const there = (await archive.elsewhere.of(mac)).filter(({ store }) => store === bucket.id);
    const ids = new Set(there.map(({ id }) => id));
    if ([...pinned].some((id) => !ids.has(id))) waiting.add(mac);
    for (const stored of there) {
      const { id, folder, at } = stored;
      const isHeld = pinned.has(id);
      if ((!isHeld && !unpinned.has(id)) || notes.of(folder, at) === isHeld) continue;
      const isDone = await holdAll(bucket, stored, isHeld, signal).catch((error: unknown) => {
        signal.throwIfAborted();
        fault ??= toEspdError(error);
        if (!refusals.isOfOne(toEspdError(error))) throw error;
        return false;
      });
      if (isDone) {
        refusals.served();
        await notes.add({ folder, at, held: isHeld });
        done.push({ mac, id, folder, isHeld });
      } else if (isHeld) waiting.add(mac);
    }
  }
  // By now all others had their turn.
  if (fault !== undefined) throw fault;
  return { done, unread, waiting: [...waiting] };
}

/** SHA256SUMS last, so that a backup counts as held when all of it is. @returns false where it is not there as a whole */
async function holdAll(
  bucket: HoldingBucket,
  stored: StoredBackup,
  isHeld: boolean,
  signal: AbortSignal,
): Promise<boolean> {
  const { store, layout } = bucket;
  const root = layout.prefix + stored.folder;
  if ((await store.head(root + CHECKSUMS, { signal })) === undefined) return false;
  const isEncrypted = (await store.head(root + MANIFEST, { signal })) === undefined;
  const names = [stored.manifest.image.file, MANIFEST].map((name) => (isEncrypted ? name + ENCRYPTED : name));
  for (const name of [...names, CHECKSUMS]) {
    if (!(await withReason(store.place, () => store.hold(root + name, isHeld, { signal })))) return false;
  }
  return true;
}

async function withReason<T>(place: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (hasCode(error, 'store-denied')) {
      throw new EspdError('store-denied', `These credentials may put no legal hold on objects (${place})`, {
        hint: 'Pins are kept by espd alone until they may: s3:PutObjectLegalHold, or store.lock: none. docs/fleet.md',
        cause: error,
      });
    }
    if (hasCode(error, 'store-failed')) {
      throw new EspdError('store-failed', `The bucket takes no legal holds (${place})`, {
        hint: 'Object lock is chosen when a bucket is made. Pins are kept by espd alone; store.lock: none says so',
        cause: error,
      });
    }
    throw error;
  }
}

/** What this station has done already, by folder and when the backup came there: one that came again is not held. */
class HoldNotes {
  readonly #file: string;
  readonly #held: Map<string, { readonly at: string; readonly held: boolean }>;

  private constructor(file: string, held: Map<string, { readonly at: string; readonly held: boolean }>) {
    this.#file = file;
    this.#held = held;
  }

  static async read(file: string): Promise<HoldNotes> {
    const lines = (await readFile(file, 'utf8').catch(() => '')).split('\n').filter((line) => line !== '');
    const held = new Map<string, { readonly at: string; readonly held: boolean }>();
    for (const line of lines) {
      const note = parseJson(line, noteSchema);
      if (note !== undefined) held.set(note.folder, note);
    }
    if (lines.length > held.size + SPARE_LINES) {
      const short = Array.from(held, ([folder, note]) => `${JSON.stringify({ ...note, folder })}\n`);
      await replaceFile(file, short.join(''));
    }
    return new HoldNotes(file, held);
  }

  of(folder: string, at: string): boolean | undefined {
    const note = this.#held.get(folder);
    return note?.at === at ? note.held : undefined;
  }

  async add(note: z.output<typeof noteSchema>): Promise<void> {
    this.#held.set(note.folder, note);
    await appendLines(this.#file, [JSON.stringify(note)]);
  }
}

/** Whether this station can do it, in words that say what is missing; undefined: it can. A small object is put for it. */
export async function whyNoLocks(
  { store }: Pick<Bucket, 'store'>,
  probeKey: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    if (!(await store.canHold({ signal }))) return 'the bucket has no object lock, so pins are kept by espd alone';
  } catch (error) {
    // To know that is a right of its own; the try below says the same.
    if (!hasCode(error, 'store-denied')) throw error;
  }
  await store.put(probeKey, Buffer.from('to be held'), { signal });
  try {
    await store.hold(probeKey, true, { signal });
    await store.hold(probeKey, false, { signal });
    return undefined;
  } catch (error) {
    if (hasCode(error, 'store-denied'))
      return 'these credentials may put no legal hold on objects (s3:PutObjectLegalHold)';
    if (hasCode(error, 'store-failed')) return 'the bucket takes no legal holds, so pins are kept by espd alone';
    throw error;
  } finally {
    if (!signal.aborted) await store.remove(probeKey, { signal }).catch(() => undefined);
  }
}
