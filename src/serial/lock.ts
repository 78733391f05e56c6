/**
 * Locks on serial ports before they are opened: UUCP lock files (`/run/lock/LCK..ttyUSB0`), which minicom, picocom,
 * tio and ser2net use, and the question whether anybody has the port open. flock and TIOCEXCL come with the open port.
 */

import { randomUUID } from 'node:crypto';
import { link, readFile, realpath, stat, unlink, writeFile } from 'node:fs/promises';
import { EspdError, systemCode } from '../errors.ts';
import type { Logger } from '../log.ts';
import { ESPD, type PortHolder, describeHolder, findHolder, programName } from './port-holder.ts';

/** Where locks and processes are looked for; other folders in tests. */
export interface LockPaths {
  /** Folders of UUCP lock files (FHS 3.0, 5.9), the same one under two names counts once. Missing ones are skipped. */
  readonly lockFolders: readonly string[];
  readonly procFolder: string;
}

export const SYSTEM_LOCK_PATHS: LockPaths = { lockFolders: ['/run/lock', '/var/lock'], procFolder: '/proc' };

export interface PortLock {
  /** Removes what {@link lockPort} made; never rejects. */
  release(): Promise<void>;
}

/**
 * Takes the UUCP lock of a port and makes sure that nobody has it open. A lock file whose program is gone is replaced.
 * Where no folder is writable the lock is not taken, which is normal for an ordinary user.
 *
 * @param devicePath the device itself, all links resolved
 * @throws EspdError `port-busy`, naming the program
 */
export async function lockPort(devicePath: string, paths: LockPaths, log: Logger): Promise<PortLock> {
  const holder = await findHolder(devicePath, paths.procFolder);
  if (holder !== undefined) throw heldBy(devicePath, holder);
  const taken: string[] = [];
  const release = async () => {
    for (const file of taken.splice(0)) {
      // Somebody who judged us dead may have replaced it: then it is not ours to remove.
      if ((await readLockPid(file)) === process.pid) await unlink(file).catch(() => undefined);
    }
  };
  try {
    for (const folder of await existingFolders(paths.lockFolders)) {
      const file = `${folder}/${lockFileName(devicePath)}`;
      if (await takeLockFile(file, devicePath, paths.procFolder, log)) taken.push(file);
    }
  } catch (error) {
    await release();
    throw error;
  }
  return { release };
}

/** `LCK..ttyUSB0` for `/dev/ttyUSB0`, `LCK..pts_3` for `/dev/pts/3` (slashes as picocom replaces them). */
export function lockFileName(devicePath: string): string {
  return `LCK..${devicePath.replace(/^\/dev\//, '').replaceAll('/', '_')}`;
}

/** The `port-busy` of a port that a known program holds. `remedy`: what else helps, where it holds the port in name only. */
export function heldBy(devicePath: string, holder: PortHolder, remedy = ''): EspdError {
  const hint =
    holder.name === ESPD
      ? 'Another espd works on this board: wait until it is done, or stop it (the service: systemctl stop espd)'
      : 'Close that program first';
  return portBusy(devicePath, describeHolder(holder), hint + remedy);
}

/** The `port-busy` of a port held by `holder` (a program and its pid, or less where less is known). */
export function portBusy(devicePath: string, holder: string, hint = 'Close that program first'): EspdError {
  return new EspdError('port-busy', `${devicePath} is in use by ${holder}`, { hint });
}

async function existingFolders(folders: readonly string[]): Promise<Set<string>> {
  const real = await Promise.all(folders.map((folder) => realpath(folder).catch(() => undefined)));
  return new Set(real.filter((folder) => folder !== undefined));
}

/** Whether the lock file is ours now; false where the folder does not let us. Throws `port-busy`. */
async function takeLockFile(file: string, devicePath: string, procFolder: string, log: Logger): Promise<boolean> {
  const draft = `${file}.${process.pid}.${randomUUID()}`;
  try {
    // The content must be there when the name appears: written aside, then linked, which fails if the name exists.
    await writeFile(draft, lockFileContent(process.pid), { flag: 'wx', mode: 0o644 });
    for (let attempt = 0; attempt < 5; attempt++) {
      if (await linkUnlessExists(draft, file)) return true;
      const pid = await readLockPid(file);
      if (pid === undefined) continue;
      if (isAlive(pid)) throw await lockedBy(file, devicePath, pid, procFolder);
      if (pid === NO_PID && !(await isOlder(file, draft))) {
        throw portBusy(devicePath, 'a program that just makes a lock file', `If there is none, remove ${file}`);
      }
      log.info('removing the lock file of a program that is gone', { file, pid });
      await removeStale(file, pid, draft, devicePath);
    }
    throw portBusy(devicePath, `programs that keep renewing ${file}`);
  } catch (error) {
    if (error instanceof EspdError) throw error;
    await respectForeign(file, devicePath, procFolder);
    log.debug('no lock file', { file, error: String(error) });
    return false;
  } finally {
    await unlink(draft).catch(() => undefined);
  }
}

/** A folder that we may not write to can still hold a lock that counts. */
async function respectForeign(file: string, devicePath: string, procFolder: string): Promise<void> {
  const pid = await readLockPid(file);
  if (pid !== undefined && isAlive(pid)) throw await lockedBy(file, devicePath, pid, procFolder);
}

async function lockedBy(file: string, devicePath: string, pid: number, procFolder: string): Promise<EspdError> {
  const holder = { pid, name: await programName(pid, procFolder) };
  return heldBy(devicePath, holder, `; if it does not use the port, remove ${file}`);
}

/**
 * Removes a lock file that named the dead `pid`. Of several programs that see it at once the slower must not remove
 * the new lock of the faster: so only who holds the guard file may remove, and looks again under it. Somebody alive
 * with the guard is about to take the port: `port-busy`.
 */
async function removeStale(file: string, pid: number, draft: string, devicePath: string): Promise<void> {
  const guard = `${file}.guard`;
  if (!(await linkUnlessExists(draft, guard))) {
    const other = await readLockPid(guard);
    if (other !== undefined && isAlive(other)) throw portBusy(devicePath, `pid ${other}, which just takes it`);
    await unlink(guard).catch(ignoreMissing);
    return;
  }
  try {
    if ((await readLockPid(file)) === pid) await unlink(file).catch(ignoreMissing);
  } finally {
    await unlink(guard).catch(ignoreMissing);
  }
}

/** Whether `file` was last written more than a minute before `draft` was: no program takes that long to write a pid. */
async function isOlder(file: string, draft: string): Promise<boolean> {
  const [then, now] = await Promise.all([stat(file).catch(() => undefined), stat(draft)]);
  return then === undefined || now.mtimeMs - then.mtimeMs > 60_000;
}

/** False when `to` exists already, or `from` does no more. */
async function linkUnlessExists(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if (systemCode(error) !== 'EEXIST' && systemCode(error) !== 'ENOENT') throw error;
    return false;
  }
}

function ignoreMissing(error: unknown): void {
  if (systemCode(error) !== 'ENOENT') throw error;
}

/** HDB format (FHS 3.0, 5.9): the pid in ten characters, right-aligned, and a newline. */
function lockFileContent(pid: number): string {
  return `${String(pid).padStart(10)}\n`;
}

/** What {@link readLockPid} gives for a file that holds no pid, or may not be read. */
const NO_PID = 0;

/** Pid in a lock file, also in the old binary form (four bytes); undefined when there is no file. */
async function readLockPid(file: string): Promise<number | undefined> {
  let content: Buffer;
  try {
    content = await readFile(file);
  } catch (error) {
    return systemCode(error) === 'ENOENT' ? undefined : NO_PID;
  }
  const digits = /^\s*(\d{1,10})\s/.exec(`${content.toString('latin1', 0, 32)}\n`)?.[1];
  if (digits !== undefined) return Number(digits);
  return content.length === 4 ? content.readInt32LE() : NO_PID;
}

/** Our own pid in a file that we did not write is that of an earlier process: in a container every espd is pid 1. */
function isAlive(pid: number): boolean {
  if (pid === process.pid || pid <= NO_PID) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemCode(error) === 'EPERM';
  }
}
