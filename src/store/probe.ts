/**
 * Whether a store does what it says: some accept a conditional write and ignore its condition, so that two stations would
 * overwrite each other. What is asked for is done for real, with small objects under `folder`, which are removed again as
 * far as the credentials allow that.
 */

import { randomBytes } from 'node:crypto';
import { EspdError, hasCode } from '../errors.ts';
import type { Condition, ObjectStore } from './types.ts';

export interface StoreFacts {
  /** `honoured`: only one of many writers wins. Else another way of naming is needed. */
  readonly conditions: 'honoured' | 'ignored' | 'racing' | 'refused';
  /** Whether objects can be put in parts. */
  readonly multipart: boolean;
  /** Whether a list has what was put just before. */
  readonly lists: boolean;
  readonly removes: boolean;
  /** The bucket keeps versions; absent where it does not. */
  readonly versions?: true;
}

/** So many writers at once, and so many times: a race that is lost one time in two shows with 0.4 % of doubt left. */
const WRITERS = 6;
const ROUNDS = 8;

/**
 * @param store may try again by itself: each writer puts bytes of its own, so that a retry hides nothing
 * @throws EspdError where the store cannot be used at all: no rights to put or read, no ranges, other bytes than were put
 */
export async function probeStore(
  store: ObjectStore,
  folder: string,
  { signal, random = randomBytes }: { signal?: AbortSignal; random?: (bytes: number) => Buffer } = {},
): Promise<StoreFacts> {
  const made: string[] = [];
  const fresh = () => {
    const key = `${folder}${random(12).toString('hex')}`;
    made.push(key);
    return key;
  };
  try {
    await checkBytes(store, fresh(), random(1000), signal);
    const conditions = await probeConditions(store, fresh, signal);
    const listed = fresh();
    const put = await store.put(listed, Buffer.from('listed'), { signal });
    const versions = put?.isVersion === true ? { versions: true as const } : {};
    const lists = (await store.list({ prefix: listed, signal })).objects.some(({ key }) => key === listed);
    const multipart = await probeMultipart(store, fresh(), random(1000), signal);
    return { conditions, lists, multipart, removes: await probeRemoval(store, fresh(), signal), ...versions };
  } finally {
    if (signal?.aborted !== true) await removeAll(store, made, signal);
  }
}

async function checkBytes(store: ObjectStore, key: string, bytes: Buffer, signal?: AbortSignal): Promise<void> {
  await store.put(key, bytes, { signal });
  const whole = await store.get(key, { signal });
  const part = await store.get(key, { range: { offset: 100, length: 50 }, signal });
  if (whole?.bytes.equals(bytes) === true && part?.bytes.equals(bytes.subarray(100, 150)) === true) return;
  throw new EspdError('store-damaged', `The object store (${store.place}) does not give back the bytes that were put`, {
    hint: 'It cannot be trusted with backups',
  });
}

async function probeConditions(
  store: ObjectStore,
  fresh: () => string,
  signal: AbortSignal | undefined,
): Promise<StoreFacts['conditions']> {
  const put = async (key: string, text: string, condition: Condition) => {
    try {
      return await store.put(key, Buffer.from(text), { condition, signal });
    } catch (error) {
      // 409 and the like is how some tell a writer that another one was faster.
      if (hasCode(error, 'store-busy')) return undefined;
      throw error;
    }
  };
  try {
    // Stale: somebody else was there before.
    const key = fresh();
    const first = await put(key, 'first', 'if-absent');
    if (first === undefined) return 'refused';
    if ((await put(key, 'second', 'if-absent')) !== undefined) return 'ignored';
    if ((await put(key, 'third', { ifMatch: '0'.repeat(32) })) !== undefined) return 'ignored';
    if ((await store.get(key, { signal }))?.bytes.toString() !== 'first') return 'ignored';
    if ((await put(key, 'fourth', { ifMatch: first.etag })) === undefined) return 'refused';
  } catch (error) {
    if (hasCode(error, 'store-failed')) return 'refused';
    throw error;
  }
  for (let round = 0; round < ROUNDS; round++) {
    const key = fresh();
    const wins = await Promise.all(Array.from({ length: WRITERS }, (_, who) => put(key, `writer ${who}`, 'if-absent')));
    const winners = wins.flatMap((win, who) => (win === undefined ? [] : [`writer ${who}`]));
    const there = (await store.get(key, { signal }))?.bytes.toString();
    if (winners.length > 1 || (there !== undefined && winners.length === 1 && there !== winners[0])) return 'racing';
  }
  return 'honoured';
}

async function probeMultipart(store: ObjectStore, key: string, bytes: Buffer, signal?: AbortSignal): Promise<boolean> {
  try {
    const upload = await store.beginUpload(key, { signal });
    await store.completeUpload(upload, [await store.putPart(upload, 1, bytes, { signal })], { signal });
  } catch (error) {
    if (hasCode(error, 'store-failed')) return false;
    throw error;
  }
  return (await store.get(key, { signal }))?.bytes.equals(bytes) === true;
}

async function probeRemoval(store: ObjectStore, key: string, signal?: AbortSignal): Promise<boolean> {
  await store.put(key, Buffer.from('to be removed'), { signal });
  try {
    await store.remove(key, { signal });
  } catch (error) {
    if (hasCode(error, 'store-denied')) return false;
    throw error;
  }
  return (await store.head(key, { signal })) === undefined;
}

/** What stays behind is small, and in a folder of its own. */
async function removeAll(store: ObjectStore, keys: readonly string[], signal: AbortSignal | undefined): Promise<void> {
  for (const key of keys) {
    try {
      await store.remove(key, { signal });
    } catch {
      return;
    }
  }
}

/** Problems of a store in words, the worst first; empty = there are none. */
export function troublesOf({ conditions, multipart, lists }: StoreFacts): readonly string[] {
  const about = {
    honoured: null,
    ignored: 'it accepts conditional writes and ignores their conditions',
    racing: 'of several conditional writes at once it lets more than one win',
    refused: 'it does not know conditional writes',
  }[conditions];
  return [
    ...(about === null ? [] : [about]),
    ...(multipart ? [] : ['it does not take objects in parts']),
    ...(lists ? [] : ['its lists leave out what was put just before']),
  ];
}
