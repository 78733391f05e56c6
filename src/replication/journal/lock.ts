/**
 * One process of this station at a time writes its journal: daemon and commands would choose the same number. A process
 * that is gone leaves its lock behind, which the next one takes; where the store honours conditions, two at once would do
 * no harm even so.
 */

import { link, open, readFile, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { type Owner, currentOwner, draftName, draftOwner, ownerState, probeProcess } from '../../archive/owner.ts';
import { giveFileToOwner, makeStateFolder } from '../../archive/state-owner.ts';
import { type Clock, sleep } from '../../clock.ts';
import { EspdError, hasNoLinks, systemCode } from '../../errors.ts';

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
  const self = await currentOwner();
  const name = draftName(self);
  await makeStateFolder(dirname(path)).catch(() => undefined);
  for (let left = TRIES; ; left--) {
    if (await create(path, name)) {
      await clearAside(path, self);
      return lockOf(path, name);
    }
    if (await isAbandoned(path, self)) await takeAway(path);
    else if (left <= 1) return undefined;
    else await sleep(clock, WAIT_MS, signal);
    signal.throwIfAborted();
  }
}

/** Its content is there when the name appears: whoever is killed in the middle of it leaves no lock that names nobody. */
async function create(path: string, name: string): Promise<boolean> {
  const aside = `${path}.${name}`;
  try {
    await write(aside, name);
    try {
      await link(aside, path);
    } catch (error) {
      if (!hasNoLinks(error)) throw error;
      await write(path, name);
    }
    return true;
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false;
    throw new EspdError('archive-unwritable', `${path} cannot be made (${systemCode(error)})`, {
      hint: 'What espd knows of the object store is kept there (archive.statePath)',
      cause: error,
    });
  } finally {
    await rm(aside, { force: true }).catch(() => undefined);
  }
}

async function write(path: string, name: string): Promise<void> {
  const made = await open(path, 'wx', 0o600);
  try {
    await made.write(name);
    await giveFileToOwner(made, path);
  } finally {
    await made.close();
  }
}

/** What those that were killed meanwhile have left. Never rejects. */
async function clearAside(path: string, self: Owner): Promise<void> {
  const prefix = `${basename(path)}.`;
  for (const file of await readdir(dirname(path)).catch(() => [])) {
    const owner = file.startsWith(prefix) ? draftOwner(file.slice(prefix.length)) : undefined;
    if (owner === undefined || (await ownerState(owner, self, probeProcess)) !== 'gone') continue;
    await rm(join(dirname(path), file), { force: true }).catch(() => undefined);
  }
}

async function isAbandoned(path: string, self: Owner): Promise<boolean> {
  try {
    const owner = draftOwner(await readFile(path, 'utf8'));
    const { mtimeMs } = await stat(path);
    const state = owner === undefined ? 'unknown' : await ownerState(owner, self, probeProcess);
    // Where a file system has no second names, a process that was killed between making and writing it leaves an empty one.
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
