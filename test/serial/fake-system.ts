/** A made-up `/sys` and `/dev` in a temporary folder, laid out as the kernel does it. */

import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import type { LogFields, Logger } from '../../src/log.ts';

export interface FakeUsbTty {
  /** `ttyUSB0`. */
  readonly name: string;
  /** Bus and ports: `1-1.4`. */
  readonly device: string;
  readonly interfaceNumber?: number;
  /** Of usb-serial; cdc_acm has none. */
  readonly portNumber?: number;
  readonly deviceNumber?: number;
  readonly vendorId: string;
  readonly productId: string;
  readonly serialNumber?: string;
  readonly manufacturer?: string;
  readonly product?: string;
  /** Where a link as node leads to; else the node is an empty file. */
  readonly node?: string | false;
}

export class FakeSystem implements Disposable {
  readonly root = mkdtempSync(join(tmpdir(), 'espd-ports-'));
  readonly sysRoot = join(this.root, 'sys');
  readonly devRoot = join(this.root, 'dev');
  readonly roots = { sysRoot: this.sysRoot, devRoot: this.devRoot };

  constructor(options: { sysfs?: boolean } = {}) {
    mkdirSync(this.devRoot);
    if (options.sysfs !== false) mkdirSync(join(this.sysRoot, 'class/tty'), { recursive: true });
  }

  /** A folder that exists below the root. */
  folder(name: string): string {
    const path = join(this.root, name);
    mkdirSync(path, { recursive: true });
    return path;
  }

  plug(tty: FakeUsbTty): void {
    const { device, interfaceNumber = 0, portNumber, deviceNumber = 5 } = tty;
    const deviceFolder = join(this.sysRoot, 'devices/pci0000:00/0000:00:14.0/usb1', device);
    const interfaceFolder = join(deviceFolder, `${device}:1.${interfaceNumber}`);
    write(deviceFolder, 'idVendor', tty.vendorId);
    write(deviceFolder, 'idProduct', tty.productId);
    write(deviceFolder, 'devnum', String(deviceNumber));
    if (tty.serialNumber !== undefined) write(deviceFolder, 'serial', tty.serialNumber);
    if (tty.manufacturer !== undefined) write(deviceFolder, 'manufacturer', tty.manufacturer);
    if (tty.product !== undefined) write(deviceFolder, 'product', tty.product);
    write(interfaceFolder, 'bInterfaceNumber', String(interfaceNumber).padStart(2, '0'));
    const parent = portNumber === undefined ? interfaceFolder : join(interfaceFolder, tty.name);
    if (portNumber !== undefined) write(parent, 'port_number', String(portNumber));
    this.#tty(tty.name, parent);
    if (tty.node === false) return;
    if (tty.node === undefined) writeFileSync(join(this.devRoot, tty.name), '');
    else symlinkSync(tty.node, join(this.devRoot, tty.name));
  }

  unplug(tty: FakeUsbTty): void {
    rmSync(join(this.sysRoot, 'class/tty', tty.name), { force: true });
    rmSync(join(this.sysRoot, 'devices/pci0000:00/0000:00:14.0/usb1', tty.device), { recursive: true, force: true });
    rmSync(join(this.devRoot, tty.name), { force: true });
  }

  /** A UART of the machine itself, as every PC has four of. */
  addUart(name: string): void {
    const device = join(this.sysRoot, 'devices/platform/serial8250');
    mkdirSync(device, { recursive: true });
    this.#tty(name, device);
    writeFileSync(join(this.devRoot, name), '');
  }

  /** Says that the character device `major:minor` is the terminal `name`. */
  addTerminalNumber(numbers: string, name: string): void {
    const folder = join(this.sysRoot, 'dev/char');
    mkdirSync(folder, { recursive: true });
    symlinkSync(`../../devices/virtual/tty/${name}`, join(folder, numbers));
  }

  [Symbol.dispose](): void {
    rmSync(this.root, { recursive: true, force: true });
  }

  #tty(name: string, parent: string): void {
    const tty = join(parent, 'tty', name);
    mkdirSync(tty, { recursive: true });
    symlinkSync(relative(tty, parent), join(tty, 'device'));
    const entry = join(this.sysRoot, 'class/tty', name);
    symlinkSync(relative(dirname(entry), tty), entry);
  }
}

function write(folder: string, name: string, text: string): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, name), `${text}\n`);
}

export const CP2102 = {
  name: 'ttyUSB0',
  device: '1-1.4',
  portNumber: 0,
  vendorId: '10c4',
  productId: 'ea60',
  serialNumber: '0001',
  manufacturer: 'Silicon Labs',
  product: 'CP2102 USB to UART Bridge Controller',
} as const satisfies FakeUsbTty;

export const ESP32_C3 = {
  name: 'ttyACM0',
  device: '1-2',
  vendorId: '303a',
  productId: '1001',
  serialNumber: '7C:DF:A1:B2:C3:D4',
  manufacturer: 'Espressif',
  product: 'USB JTAG/serial debug unit',
} as const satisfies FakeUsbTty;

export interface LogLine {
  readonly level: 'error' | 'warn' | 'info' | 'debug';
  readonly message: string;
  readonly fields: LogFields | undefined;
}

/** A logger that keeps its lines. */
export function recordingLogger(): { log: Logger; lines: LogLine[]; at: (...levels: string[]) => string[] } {
  const lines: LogLine[] = [];
  const at = (level: LogLine['level']) => (message: string, fields?: LogFields) => {
    lines.push({ level, message, fields });
  };
  const log: Logger = {
    error: at('error'),
    warn: at('warn'),
    info: at('info'),
    debug: at('debug'),
    child: () => log,
  };
  const select = (...levels: string[]) => lines.filter((l) => levels.includes(l.level)).map((l) => l.message);
  return { log, lines, at: select };
}
