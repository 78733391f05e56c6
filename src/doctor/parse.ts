/** What programs and files of the system say, read without trust: bounded, and what does not fit is passed over. Pure. */

const MAX_LINES = 100_000;

function linesOf(text: string): string[] {
  return text.split('\n', MAX_LINES);
}

/** `KEY=value`, one a line: `systemctl show`, `timedatectl show`, `udevadm info --query=property`. The last of a key counts. */
export function parseProperties(text: string): ReadonlyMap<string, string> {
  const properties = new Map<string, string>();
  for (const line of linesOf(text)) {
    const at = line.indexOf('=');
    if (at > 0 && /^[\w.]+$/.test(line.slice(0, at))) properties.set(line.slice(0, at), line.slice(at + 1).trimEnd());
  }
  return properties;
}

export interface Group {
  readonly name: string;
  readonly gid: number;
  readonly members: readonly string[];
}

/** Lines of group(5). */
export function parseGroups(text: string): Group[] {
  return linesOf(text).flatMap((line) => {
    const [name = '', , gid = '', members = ''] = line.split(':');
    if (name === '' || !/^\d{1,10}$/.test(gid)) return [];
    return [{ name, gid: Number(gid), members: members.split(',').filter((member) => member !== '') }];
  });
}

/** User and group id of `name` in lines of passwd(5). */
export function parseAccount(text: string, name: string): { uid: number; gid: number } | undefined {
  for (const line of linesOf(text)) {
    const [login, , uid = '', gid = ''] = line.split(':');
    if (login === name && /^\d{1,10}$/.test(uid) && /^\d{1,10}$/.test(gid))
      return { uid: Number(uid), gid: Number(gid) };
  }
  return undefined;
}

/** Home folders of users in a passwd(5) file, each once. */
export function parseHomes(text: string, uids: ReadonlySet<number>): string[] {
  const homes = linesOf(text).flatMap((line) => {
    const [, , uid = '', , , home = ''] = line.split(':');
    return /^\d{1,10}$/.test(uid) && uids.has(Number(uid)) && home.startsWith('/') ? [home] : [];
  });
  return [...new Set(homes)];
}

/** Permissions 0 to 7 of an access ACL, as acl(5) has them. */
export interface Acl {
  readonly users: ReadonlyMap<number, number>;
  readonly groups: ReadonlyMap<number, number>;
  /** Of the owning group. */
  readonly group: number | null;
  readonly mask: number | null;
}

/** What `getfacl --omit-header --numeric` prints. Lines of default ACLs are passed over. */
export function parseAcl(text: string): Acl {
  const users = new Map<number, number>();
  const groups = new Map<number, number>();
  let group: number | null = null;
  let mask: number | null = null;
  for (const line of linesOf(text)) {
    const [, tag, id = '', bits = ''] = /^(user|group|mask):(\d{0,10}):([r-][w-][x-])/.exec(line) ?? [];
    if (tag === undefined) continue;
    const permissions = (bits[0] === 'r' ? 4 : 0) + (bits[1] === 'w' ? 2 : 0) + (bits[2] === 'x' ? 1 : 0);
    if (tag === 'mask') mask = permissions;
    else if (id === '') group = tag === 'group' ? permissions : group;
    else (tag === 'user' ? users : groups).set(Number(id), permissions);
  }
  return { users, groups, group, mask };
}

/** Whether `version` (`20.19.0`) is at least `wanted`; undefined where it is no version. */
export function isAtLeast(version: string, wanted: readonly [major: number, minor: number]): boolean | undefined {
  const match = /^v?(\d{1,6})\.(\d{1,6})(?:\.|$)/.exec(version);
  if (match === null) return undefined;
  const [major, minor] = [Number(match[1]), Number(match[2])];
  return major === wanted[0] ? minor >= wanted[1] : major > wanted[0];
}

/** When a process began, ms since 1970: field 22 of /proc/pid/stat (proc(5), clock ticks of 10 ms) and btime of /proc/stat. */
export function processStartMs(pidStat: string, stat: string): number | undefined {
  // Behind the name in parentheses, which may hold anything, come state (field 3), ppid, ...
  const fields = pidStat.slice(pidStat.lastIndexOf(')') + 2).split(' ');
  const ticks = Number(fields[22 - 3] ?? NaN);
  const bootSeconds = Number(/^btime (\d+)$/m.exec(stat)?.[1] ?? NaN);
  const ms = bootSeconds * 1000 + ticks * 10;
  return pidStat.includes(')') && Number.isFinite(ms) ? ms : undefined;
}

/** The words of a property that is a list, such as ReadWritePaths= of `systemctl show`; at most 1,000. */
export function wordsOf(properties: ReadonlyMap<string, string>, key: string): string[] {
  return (properties.get(key) ?? '').split(/\s+/, 1000).filter((word) => word !== '');
}
