/** Groups that give rights: in the group database, and in this session, which may be older. */

import type { Facts } from './facts.ts';
import type { Group } from './parse.ts';
import { joinGroup, logInAgain } from './remedies.ts';
import { type Finding, cannotCheck, note, ok, problem, some } from './types.ts';

/** Groups of serial ports: Debian and relatives; Arch; older rules for USB devices. */
const PORT_GROUPS = ['dialout', 'uucp', 'plugdev'];
/** Who is in it may speak to the daemon. */
const DAEMON_GROUP = 'espd';

export async function checkGroups(facts: Facts): Promise<Finding[]> {
  const { person } = facts.outside;
  if (person.uid === null) return [cannotCheck('groups', 'Groups', 'this system has none')];
  if (person.uid === 0) return [ok('groups', 'root needs no group')];
  if (person.name === '') return [cannotCheck('groups', 'Groups', `user ${person.uid} has no name`)];
  const owners = new Set<number>();
  for (const { address } of await facts.devices()) {
    const node = await facts.outside.stat(address);
    if (node.found && node.value.gid !== 0) owners.add(node.value.gid);
  }
  const isInstalled = await facts.isInstalled();
  return judgeGroups(person, await facts.groups(), owners, isInstalled);
}

/** @param owners groups of the ports that are there */
export function judgeGroups(
  person: { readonly name: string; readonly gids: readonly number[] },
  groups: readonly Group[],
  owners: ReadonlySet<number>,
  hasService: boolean,
): Finding[] {
  const ofPorts = groups.filter(({ name, gid }) => PORT_GROUPS.includes(name) || owners.has(gid));
  const ofDaemon = hasService ? groups.filter(({ name }) => name === DAEMON_GROUP) : [];
  const relevant = [...new Set([...ofPorts, ...ofDaemon])];
  const late = relevant.filter(({ gid, members }) => members.includes(person.name) && !person.gids.includes(gid));
  const [first] = late;
  if (first !== undefined) {
    const title = `${person.name} is in group ${some(late.map(({ name }) => name))}, but not in this session: log in again`;
    return [problem('groups', title, { detail: 'Or, for this shell alone:', remedy: logInAgain(first.name) })];
  }
  const inside = relevant.filter(({ gid }) => person.gids.includes(gid)).map(({ name }) => name);
  const [daemon] = ofDaemon;
  if (daemon !== undefined && !person.gids.includes(daemon.gid)) {
    const detail = 'Commands of this user reach the daemon only from that group';
    const title = `${person.name} is not in group ${daemon.name}`;
    return [note('groups', title, { detail, remedy: joinGroup(daemon.name, person.name) })];
  }
  if (inside.length > 0) return [ok('groups', `${person.name} is in group ${some(inside)}`)];
  const wanted = ofPorts.find(({ gid }) => owners.has(gid)) ?? ofPorts[0];
  if (wanted === undefined) return [cannotCheck('groups', 'Groups', 'no group of serial ports is known here')];
  const detail = 'Whoever sits at the machine needs no group, if the udev rules are installed';
  return [
    note('groups', `${person.name} is not in group ${wanted.name}`, {
      detail,
      remedy: joinGroup(wanted.name, person.name),
    }),
  ];
}
