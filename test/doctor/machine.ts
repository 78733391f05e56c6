/** A machine made of tables: what its files hold, what its programs say, who may do what. */

import type { Outside, FileFacts, Look, Person, Ran, RunningProgram, Space } from '../../src/doctor/outside.ts';
import type { PortHolder } from '../../src/serial/port-holder.ts';
import type { PortInfo } from '../../src/serial/ports.ts';

export interface Machine {
  platform?: NodeJS.Platform;
  nodeVersion?: string;
  person?: Partial<Person>;
  /** By the words of the command, joined; a function is called. */
  programs?: Record<string, Partial<Extract<Ran, { outcome: 'ended' }>> | Ran | (() => Promise<Ran>)>;
  files?: Record<string, string | Buffer>;
  links?: Record<string, string>;
  stats?: Record<string, Partial<FileFacts>>;
  /** Codes of refused accesses. */
  refused?: Record<string, string>;
  space?: Look<Space>;
  socket?: string;
  running?: Look<readonly RunningProgram[]>;
  holders?: Record<string, PortHolder>;
  /** Filled by {@link Outside.run} and {@link Outside.write}. */
  log?: string[];
  writeFails?: string;
}

const found = <T>(value: T): Look<T> => ({ found: true, value });
const missing = { found: false, code: 'ENOENT' } as const;

export function machineOf(machine: Machine): Outside {
  const { files = {}, links = {}, stats = {}, refused = {}, programs = {}, log = [] } = machine;
  const facts = { kind: 'file', uid: 0, gid: 0, mode: 0o644, changedMs: 0 } as const;
  return {
    platform: machine.platform ?? 'linux',
    nodeVersion: machine.nodeVersion ?? '20.19.0',
    person: { uid: 1000, name: 'ada', gids: [1000], ...machine.person },
    run: async (argv): Promise<Ran> => {
      const command = argv.join(' ');
      log.push(command);
      const said = programs[command] ?? programs[argv[0] ?? ''];
      if (said === undefined) return { outcome: 'missing' };
      if (typeof said === 'function') return said();
      if (said.outcome === 'missing' || said.outcome === 'failed') return said;
      return { outcome: 'ended', status: 0, stdout: '', stderr: '', ...said };
    },
    read: (path) => {
      if (refused[path] !== undefined) return Promise.resolve({ found: false, code: refused[path] });
      const content = files[path];
      return Promise.resolve(content === undefined ? missing : found(Buffer.from(content)));
    },
    list: (folder) => {
      const names = [...Object.keys(files), ...Object.keys(links)]
        .filter((path) => path.startsWith(`${folder}/`))
        .map((path) => path.slice(folder.length + 1).split('/')[0] ?? '');
      return Promise.resolve(names.length === 0 ? missing : found([...new Set(names)]));
    },
    link: (path) => Promise.resolve(links[path] === undefined ? missing : found(links[path])),
    stat: (path) => {
      if (stats[path] !== undefined) return Promise.resolve(found({ ...facts, ...stats[path] }));
      return Promise.resolve(files[path] === undefined ? missing : found(facts));
    },
    access: (path) =>
      Promise.resolve(refused[path] === undefined ? found(true as const) : { found: false, code: refused[path] }),
    space: () => Promise.resolve(machine.space ?? found({ freeBytes: 1e12, diskBytes: 2e12, files: 1e6, ffree: 1e6 })),
    connect: () =>
      Promise.resolve(
        machine.socket === 'open' ? found(true as const) : { found: false, code: machine.socket ?? 'ENOENT' },
      ),
    programs: () => Promise.resolve(machine.running ?? found([])),
    holderOf: (path) => Promise.resolve(machine.holders?.[path]),
    write: (path, text) => {
      if (machine.writeFails !== undefined) return Promise.resolve({ found: false, code: machine.writeFails });
      log.push(`write ${path}: ${text}`);
      return Promise.resolve(found(true as const));
    },
  };
}

/** A CH340 at USB 1-1.`place`, or another bridge. */
export function usbPort(address: string, place = '1-1.4', usbId = '1a86:7523'): PortInfo {
  const [vendorId = '', productId = ''] = usbId.split(':');
  return {
    address,
    key: address,
    fromFolder: false,
    usb: { vendorId, productId, serialNumber: null, manufacturer: null, product: null, location: `${place}:1.0` },
  };
}

export function networkPort(address: string): PortInfo {
  return { address, key: address, fromFolder: true, usb: null };
}

/** `KEY=value` lines, as systemctl and udevadm print them. */
export function lines(properties: Record<string, string>): string {
  return Object.entries(properties)
    .map(([key, value]) => `${key}=${value}\n`)
    .join('');
}

/** What `systemctl show espd` says of the service as docs/install.md installs it. */
export const RUNNING_SERVICE: Record<string, string> = {
  LoadState: 'loaded',
  ActiveState: 'active',
  SubState: 'running',
  Result: 'success',
  NRestarts: '0',
  UnitFileState: 'enabled',
  NeedDaemonReload: 'no',
  User: 'espd',
  SupplementaryGroups: 'dialout',
  MainPID: '77',
  FragmentPath: '/etc/systemd/system/espd.service',
  DropInPaths: '',
  ExecStart:
    '{ path=/usr/local/bin/espd ; argv[]=/usr/local/bin/espd daemon --config /etc/espd/config.yaml ; ignore_errors=no ; start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }',
  RestrictAddressFamilies: 'AF_NETLINK AF_UNIX',
  IPAddressAllow: '',
  IPAddressDeny: '0.0.0.0/0 ::/0',
};
