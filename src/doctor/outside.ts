/**
 * All that the doctor sees of the machine, handed in: so that each judgement can be tried on machines that nobody has.
 * No call rejects, and each ends within a few seconds.
 */

import type { PortHolder } from '../serial/port-holder.ts';

/** What was seen, or why not: the system's code (`ENOENT`, `EACCES`, ...), or a word of ours (`too-large`, `timeout`). */
export type Look<T> = { readonly found: true; readonly value: T } | { readonly found: false; readonly code: string };

/** How a program ended. */
export type Ran =
  | { readonly outcome: 'ended'; readonly status: number; readonly stdout: string; readonly stderr: string }
  /** There is no such program on this machine. */
  | { readonly outcome: 'missing' }
  /** Ended by us because it took too long or said too much, or it could not be started. */
  | { readonly outcome: 'failed'; readonly why: string };

export interface FileFacts {
  readonly kind: 'file' | 'folder' | 'device' | 'socket' | 'other';
  readonly uid: number;
  readonly gid: number;
  /** Permission bits, 0 to 0o7777. */
  readonly mode: number;
  /** When content or owner last changed, as the kernel stamps it: copying and unpacking cannot set it. Ms since 1970. */
  readonly changedMs: number;
}

export interface Space {
  readonly freeBytes: number;
  readonly diskBytes: number;
  readonly files: number;
  readonly ffree: number;
}

export interface Person {
  /** Null where the system has no such thing (Windows). */
  readonly uid: number | null;
  /** Empty where nobody knows. */
  readonly name: string;
  /** Groups of this session: what the kernel goes by, whatever /etc/group says by now. */
  readonly gids: readonly number[];
}

export interface RunningProgram {
  readonly pid: number;
  /** As the kernel calls it: at most 15 characters (proc(5), /proc/pid/comm). */
  readonly name: string;
}

export interface Outside {
  readonly platform: NodeJS.Platform;
  /** `20.19.0`. */
  readonly nodeVersion: string;
  readonly person: Person;
  /** Starts a program without a shell, in the C locale; nothing is typed into it. */
  run(argv: readonly string[]): Promise<Ran>;
  /** A file of at most 1 MiB; for those of /proc and /sys, too. */
  read(path: string): Promise<Look<Buffer>>;
  list(folder: string): Promise<Look<string[]>>;
  /** Text of a symbolic link. */
  link(path: string): Promise<Look<string>>;
  /** Of what a link leads to. */
  stat(path: string): Promise<Look<FileFacts>>;
  /** What access(2) says to this user: ACLs and all groups count, and nothing is opened. */
  access(path: string, wanted: 'read' | 'read-write' | 'write-enter'): Promise<Look<true>>;
  space(path: string): Promise<Look<Space>>;
  /** Connects to a unix socket and hangs up. */
  connect(path: string): Promise<Look<true>>;
  programs(): Promise<Look<readonly RunningProgram[]>>;
  /** Who has a port open. The port is not opened. */
  holderOf(devicePath: string): Promise<PortHolder | undefined>;
  /** Makes a new file for {@link Step} `write`; `EEXIST` where there is one. */
  write(path: string, text: string): Promise<Look<true>>;
}

/** Why a program said nothing that can be used, for {@link cannotCheck}; null where it did. */
export function whyNot(program: string, ran: Ran): string | null {
  if (ran.outcome === 'missing') return `${program} is not on this machine`;
  if (ran.outcome === 'failed') return `${program} ${ran.why}`;
  if (ran.status === 0) return null;
  const [line = ''] = ran.stderr.trim().split('\n');
  // systemctl and timedatectl in a container or with another init.
  if (/not been booted with systemd|Failed to connect to bus/.test(line)) return 'systemd does not run here';
  return `${program} ended with ${ran.status}${line === '' ? '' : `: ${line.slice(0, 120)}`}`;
}
