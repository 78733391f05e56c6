/**
 * One process of this station at a time writes its journal: daemon and commands would choose the same number. A process
 * that is gone leaves its lock behind, which the next one takes; where the store honours conditions, two at once would do
 * no harm even so.
 */

import { open, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { dirname } from 'node:path';
import { currentOwner, draftName, draftOwner, ownerState, probeProcess } from '../../archive/owner.ts';
import { giveFileToOwner, makeStateFolder } from '../../archive/state-owner.ts';
import { type Clock, sleep } from '../../clock.ts';
import { EspdError, systemCode } from '../../errors.ts';

const WAIT_MS = 500;
const TRIES = 20;
/** Its owner cannot be seen from here (another container), and has not touched it for so long. */
const ABANDONED_MS = 15 * 60_000;

export interface Lock {
  /** To be called now and then by whoever works for long. */
  touch(): Promise<void>;
  release(): Promise<void>;
}

/** @returns undefined: another process has it, and goes on having it */
export async function takeLock(path: string, clock: Clock, signal: AbortSignal): Promise<Lock | undefined> {
  const name = draftName(await currentOwner());
  await makeStateFolder(dirname(path)).catch(() => undefined);
  for (let left = TRIES; ; left--) {
    if (await create(path, name)) return lockOf(path, name);
    if (await isAbandoned(path)) await takeAway(path);
    else if (left <= 1) return undefined;
    else await sleep(clock, WAIT_MS, signal);
    signal.throwIfAborted();
  }
}

async function create(path: string, name: string): Promise<boolean> {
  try {
    const file = await open(path, 'wx', 0o600);
    try {
      await file.write(name);
      await giveFileToOwner(file, path);
    } finally {
      await file.close();
    }
    return true;
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false;
    throw new EspdError('archive-unwritable', `${path} cannot be made (${systemCode(error)})`, {
      hint: 'What espd knows of the object store is kept there (archive.statePath)',
      cause: error,
    });
  }
}

async function isAbandoned(path: string): Promise<boolean> {
  try {
    const owner = draftOwner(await readFile(path, 'utf8'));
    const { mtimeMs } = await stat(path);
    const state = owner === undefined ? 'unknown' : await ownerState(owner, await currentOwner(), probeProcess);
    // A process that was killed between making and writing it leaves an empty one.
    return state === 'gone' || (state === 'unknown' && Date.now() - mtimeMs > ABANDONED_MS);
  } catch {
    return false;
  }
}

/** By a rename, so that of two that find it abandoned only one takes it away. */
async function takeAway(path: string): Promise<void> {
  const aside = `${path}.${process.pid}.abandoned`;
  await rename(path, aside).catch(() => undefined);
  await rm(aside, { force: true }).catch(() => undefined);
}

function lockOf(path: string, name: string): Lock {
  return {
    touch: async () => {
      const now = new Date();
      await utimes(path, now, now).catch(() => undefined);
    },
    release: async () => {
      const isOurs = (await readFile(path, 'utf8').catch(() => '')) === name;
      if (isOurs) await rm(path, { force: true }).catch(() => undefined);
    },
  };
}
