/** May this user, and the service, use the ports; and who else does. No port is opened: that would raise DTR and RTS. */

import { describeHolder, ESPD } from '../serial/port-holder.ts';
import type { PortInfo } from '../serial/ports.ts';
import { mayUse, wayIn } from './access.ts';
import type { Facts } from './facts.ts';
import type { FileFacts } from './outside.ts';
import { type Acl, type Group, parseAcl } from './parse.ts';
import { installRules, joinGroup, logInAgain } from './remedies.ts';
import { type Finding, byHand, asRoot, cannotCheck, note, ok, problem, some } from './types.ts';

/** A port that cannot be opened by somebody. */
export interface Denied {
  readonly address: string;
  readonly node: Pick<FileFacts, 'gid' | 'mode'>;
}

export async function checkPorts(facts: Facts): Promise<Finding[]> {
  const devices = await facts.devices();
  const user = facts.outside.person.name || 'this user';
  if (devices.length === 0) {
    return [ok('port-rights', 'No port of a board is there now: rights on ports are checked when one is')];
  }
  const findings = [...(await checkOwnRights(facts, devices, user)), ...(await checkServiceRights(facts, devices))];
  return [...findings, ...(await checkHolders(facts, devices))];
}

async function checkOwnRights(facts: Facts, devices: readonly PortInfo[], user: string): Promise<Finding[]> {
  const denied: Denied[] = [];
  for (const { address } of devices) {
    const access = await facts.outside.access(address, 'read-write');
    if (access.found || (access.code !== 'EACCES' && access.code !== 'EPERM')) continue;
    const node = await facts.outside.stat(address);
    denied.push({ address, node: node.found ? node.value : { gid: 0, mode: 0 } });
  }
  const { name, gids } = facts.outside.person;
  return judgeRights({
    ...{ id: 'port-rights', user, denied, groups: await facts.groups() },
    ...{ account: { name, gids }, all: devices.map(({ address }) => address) },
    // Then the service backs up, and commands reach the board through it.
    isNeeded: !(await facts.isRunning()),
    packageFolder: facts.packageFolder,
  });
}

async function checkServiceRights(facts: Facts, devices: readonly PortInfo[]): Promise<Finding[]> {
  const service = await facts.serviceUser();
  if (service === undefined) {
    if (!(await facts.isInstalled())) return [];
    return [cannotCheck('port-rights-service', 'Rights of the service on ports', 'its user is not in /etc/passwd')];
  }
  const denied: Denied[] = [];
  for (const { address } of devices) {
    const node = await facts.outside.stat(address);
    if (node.found && !mayUse(node.value, await aclOf(facts, address), service)) {
      denied.push({ address, node: node.value });
    }
  }
  return judgeRights({
    ...{ id: 'port-rights-service', user: `The service (user ${service.name})`, account: service, denied },
    ...{ groups: await facts.groups(), all: devices.map(({ address }) => address) },
    ...{ isNeeded: true, packageFolder: facts.packageFolder },
  });
}

async function aclOf({ outside }: Facts, address: string): Promise<Acl | null> {
  const ran = await outside.run(['getfacl', '--absolute-names', '--omit-header', '--numeric', address]);
  return ran.outcome === 'ended' && ran.status === 0 ? parseAcl(ran.stdout) : null;
}

export interface RightsFacts {
  readonly id: string;
  /** Whose rights, as the subject of a sentence. */
  readonly user: string;
  readonly account: { readonly name: string; readonly gids: readonly number[] };
  readonly all: readonly string[];
  readonly denied: readonly Denied[];
  readonly groups: readonly Group[];
  /** Boards are reached in no other way. */
  readonly isNeeded: boolean;
  readonly packageFolder: string;
}

export function judgeRights(facts: RightsFacts): Finding[] {
  const { id, user, account, all, denied, groups, packageFolder } = facts;
  const [first] = denied;
  if (first === undefined) return [ok(id, `${user} may open ${some(all)}`)];
  const say = facts.isNeeded ? problem : note;
  const title = `${user} may not open ${some(denied.map(({ address }) => address))}`;
  const way = wayIn(first.node, account, groups);
  if (way.kind === 'log-in-again' && id === 'port-rights-service') {
    const remedy = byHand(asRoot('systemctl', 'restart', 'espd'));
    return [say(id, title, { detail: `It is in group ${way.group} by now: restart it`, remedy })];
  }
  if (way.kind === 'log-in-again') {
    const detail = `You are in group ${way.group}, but this session began before: log in again, or for this shell:`;
    return [say(id, title, { detail, remedy: logInAgain(way.group) })];
  }
  if (way.kind === 'join') {
    const detail = `Group ${way.group} may. Join it, then log in again`;
    return [say(id, title, { detail, remedy: joinGroup(way.group, account.name) })];
  }
  const detail = 'No group that you could join may: the udev rules of espd let group dialout in, and who sits here';
  return [say(id, title, { detail, remedy: installRules(packageFolder) })];
}

async function checkHolders(facts: Facts, devices: readonly PortInfo[]): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const { address } of devices) {
    const holder = await facts.outside.holderOf(address);
    if (holder === undefined) continue;
    if (holder.name === ESPD) {
      findings.push(ok('port-holders', `${address} is in use by espd itself (pid ${holder.pid})`));
    } else if (holder.name === 'ModemManager') {
      const remedy = installRules(facts.packageFolder);
      findings.push(
        problem('port-holders', `ModemManager holds ${address} and sends AT commands to the board`, { remedy }),
      );
    } else {
      const detail = 'espd leaves the port alone until that program closes it';
      findings.push(note('port-holders', `${address} is in use by ${describeHolder(holder)}`, { detail }));
    }
  }
  if (findings.length > 0) return findings;
  const seesAll = facts.outside.person.uid === 0;
  const limit = seesAll ? undefined : 'Programs of other users are seen only if they lock the port; root sees all';
  return [ok('port-holders', 'No program holds a port of a board', limit)];
}
