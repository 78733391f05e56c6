/** What several checks want to know, each asked once and only if somebody asks. */

import type { BackupName } from '../archive/sample.ts';
import type { ArchiveProblem } from '../archive/types.ts';
import { SYSTEM_CONFIG_PATH } from '../config/loader.ts';
import { EspdError } from '../errors.ts';
import type { Mac } from '../mac.ts';
import { looksLikeNetworkAddress } from '../serial/address.ts';
import type { PortInfo } from '../serial/ports.ts';
import { decide } from '../serial/rules.ts';
import { type Group, parseAccount, parseGroups, parseProperties } from './parse.ts';
import { whyNot } from './outside.ts';
import type { Subject } from './subject.ts';

/** Devices that are looked at one by one: a machine with more has something else wrong. */
const MAX_PORTS = 64;
export const SERVICE_UNIT = 'espd';

/** The unit as systemd has loaded it; `why`: nobody can tell. */
export type ServiceFacts =
  | { readonly known: true; readonly properties: ReadonlyMap<string, string> }
  | { readonly known: false; readonly why: string };

/** The user that the service runs as. */
export interface ServiceUser {
  readonly name: string;
  readonly uid: number;
  readonly gids: readonly number[];
}

export interface Facts extends Subject {
  /** Ports that the rules let espd touch. */
  readonly ports: () => Promise<readonly PortInfo[]>;
  /** Those of them with a device node. */
  readonly devices: () => Promise<readonly PortInfo[]>;
  readonly networkPorts: () => Promise<readonly PortInfo[]>;
  readonly service: () => Promise<ServiceFacts>;
  /** The service is installed: systemd has loaded its unit. */
  readonly isInstalled: () => Promise<boolean>;
  /** It runs now. */
  readonly isRunning: () => Promise<boolean>;
  /** Undefined where there is no such service or user. */
  readonly serviceUser: () => Promise<ServiceUser | undefined>;
  readonly groups: () => Promise<readonly Group[]>;
  /** The config in force is the one that the service reads. */
  readonly isServiceConfig: () => Promise<boolean>;
  /** Null where the archive cannot be read. */
  readonly backups: () => Promise<Backups | null>;
  /** udev's properties of a device node; `why` where udev cannot be asked. */
  readonly udev: (address: string) => Promise<UdevFacts>;
}

/** All backups of the archive by their names, as far as they can be listed. */
export interface Backups {
  readonly macs: readonly Mac[];
  readonly names: readonly BackupName[];
  readonly newest: string | null;
  /** What else stands in the archive's folder where a board's should. */
  readonly problems: readonly ArchiveProblem[];
}

export type UdevFacts =
  | { readonly known: true; readonly properties: ReadonlyMap<string, string> }
  | { readonly known: false; readonly why: string };

export function factsAbout(subject: Subject): Facts {
  const { outside } = subject;
  const ports = once(async () => {
    const { loaded } = subject;
    const rules = loaded instanceof EspdError ? { allow: [], deny: [] } : loaded.config.watch;
    return (await subject.listPorts()).filter((port) => decide(port, rules).touch);
  });
  const isNetwork = ({ address }: PortInfo) => looksLikeNetworkAddress(address);
  const service = once(() => askSystemd(subject));
  const isInstalled = async () => {
    const facts = await service();
    return facts.known && facts.properties.get('LoadState') === 'loaded';
  };
  const groups = once(async () => {
    const ran = await outside.run(['getent', 'group']);
    const file = await outside.read('/etc/group');
    const texts = [ran.outcome === 'ended' ? ran.stdout : '', file.found ? file.value.toString('utf8') : ''];
    // Both: a directory service may forbid to list its groups.
    return mergeGroups(texts.flatMap(parseGroups));
  });
  const udevAnswers = new Map<string, Promise<UdevFacts>>();
  return {
    ...subject,
    ports,
    devices: async () => (await ports()).filter((port) => !isNetwork(port)).slice(0, MAX_PORTS),
    networkPorts: async () => (await ports()).filter(isNetwork),
    service,
    isInstalled,
    isRunning: async () => {
      const facts = await service();
      return facts.known && facts.properties.get('ActiveState') === 'active';
    },
    groups,
    isServiceConfig: async () => {
      const facts = await service();
      if (!facts.known || subject.loaded instanceof EspdError) return false;
      return serviceConfigPath(facts.properties.get('ExecStart') ?? '') === subject.loaded.path;
    },
    backups: once(() => listBackups(subject)),
    serviceUser: once(async () => {
      if (!(await isInstalled())) return undefined;
      const facts = await service();
      const name = (facts.known && facts.properties.get('User')) || 'root';
      const supplementary = facts.known ? (facts.properties.get('SupplementaryGroups') ?? '').split(' ') : [];
      const file = await outside.read('/etc/passwd');
      const account = file.found ? parseAccount(file.value.toString('utf8'), name) : undefined;
      if (account === undefined) return undefined;
      const isIn = (group: Group) => group.members.includes(name) || supplementary.includes(group.name);
      return { name, uid: account.uid, gids: [account.gid, ...(await groups()).filter(isIn).map(({ gid }) => gid)] };
    }),
    udev: (address) => {
      const answer = udevAnswers.get(address) ?? askUdev(subject, address);
      udevAnswers.set(address, answer);
      return answer;
    },
  };
}

/** Of `{ path=... ; argv[]=/usr/local/bin/espd daemon --config FILE ; ... }`, as `systemctl show` has it. */
export function serviceConfigPath(execStart: string): string {
  return /argv\[\]=[^;]*\s--config[ =](\S+)/.exec(execStart)?.[1] ?? SYSTEM_CONFIG_PATH;
}

async function listBackups({ archive }: Subject): Promise<Backups | null> {
  if (archive === null) return null;
  try {
    const { macs, problems } = await archive.boards();
    const names: BackupName[] = [];
    for (const mac of macs) {
      const ids = await archive.backupIds(mac).catch(() => []);
      names.push(...ids.map((id) => ({ mac, id })));
    }
    let newest: string | null = null;
    for (const { id } of names) if (newest === null || id > newest) newest = id;
    return { macs, names, newest, problems };
  } catch {
    return null;
  }
}

function once<T>(ask: () => Promise<T>): () => Promise<T> {
  let answer: Promise<T> | undefined;
  return () => (answer ??= ask());
}

function mergeGroups(groups: readonly Group[]): Group[] {
  const byName = new Map<string, Group>();
  for (const group of groups) {
    const members = [...new Set([...(byName.get(group.name)?.members ?? []), ...group.members])];
    byName.set(group.name, { ...group, members });
  }
  return [...byName.values()];
}

async function askSystemd({ outside }: Subject): Promise<ServiceFacts> {
  if (outside.platform !== 'linux') return { known: false, why: `no systemd on ${outside.platform}` };
  const ran = await outside.run(['systemctl', 'show', SERVICE_UNIT, '--no-pager']);
  const why = whyNot('systemctl', ran);
  const properties = parseProperties(ran.outcome === 'ended' ? ran.stdout : '');
  if (why !== null) return { known: false, why };
  if (!properties.has('LoadState')) return { known: false, why: 'systemctl says nothing of the unit' };
  return { known: true, properties };
}

async function askUdev({ outside }: Subject, address: string): Promise<UdevFacts> {
  if (outside.platform !== 'linux') return { known: false, why: `no udev on ${outside.platform}` };
  const ran = await outside.run(['udevadm', 'info', '--query=property', `--name=${address}`]);
  const why = whyNot('udevadm', ran);
  if (why !== null || ran.outcome !== 'ended') return { known: false, why: why ?? 'udevadm failed' };
  return { known: true, properties: parseProperties(ran.stdout) };
}
