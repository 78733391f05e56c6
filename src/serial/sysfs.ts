/**
 * What the Linux kernel says of USB serial ports, read from sysfs: complete as soon as the tty exists, without udev
 * and without a child process.
 *
 * Layout (Documentation/ABI/stable/sysfs-bus-usb and Documentation/admin-guide/sysfs-rules.rst of the kernel):
 * `class/tty/ttyUSB0/device` leads to the port of usb-serial or to the USB interface of cdc_acm; the interface's
 * folder has `bInterfaceNumber`, the one above it `idVendor`, `devnum` and the strings.
 */

import { lstat, readFile, readdir, readlink, realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { replaceUnprintable } from '../printable.ts';
import type { UsbFacts } from './link.ts';

/** Where the system's trees are; tests build their own. */
export interface SystemRoots {
  /** Normally `/sys`. */
  readonly sysRoot: string;
  /** Normally `/dev`. */
  readonly devRoot: string;
}

export interface UsbPort {
  readonly facts: UsbFacts;
  /** Counts up with every enumeration (1 to 127, then again from 1); empty where the system does not tell. */
  readonly deviceNumber: string;
  /** The name that udev's 60-serial.rules gives the port below `/dev/serial/by-id/`. */
  readonly byIdName: string;
}

/** Longest text, in characters, that is taken over from a device. USB allows 126 (USB 2.0, 9.6.7). */
const MAX_TEXT = 64;
/** The device is two to four folders above the tty; a loop in a broken tree must end too. */
const MAX_LEVELS = 8;
/** usb-serial, cdc_acm and the vendors' own drivers (WCH: ttyWCHUSB, ttyCH341USB, ttyCH343USB; MaxLinear: ttyXRUSB). */
const USB_TTY = /^tty(?:USB|ACM|WCH[A-Z]*|CH\d+[A-Z]+|XRUSB)\d+$/;
/** UNIX98 pseudo terminals: char majors 136 to 143 (Documentation/admin-guide/devices.txt of the kernel). */
const PTY_MAJORS = { first: 136n, last: 143n };

/**
 * Text from a device or file name, safe for terminals and logs: escape sequences, control and invisible characters
 * (Unicode C*: also bidi overrides and lone surrogates) are gone, white space is single, at most 64 characters.
 * Null when nothing is left.
 */
export function deviceText(text: string | undefined | null): string | null {
  if (text === undefined || text === null) return null;
  const clean = text
    .slice(0, 4096)
    .replace(/(?:\u001b\[|\u009b)[0-?]*[ -/]*[@-~]|\u001b\][^\u0007\u001b]*(?:\u0007|\u001b\\)?/g, '')
    .replace(/[\s\p{Z}]+/gu, ' ');
  const short = Array.from(replaceUnprintable(clean, '').trim()).slice(0, MAX_TEXT).join('').trim();
  return short === '' ? null : short;
}

/** Four hex digits in lower case, or undefined for anything else. */
export function usbId(text: string | undefined | null): string | undefined {
  const match = /^(?:0x)?([0-9a-f]{4})$/i.exec(text?.trim() ?? '');
  return match?.[1]?.toLowerCase();
}

export function isUsbTtyName(name: string): boolean {
  return USB_TTY.test(name);
}

/** Names of all ttys that the kernel has, sorted; undefined where there is no sysfs. */
export async function ttyNames(roots: SystemRoots): Promise<string[] | undefined> {
  try {
    return (await readdir(join(roots.sysRoot, 'class/tty'))).sort();
  } catch {
    return undefined;
  }
}

/** Changes whenever the kernel makes this tty or its node anew; undefined while either does not exist. */
export async function ttyIdentity(roots: SystemRoots, name: string): Promise<string | undefined> {
  try {
    const [node, entry] = await Promise.all([
      lstat(join(roots.devRoot, name), { bigint: true }),
      lstat(join(roots.sysRoot, 'class/tty', name), { bigint: true }),
    ]);
    return node.isDirectory() ? undefined : `${node.ino}.${entry.ino}`;
  } catch {
    return undefined;
  }
}

/** The USB device behind a tty; undefined for a tty that is none, or that has just gone. */
export async function usbPortOf(roots: SystemRoots, name: string): Promise<UsbPort | undefined> {
  let folder: string;
  try {
    folder = await realpath(join(roots.sysRoot, 'class/tty', name, 'device'));
  } catch {
    return undefined;
  }
  const portNumber = await attribute(folder, 'port_number');
  let usbInterface: { name: string; number: string } | undefined;
  for (let level = 0; level < MAX_LEVELS; level++, folder = dirname(folder)) {
    const number = await attribute(folder, 'bInterfaceNumber');
    if (number !== undefined) usbInterface ??= { name: basename(folder), number };
    const vendorId = usbId(await attribute(folder, 'idVendor'));
    if (vendorId === undefined) continue;
    const productId = usbId(await attribute(folder, 'idProduct'));
    if (productId === undefined) return undefined;
    const [serialNumber, manufacturer, product, deviceNumber] = await Promise.all(
      ['serial', 'manufacturer', 'product', 'devnum'].map((file) => attribute(folder, file)),
    );
    const facts = {
      vendorId,
      productId,
      serialNumber: deviceText(serialNumber),
      manufacturer: deviceText(manufacturer),
      product: deviceText(product),
      location: deviceText(locationOf(usbInterface?.name ?? basename(folder), portNumber)),
    };
    return {
      facts,
      deviceNumber: /^\d+$/.test(deviceNumber ?? '') ? (deviceNumber ?? '') : '',
      byIdName: byIdName(facts, usbInterface?.number ?? '00', portNumber),
    };
  }
  return undefined;
}

/**
 * The kernel's name of the terminal with this device number, `ttyUSB0` or `pts/3`; undefined for other character
 * devices, virtual consoles and the kernel's console, which nobody means as a port.
 */
export async function serialTtyName(roots: SystemRoots, deviceNumber: bigint): Promise<string | undefined> {
  // The encoding of makedev(3) in glibc and musl.
  const major = ((deviceNumber >> 8n) & 0xfffn) | ((deviceNumber >> 32n) & 0xfffff000n);
  const minor = (deviceNumber & 0xffn) | ((deviceNumber >> 12n) & 0xffffff00n);
  if (major >= PTY_MAJORS.first && major <= PTY_MAJORS.last) {
    return `pts/${(major - PTY_MAJORS.first) * 256n + minor}`;
  }
  try {
    const target = await readlink(join(roots.sysRoot, 'dev/char', `${major}:${minor}`));
    const name = basename(target);
    const isTerminal = basename(dirname(target)) === 'tty';
    return isTerminal && !/^(?:tty\d*|console|ptmx)$/.test(name) ? name : undefined;
  } catch {
    return undefined;
  }
}

/** Some adapters have several ports on one interface; usb-serial counts those from 0. */
function locationOf(interfaceName: string, portNumber: string | undefined): string {
  return portNumber === undefined || portNumber === '0' ? interfaceName : `${interfaceName}-port${portNumber}`;
}

/**
 * As udev's `usb_id` builds ID_SERIAL and 60-serial.rules the link: `usb-VENDOR_MODEL_SERIAL-ifNN[-portN]`, where
 * missing texts are the ids and unusual characters `_` (systemd: src/udev/udev-builtin-usb_id.c).
 */
function byIdName(facts: UsbFacts, interfaceNumber: string, portNumber: string | undefined): string {
  const parts = [facts.manufacturer ?? facts.vendorId, facts.product ?? facts.productId, facts.serialNumber];
  const serial = parts.filter((part) => part !== null).join('_');
  const port = portNumber === undefined ? '' : `-port${portNumber}`;
  return `usb-${serial.replace(/[^0-9A-Za-z#+\-.:=@_]/g, '_')}-if${interfaceNumber}${port}`;
}

async function attribute(folder: string, name: string): Promise<string | undefined> {
  try {
    return (await readFile(join(folder, name), 'utf8')).trim();
  } catch {
    return undefined;
  }
}
