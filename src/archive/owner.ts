/**
 * Who makes a draft, written into its name, so that whoever finds one later can tell whether it is still at work.
 *
 * A process id alone says little: numbers are used again, containers count from 1 each, and a shared archive (NFS) shows
 * the ids of another machine.
 */

import { createHash, randomBytes } from 'node:crypto';
import { readFile, readlink } from 'node:fs/promises';
import { hostname } from 'node:os';

/** `0` stands for what the system does not tell (no /proc, a hardened unit, a container without machine id). */
export interface Owner {
  /** Host name; letters, digits, `_` and `-`. */
  readonly host: string;
  /** Eight hex digits made from the machine id; not the id itself, which is confidential (machine-id(5)). */
  readonly machine: string;
  /** First eight hex digits of the kernel's boot id (random(4)). */
  readonly boot: string;
  /** Inode of the process's PID namespace (pid_namespaces(7)). */
  readonly pidNamespace: string;
  readonly pid: number;
  /** Start of the process in clock ticks after boot: field 22 of /proc/PID/stat (proc_pid_stat(5)). */
  readonly startTicks: string;
}

const DRAFT =
  /^draft\.([\w-]{1,63})\.(0|[0-9a-f]{8})\.(0|[0-9a-f]{8})\.(\d{1,20})\.(\d{1,10})\.(\d{1,20})\.[0-9a-f]{8}$/;
const TRASH = /^trash\.[0-9a-f]{16}$/;
const PARTIAL = /^partial\.[0-9a-f]{16}$/;

/** A new name for a draft of `owner`. It never reads as a backup id. */
export function draftName(owner: Owner): string {
  const { host, machine, boot, pidNamespace, pid, startTicks } = owner;
  return `draft.${host}.${machine}.${boot}.${pidNamespace}.${pid}.${startTicks}.${randomBytes(4).toString('hex')}`;
}

/** The inverse of {@link draftName}; undefined for every other name. */
export function draftOwner(name: string): Owner | undefined {
  const match = DRAFT.exec(name);
  if (match === null) return undefined;
  const [, host = '', machine = '', boot = '', pidNamespace = '', pid = '', startTicks = ''] = match;
  return { host, machine, boot, pidNamespace, pid: Number(pid), startTicks };
}

/** A name for what is being removed; anybody may go on removing it. */
export function trashName(): string {
  return `trash.${randomBytes(8).toString('hex')}`;
}

export function isTrashName(name: string): boolean {
  return TRASH.test(name);
}

/** A name for what an interrupted backup has left; it belongs to nobody. */
export function partialName(): string {
  return `partial.${randomBytes(8).toString('hex')}`;
}

export function isPartialName(name: string): boolean {
  return PARTIAL.test(name);
}

/** What is not complete, or not any more: a draft, a partial, or trash. */
export function isUnfinishedName(name: string): boolean {
  return draftOwner(name) !== undefined || isPartialName(name) || isTrashName(name);
}

/** What {@link ownerState} asks about a process of this machine: gone, or its start in ticks (`0` = not known). */
export type ProcessProbe = (pid: number) => Promise<{ gone: true } | { gone: false; startTicks: string }>;

/** Whether the process that made a draft is still there, as `self` can see it; `unknown` where it cannot be seen. */
export async function ownerState(
  owner: Owner,
  self: Owner,
  probe: ProcessProbe,
): Promise<'alive' | 'gone' | 'unknown'> {
  if (owner.host !== self.host || owner.machine !== self.machine) return 'unknown';
  if (owner.boot !== self.boot) {
    if (owner.machine === '0' || owner.boot === '0' || self.boot === '0') return 'unknown';
    return 'gone'; // this machine has been started anew since
  }
  if (owner.pidNamespace !== self.pidNamespace) return 'unknown';
  const process = await probe(owner.pid);
  if (process.gone) return 'gone';
  const known = process.startTicks !== '0' && owner.startTicks !== '0';
  return known && process.startTicks !== owner.startTicks ? 'gone' : 'alive';
}

export async function currentOwner(): Promise<Owner> {
  const [machineId, bootId, namespace, process_] = await Promise.all([
    readOr('/etc/machine-id'),
    readOr('/proc/sys/kernel/random/boot_id'),
    readlink('/proc/self/ns/pid').catch(() => ''),
    probeProcess(process.pid),
  ]);
  return {
    host:
      hostname()
        .replace(/[^A-Za-z0-9_-]/g, '_')
        .slice(0, 63) || '_',
    machine: machineId === '' ? '0' : createHash('sha256').update(`espd draft ${machineId}`).digest('hex').slice(0, 8),
    boot: /^[0-9a-f]{8}/.exec(bootId)?.[0] ?? '0',
    pidNamespace: /\d+/.exec(namespace)?.[0] ?? '0',
    pid: process.pid,
    startTicks: process_.gone ? '0' : process_.startTicks,
  };
}

/** Asks the system about a process; one that has ended but is not yet waited for (a zombie) counts as gone. */
export const probeProcess: ProcessProbe = async (pid) => {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: there, but another user's.
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return { gone: true };
  }
  const stat = await readOr(`/proc/${pid}/stat`);
  // Field 2 is the program's name in brackets and may itself hold blanks and brackets; the rest begins with field 3.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  if (fields[0] === 'Z' || fields[0] === 'X') return { gone: true };
  return { gone: false, startTicks: /^\d{1,20}$/.exec(fields[19] ?? '')?.[0] ?? '0' };
};

function readOr(path: string): Promise<string> {
  return readFile(path, 'utf8').then(
    (text) => text.trim(),
    () => '',
  );
}
