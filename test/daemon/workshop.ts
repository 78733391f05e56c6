/** A daemon on a bench of simulated boards: plugs, cables, an archive in a temporary folder, and time that costs nothing. */

import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { ArchiveOptions } from '../../src/archive/archive.ts';
import { CACHE } from '../../src/archive/cache.ts';
import { isPartialName } from '../../src/archive/owner.ts';
import type { Archive, Backup, BoardHistory } from '../../src/archive/types.ts';
import { Daemon, type DaemonSettings } from '../../src/daemon/daemon.ts';
import { EventBus } from '../../src/daemon/events.ts';
import type { EventOf, EventType, ServiceEvent } from '../../src/daemon/event-types.ts';
import { StatusLine, logEvents } from '../../src/daemon/report.ts';
import { EspdError } from '../../src/errors.ts';
import type { LogFields, Logger } from '../../src/log.ts';
import { type Mac, macToFolder, parseMac } from '../../src/mac.ts';
import type { Link, UsbFacts } from '../../src/serial/link.ts';
import type { PortEvent, PortInfo } from '../../src/serial/ports.ts';
import { OPCODE, VirtualClock, createBoard, demoImage, memoryLink } from '../../src/simulator/index.ts';
import type { BoardOptions, SimulatedBoard } from '../../src/simulator/index.ts';
import type { LinkOpener } from '../../src/transfer/session.ts';
import { archiveAt, newArchive } from '../archive/support.ts';

export const KIB = 1024;
/** The virtual time within which everything that is to happen has happened. */
const PATIENCE_MS = 300_000;
/** From a change of the bus to the event of the watcher. */
const NOTICE_MS = 50;

export interface LogLine {
  readonly level: 'error' | 'warn' | 'info' | 'debug';
  readonly message: string;
  readonly fields: LogFields;
}

/** Something at a port: a board, or whatever else opens (or does not). */
export interface Device {
  readonly address: string;
  readonly usb: UsbFacts | null;
  readonly fromFolder?: boolean;
  /** Of a remote. */
  readonly name?: string;
  readonly board?: SimulatedBoard;
  /** Of a plug-in that another workshop has seen: it was not unplugged since. */
  readonly plugKey?: string;
}

export interface BoardDevice extends Device {
  readonly board: SimulatedBoard;
}

export interface WorkshopOptions {
  readonly settings?: Partial<DaemonSettings>;
  readonly archive?: Partial<ArchiveOptions>;
  /** The folder of an archive that is there already. */
  readonly root?: string;
}

const SETTINGS: DaemonSettings = {
  rules: { allow: [], deny: [] },
  existing: 'known',
  parallel: 8,
  connectAttempts: 3,
  cooldownMs: 10_000,
  baudRate: 921_600,
  reset: 'auto',
  full: false,
};

export const CP2102: UsbFacts = {
  vendorId: '10c4',
  productId: 'ea60',
  serialNumber: '0001',
  manufacturer: 'Silicon Labs',
  product: 'CP2102 USB to UART Bridge Controller',
  location: '1-1:1.0',
};

export const ESP32_C3: UsbFacts = {
  vendorId: '303a',
  productId: '1001',
  serialNumber: '7C:DF:A1:BE:EF:02',
  manufacturer: 'Espressif',
  product: 'USB JTAG/serial debug unit',
  location: '1-1:1.0',
};

/** A line that takes its time, so that something can happen in the middle of a read. */
export const PACED = { latencyMs: 1 };

/** Waits until the backup has flash on the wire, and some of it has arrived. */
export async function reading(shop: Workshop, { board }: BoardDevice): Promise<void> {
  const hasBegun = () => board.commands.some(({ opcode }) => opcode === OPCODE.readFlash);
  while (!hasBegun()) await shop.pass(10);
  await shop.pass(200);
  assert.equal(board.mode, 'stub');
  assert.ok(shop.openLinks > 0);
}

export function macOf(board: SimulatedBoard): Mac {
  return parseMac(board.mac)!;
}

export class Workshop {
  readonly clock: VirtualClock;
  readonly archive: Archive;
  readonly events: EventBus;
  readonly daemon: Daemon;
  /** Every event, in order. */
  readonly told: ServiceEvent[] = [];
  readonly lines: LogLine[] = [];
  readonly statuses: string[] = [];
  /** Every call to open, by address. */
  readonly opened: string[] = [];
  /** The most links that were open at the same moment. */
  mostOpen = 0;
  /** Asked before a link is opened; what it throws is the failure. */
  beforeOpen: (address: string) => void | Promise<void> = () => undefined;
  /** The watcher has reported that a device is gone. */
  afterDetach: (device: Device) => void = () => undefined;
  /** What is there at the start. */
  readonly present: Device[] = [];
  /** Ports that other programs have. */
  readonly inUse = new Set<string>();
  portsClosed = 0;
  /** How long a link takes to close. */
  closeMs = 0;
  /** What the watcher does when it is closed. */
  closePorts: () => Promise<void> = () => Promise.resolve();
  readonly #onEvent: (event: PortEvent) => void;
  readonly #links = new Set<Link>();
  readonly #plugged = new Map<string, { device: Device; port: PortInfo }>();
  readonly #watchers = new Set<() => void>();
  #plugs = 0;

  private constructor(archive: Archive, clock: VirtualClock, options: WorkshopOptions) {
    this.archive = archive;
    this.clock = clock;
    const log = this.#logger({});
    this.events = new EventBus({ clock, log }, 'workshop');
    this.events.subscribe(logEvents(log));
    const status = new StatusLine((text) => {
      this.statuses.push(text);
      this.#notify();
    });
    this.events.subscribe(status.onEvent);
    this.events.subscribe((event) => {
      this.told.push(event);
      this.#notify();
    });
    let onEvent: ((event: PortEvent) => void) | undefined;
    this.daemon = new Daemon({
      archive,
      clock,
      events: this.events,
      log,
      settings: { ...SETTINGS, ...options.settings },
      openLink: this.#open,
      portUse: () => Promise.resolve(new Set(this.inUse)),
      watch: (listener) => {
        onEvent = listener;
        return {
          start: () => {
            for (const device of this.present) this.plug(device, { existing: true });
            return Promise.resolve();
          },
          close: () => {
            this.portsClosed++;
            return this.closePorts();
          },
        };
      },
    });
    this.#onEvent = onEvent!;
  }

  /** Not started yet; ends with the test. */
  static async open(t: TestContext, options: WorkshopOptions = {}): Promise<Workshop> {
    const clock = new VirtualClock();
    const archiveOptions = { clock, ...options.archive };
    const { root } = options;
    const holder: { workshop?: Workshop } = {};
    // Before the archive's own: what the daemon still writes is written before the folder is removed.
    t.after(async () => {
      await holder.workshop?.daemon.stop();
      clock.clear();
    });
    const archive = root === undefined ? await newArchive(t, archiveOptions) : archiveAt(root, archiveOptions);
    const workshop = new Workshop(archive, clock, options);
    holder.workshop = workshop;
    return workshop;
  }

  static async started(t: TestContext, options: WorkshopOptions = {}): Promise<Workshop> {
    const workshop = await Workshop.open(t, options);
    await workshop.daemon.start();
    return workshop;
  }

  /** A board with 256 KiB of flash and firmware in it, at a port of its own. */
  board(
    options: Partial<BoardOptions> & { slot?: number; usbFacts?: Partial<UsbFacts>; address?: string } = {},
  ): BoardDevice {
    const { slot = 0, usbFacts = {}, address, ...wanted } = options;
    const family = wanted.family ?? 'esp32';
    const flashSizeBytes = wanted.flashSizeBytes ?? 256 * KIB;
    const seed = wanted.seed ?? slot + 1;
    const content = wanted.content ?? demoImage({ family, sizeBytes: flashSizeBytes, appBytes: 40 * KIB, seed });
    const board = createBoard({ seed, ...wanted, family, flashSizeBytes, content, clock: this.clock });
    const isNative = wanted.usb !== undefined && wanted.usb !== 'bridge';
    const base = isNative ? { ...ESP32_C3, serialNumber: board.mac.toUpperCase() } : CP2102;
    const usb: UsbFacts = { ...base, location: `1-${slot + 1}:1.0`, ...usbFacts };
    const device = { address: address ?? `/dev/tty${isNative ? 'ACM' : 'USB'}${slot}`, usb, board };
    board.onAppear = () => this.#appear(device);
    return device;
  }

  /** The same board, at another port from its next plug-in on. */
  moveTo(device: BoardDevice, slot: number): BoardDevice {
    const moved = device as { -readonly [Key in keyof BoardDevice]: BoardDevice[Key] };
    moved.address = device.address.replace(/\d+$/, String(slot));
    moved.usb = device.usb && { ...device.usb, location: `1-${slot + 1}:1.0` };
    return device;
  }

  isPlugged(device: Device): boolean {
    return [...this.#plugged.values()].some((plugged) => plugged.device === device);
  }

  /** Nothing is plugged in there. */
  isFree(slot: number): boolean {
    return [...this.#plugged.values()].every(({ port }) => port.usb?.location !== `1-${slot + 1}:1.0`);
  }

  apply(settings: Partial<DaemonSettings>): void {
    this.daemon.apply({ ...SETTINGS, ...settings });
  }

  /** The watcher reports the device as attached, at `address` if it is another one now. */
  plug(device: Device, { existing = false, address = device.address } = {}): PortInfo {
    const port: PortInfo = {
      address,
      key: device.plugKey ?? `${address} plug ${++this.#plugs}`,
      usb: device.usb,
      fromFolder: device.fromFolder ?? false,
      ...(device.name !== undefined && { name: device.name, aliases: [device.name] }),
    };
    this.#plugged.set(address, { device, port });
    if (device.board !== undefined && !device.board.attached) {
      device.board.onAppear = undefined;
      device.board.plug();
      device.board.onAppear = () => this.#appear(device);
    }
    this.#onEvent(existing ? { kind: 'attached', port, existing } : { kind: 'attached', port });
    return port;
  }

  /** Pulls the cable; the watcher reports it, at once unless it is said to be late. */
  unplug(device: Device, { unnoticed = false } = {}): void {
    device.board?.unplug();
    if (!unnoticed) this.detach(device);
  }

  /** The watcher reports that the device's port has gone. */
  detach(device: Device): void {
    for (const [address, plugged] of this.#plugged) {
      if (plugged.device !== device) continue;
      this.#plugged.delete(address);
      this.#onEvent({ kind: 'detached', port: plugged.port });
      this.afterDetach(device);
    }
  }

  /** The config calls a remote otherwise from now on. */
  rename(device: Device, name: string): void {
    for (const plugged of this.#plugged.values()) {
      if (plugged.device !== device) continue;
      plugged.port = { ...plugged.port, name, aliases: [name] };
      this.#onEvent({ kind: 'renamed', port: plugged.port });
    }
  }

  /** An event as only a broken or late watcher would give it. */
  fire(event: PortEvent): void {
    this.#onEvent(event);
  }

  /** The first line with that message and these fields, now or later. */
  async said(message: string, fields: LogFields = {}, nth = 1): Promise<LogLine> {
    const matching = () => this.linesOf(message, fields)[nth - 1];
    await this.until(() => matching() !== undefined, `"${message}" ${JSON.stringify(fields)} (${nth})`);
    return matching()!;
  }

  linesOf(message: string, fields: LogFields = {}): LogLine[] {
    return this.lines.filter(
      (line) =>
        line.message === message && Object.entries(fields).every(([name, value]) => line.fields[name] === value),
    );
  }

  /** Lines for people who look for faults. */
  get complaints(): LogLine[] {
    return this.lines.filter(({ level }) => level === 'error' || level === 'warn');
  }

  /** Waits for a condition that a log line, a status or an opened link may bring about. */
  async until(isMet: () => boolean, what: string): Promise<void> {
    if (isMet()) return;
    await new Promise<void>((resolve, reject) => {
      const watcher = () => {
        if (!isMet()) return;
        this.#watchers.delete(watcher);
        cancel();
        resolve();
      };
      const cancel = this.clock.schedule(PATIENCE_MS, () => {
        this.#watchers.delete(watcher);
        const log = this.lines.map(({ level, message, fields }) => `${level} ${message} ${JSON.stringify(fields)}`);
        reject(new assert.AssertionError({ message: `waited in vain for ${what}; the log:\n${log.join('\n')}` }));
      });
      this.#watchers.add(watcher);
    });
  }

  /** Everything is done: no job runs, no link is open. */
  async idle(): Promise<void> {
    await this.until(() => this.statuses.at(-1)?.startsWith('Waiting for boards') === true, 'an idle daemon');
    assert.equal(this.openLinks, 0);
  }

  pass(durationMs: number): Promise<void> {
    return new Promise((resolve) => this.clock.schedule(durationMs, resolve));
  }

  /** Events of one type so far. */
  eventsOf<T extends EventType>(type: T): EventOf<T>[] {
    return this.told.filter((event): event is EventOf<T> => event.type === type);
  }

  get openLinks(): number {
    return this.#links.size;
  }

  opensOf(address: string): number {
    return this.opened.filter((each) => each === address).length;
  }

  history(board: SimulatedBoard): Promise<BoardHistory> {
    return this.archive.history(macOf(board));
  }

  /** Asserts how many backups there are, that the newest equals the flash, and that every one verifies. */
  async archived(board: SimulatedBoard, count = 1): Promise<Backup> {
    const { backups, problems } = await this.history(board);
    assert.deepEqual(problems, []);
    assert.equal(backups.length, count, `backups of ${board.mac}`);
    for (const { mac, id } of backups) assert.deepEqual(await this.archive.verifyBackup(mac, id), []);
    const latest = backups.at(-1)!;
    assert.ok((await readFile(join(latest.path, 'flash.bin'))).equals(board.flash.snapshot()), 'image equals flash');
    return latest;
  }

  /**
   * What lies in a board's folder, or which boards have anything: a draft would show. Not what may stay behind: the
   * cache, and the bytes that an interrupted backup leaves.
   */
  async files(board?: SimulatedBoard): Promise<string[]> {
    if (board !== undefined) return this.#filesIn(macToFolder(macOf(board)));
    const names = (await readdir(this.archive.root).catch(() => [])).filter((name) => name !== CACHE).sort();
    const files = await Promise.all(names.map((name) => this.#filesIn(name)));
    return names.filter((_, index) => files[index]?.length !== 0);
  }

  /** How many folders with the bytes of interrupted backups a board has. */
  async partials(board: SimulatedBoard): Promise<number> {
    const path = join(this.archive.root, macToFolder(macOf(board)));
    return (await readdir(path).catch(() => [])).filter(isPartialName).length;
  }

  async #filesIn(folder: string): Promise<string[]> {
    const names = await readdir(join(this.archive.root, folder)).catch(() => []);
    return names.filter((name) => !isPartialName(name)).sort();
  }

  readonly #open: LinkOpener = async (address, { signal, baudRate, keepControlLines }) => {
    signal?.throwIfAborted();
    this.opened.push(address);
    await this.beforeOpen(address);
    signal?.throwIfAborted();
    const plugged = this.#plugged.get(address);
    const device = plugged?.device;
    if (device === undefined) throw new EspdError('port-missing', `${address} does not exist`);
    if (device.board === undefined) throw new EspdError('port-failed', `${address} is no board`);
    if (!device.board.attached) throw new EspdError('port-missing', `${address} does not exist`);
    const { board } = device;
    const link = memoryLink(board, { clock: this.clock, address, baudRate });
    // As serial/serialport-open.ts does it: the kernel has asserted both lines, and they are released in one step.
    if (keepControlLines !== true) await link.setControlLines({ dtr: false, rts: false });
    this.#links.add(link);
    this.mostOpen = Math.max(this.mostOpen, this.#links.size);
    const linkVanished = board.onVanish;
    board.onVanish = () => {
      linkVanished?.();
      if (board.attached) return;
      // A board that resets itself off the bus; a pulled cable is reported by unplug.
      this.clock.schedule(NOTICE_MS, () => this.#plugged.get(address) === plugged && this.detach(device));
    };
    this.#notify();
    return new Proxy(link, {
      get: (target, name) => {
        const member: unknown = Reflect.get(target, name, target);
        if (typeof member !== 'function') return member;
        if (name !== 'close') return (member as (...args: unknown[]) => unknown).bind(target);
        return async () => {
          await target.close();
          if (this.closeMs > 0) await this.pass(this.closeMs);
          this.#links.delete(link);
          this.#notify();
        };
      },
    });
  };

  #appear(device: Device): void {
    this.clock.schedule(2 * NOTICE_MS, () => this.plug(device));
  }

  #notify(): void {
    for (const watcher of [...this.#watchers]) watcher();
  }

  #logger(bound: LogFields): Logger {
    const at =
      (level: LogLine['level']) =>
      (message: string, fields: LogFields = {}) => {
        this.lines.push({ level, message, fields: { ...bound, ...fields } });
        this.#notify();
      };
    return {
      error: at('error'),
      warn: at('warn'),
      info: at('info'),
      debug: at('debug'),
      child: (fields) => this.#logger({ ...bound, ...fields }),
    };
  }
}
