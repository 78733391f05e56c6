/**
 * The listing: which ports are there now.
 *
 * `SerialPort.list()` is the truth, checked against the nodes in `/dev`. On Linux it is filled up from sysfs, which
 * knows a new port before udev does and needs no `udevadm`; and as `udevadm` costs a process each time, it is asked
 * again only when the kernel's own list of ttys has changed. So looking often is cheap. Without sysfs (other systems)
 * `SerialPort.list()` is asked every time, without either the names in `/dev` must do.
 */

import { lstat, readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { systemClock, withTimeout, type Clock } from '../clock.ts';
import { EspdError } from '../errors.ts';
import { silentLogger, type Logger } from '../log.ts';
import { sameSpelling } from './address.ts';
import { listFolder, type FolderPort } from './folder-ports.ts';
import type { PortInfo } from './ports.ts';
import { type Remote, remotePorts } from './remotes.ts';
import { isUsbTtyName, deviceText, ttyIdentity, ttyNames, usbId, usbPortOf, type SystemRoots } from './sysfs.ts';

/** What `SerialPort.list()` tells of a port, as far as it is used here. */
export interface SerialPortFacts {
  readonly path: string;
  readonly vendorId?: string | undefined;
  readonly productId?: string | undefined;
  readonly serialNumber?: string | undefined;
  readonly manufacturer?: string | undefined;
  readonly locationId?: string | undefined;
}

export interface ListingOptions extends Partial<SystemRoots> {
  /** `watch.folders` of the config. */
  readonly folders?: readonly string[];
  /** `watch.remotes` of the config, asked for each listing. */
  readonly remotes?: () => readonly Remote[];
  /** `SerialPort.list` unless a test has another. */
  readonly serialList?: () => Promise<readonly SerialPortFacts[]>;
  readonly clock?: Clock;
  readonly log?: Logger;
}

/** Lists the ports that are there now, sorted by address, each once. */
export type PortLister = () => Promise<PortInfo[]>;

/**
 * `udevadm info -e` takes tens of milliseconds, on a machine under load seconds; a board that comes and goes by itself
 * is to be noticed sooner than that. Where sysfs has told the ports already, little is lost without it.
 */
const SERIAL_LIST_LIMIT = {
  withSysfs: { timeoutMs: 1000, isMissed: false },
  alone: { timeoutMs: 5000, isMissed: true },
} as const;

interface SerialListLimit {
  readonly timeoutMs: number;
  /** Nothing else tells what it would have told. */
  readonly isMissed: boolean;
}

class TooLate extends Error {
  readonly isMissed: boolean;

  constructor(message: string, isMissed: boolean) {
    super(message);
    this.isMissed = isMissed;
  }
}

/** The ports that are there now; see {@link createPortLister}. */
export function listPorts(options: ListingOptions = {}): Promise<PortInfo[]> {
  return createPortLister(options)();
}

/**
 * A lister that remembers what it saw, for looking again and again. Each part that fails is logged once (and once
 * more when it works again). Rejects with `port-failed` when the system tells nothing at all.
 */
export function createPortLister(options: ListingOptions = {}): PortLister {
  const { sysRoot = '/sys', devRoot = '/dev', folders = [], clock = systemClock, log = silentLogger } = options;
  const roots = { sysRoot, devRoot };
  const complain = complainOnce(log);
  const serialList = options.serialList ?? serialPortList;
  /** Each is told when it is made, and again when it was mended in between. */
  let mistakesTold: ReadonlySet<string> = new Set();
  let known: { fingerprint: string; ports: PortInfo[] } | undefined;

  async function askSerialPort({
    timeoutMs,
    isMissed,
  }: SerialListLimit): Promise<readonly SerialPortFacts[] | undefined> {
    const tooLate = () => new TooLate(`no answer in ${timeoutMs} ms`, isMissed);
    try {
      const ports = await withTimeout(clock, timeoutMs, serialList(), tooLate);
      complain(SERIAL_LIST);
      return ports;
    } catch (error) {
      complain(SERIAL_LIST, error as Error);
      return undefined;
    }
  }

  async function listHardware(): Promise<PortInfo[]> {
    const names = await ttyNames(roots);
    if (names === undefined) return listWithoutSysfs(roots, await askSerialPort(SERIAL_LIST_LIMIT.alone));
    const candidates = await identify(roots, names.filter(isUsbTtyName));
    const fingerprint = JSON.stringify([names, [...candidates]]);
    if (known?.fingerprint !== fingerprint) {
      const ports = await listWithSysfs(roots, candidates, (await askSerialPort(SERIAL_LIST_LIMIT.withSysfs)) ?? []);
      known = { fingerprint, ports };
    }
    return known.ports;
  }

  async function listFolders(): Promise<FolderPort[]> {
    const contents = await Promise.all(
      folders.map(async (folder) => {
        try {
          const content = await listFolder(roots, folder);
          complain(folder);
          return content;
        } catch (error) {
          complain(folder, error as Error);
          return { ports: [], mistakes: [] };
        }
      }),
    );
    const mistakes = contents.flatMap((content) => content.mistakes);
    for (const mistake of mistakes) if (!mistakesTold.has(mistake)) log.warn(mistake);
    mistakesTold = new Set(mistakes);
    return contents.flatMap(({ ports }) => ports);
  }

  return async () => {
    const [hardware, entries] = await Promise.all([listHardware(), listFolders()]);
    return merge(roots, [...hardware, ...remotePorts(options.remotes?.() ?? [])], entries);
  };
}

async function serialPortList(): Promise<readonly SerialPortFacts[]> {
  // Loaded here, so that a machine for which serialport has no binary still lists and says what is wrong.
  const { SerialPort } = await import('serialport');
  return SerialPort.list();
}

/** How messages call serialport's own list. */
const SERIAL_LIST = 'SerialPort.list()';

/** Which of these ttys are there, node and all, and what tells this plug-in from the last one. */
async function identify(roots: SystemRoots, names: readonly string[]): Promise<Map<string, string>> {
  const identities = await Promise.all(names.map((name) => ttyIdentity(roots, name)));
  const found = new Map<string, string>();
  names.forEach((name, index) => {
    const identity = identities[index];
    if (identity !== undefined) found.set(name, identity);
  });
  return found;
}

async function listWithSysfs(
  roots: SystemRoots,
  candidates: ReadonlyMap<string, string>,
  facts: readonly SerialPortFacts[],
): Promise<PortInfo[]> {
  const ports = new Map<string, PortInfo>();
  for (const [name, identity] of candidates) {
    const usb = await usbPortOf(roots, name);
    if (usb === undefined) continue;
    const address = join(roots.devRoot, name);
    ports.set(address, {
      address,
      key: `${address}@${usb.facts.location ?? ''}#${usb.deviceNumber}.${identity}`,
      usb: usb.facts,
      fromFolder: false,
      aliases: [join(roots.devRoot, 'serial/by-id', usb.byIdName)],
    });
  }
  // Drivers with names of their own, which only udev's database tells. A tty that came while udev was asked is left to
  // the next look, which has its texts from sysfs: without them the rules would take a Zigbee stick for a board.
  for (const port of await fromSerialPort(facts)) {
    const name = basename(port.address);
    const isTooNew = isUsbTtyName(name) && !candidates.has(name);
    if (port.usb !== null && !ports.has(port.address) && !isTooNew) ports.set(port.address, port);
  }
  return [...ports.values()];
}

async function listWithoutSysfs(
  roots: SystemRoots,
  facts: readonly SerialPortFacts[] | undefined,
): Promise<PortInfo[]> {
  const ports = await fromSerialPort(facts ?? []);
  const inDev = process.platform === 'linux' ? await namesIn(roots.devRoot) : undefined;
  if (facts === undefined && inDev === undefined) {
    throw new EspdError('port-failed', 'The system does not list its serial ports', {
      hint: 'On Linux /sys or udevadm must be there',
    });
  }
  const seen = new Set(ports.map((port) => port.address));
  const bare = (inDev ?? []).filter(isUsbTtyName).map((name) => ({ path: join(roots.devRoot, name) }));
  const unknown = await fromSerialPort(bare.filter((port) => !seen.has(port.path)));
  return [...ports, ...unknown].filter((port) => port.usb !== null || isUsbTtyName(basename(port.address)));
}

/** Ports of udev's database whose node is gone are left out: it may be behind. */
async function fromSerialPort(facts: readonly SerialPortFacts[]): Promise<PortInfo[]> {
  const ports = await Promise.all(
    facts.map(async (port): Promise<PortInfo | undefined> => {
      const isWindows = process.platform === 'win32';
      const node = isWindows ? undefined : await lstat(port.path).catch(() => undefined);
      if ((!isWindows && node === undefined) || /\p{C}/u.test(port.path)) return undefined;
      const vendorId = usbId(port.vendorId);
      const productId = usbId(port.productId);
      const location = deviceText(port.locationId);
      const usb =
        vendorId === undefined || productId === undefined
          ? null
          : {
              vendorId,
              productId,
              serialNumber: deviceText(port.serialNumber),
              manufacturer: deviceText(port.manufacturer),
              product: null,
              location,
            };
      const key = `${port.path}@${location ?? ''}#${node?.ino ?? ''}`;
      return { address: port.path, key, usb, fromFolder: false };
    }),
  );
  return ports.filter((port) => port !== undefined);
}

async function namesIn(folder: string): Promise<string[] | undefined> {
  return readdir(folder).catch(() => undefined);
}

/**
 * One port for each terminal or network address, under whatever names it was found.
 * @param known ports that need no folder: those of this machine, and remotes of the config
 */
function merge(roots: SystemRoots, known: readonly PortInfo[], entries: readonly FolderPort[]): PortInfo[] {
  const byTarget = new Map(known.map((port) => [port.address, port]));
  for (const entry of entries) {
    const node = entry.ttyName === undefined ? sameSpelling(entry.target) : join(roots.devRoot, entry.ttyName);
    const target = byTarget.has(node) ? node : entry.target;
    const port = byTarget.get(target);
    if (port === undefined) {
      const address = entry.ttyName === undefined ? entry.target : entry.path;
      const key = `${entry.path}>${entry.target}#${entry.identity}`;
      const aliases = [address === entry.path ? entry.target : entry.path];
      byTarget.set(target, { address, key, usb: null, fromFolder: true, aliases });
    } else {
      // A remote is what the config makes it: a link to it that comes or goes is no plug-in.
      const fromFolder = port.name === undefined;
      byTarget.set(target, { ...port, fromFolder, aliases: [...(port.aliases ?? []), entry.path] });
    }
  }
  return [...byTarget.values()].sort((a, b) => (a.address < b.address ? -1 : 1));
}

/** Says that a part fails when it begins to, and that it works again when it does. */
function complainOnce(log: Logger): (part: string, error?: Error) => void {
  const failing = new Map<string, 'debug' | 'warn'>();
  return (part, error) => {
    const before = failing.get(part);
    if (error === undefined) {
      if (failing.delete(part)) log[before === 'warn' ? 'info' : 'debug'](`Listing ports: ${part} works again`);
    } else if (before === undefined) {
      // Without udev (a container, a small system), or on a busy machine, nothing is wrong: sysfs and /dev tell enough.
      const isMinor = isWithoutUdev(part, error) || (error instanceof TooLate && !error.isMissed);
      const level = isMinor ? 'debug' : 'warn';
      failing.set(part, level);
      log[level](`Listing ports: ${part} fails, going on without`, { reason: error.message });
    }
  };
}

/**
 * `SerialPort.list()` asks udev's database through `udevadm`, which is not there: execvp(3) says EACCES instead where a
 * folder of `PATH` is closed to this user.
 */
function isWithoutUdev(part: string, error: Error): boolean {
  return part === SERIAL_LIST && /\budevadm (?:ENOENT|EACCES)\b/.test(error.message);
}
