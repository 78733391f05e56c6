/** The tree of USB devices as sysfs tells it (Documentation/ABI/stable/sysfs-bus-usb of the kernel). */

import type { Outside } from './outside.ts';

export const USB_FOLDER = '/sys/bus/usb/devices';
/** USB has 127 addresses a bus; a machine has some buses. */
const MAX_ENTRIES = 2000;

export interface UsbDevice {
  /** `1-1.4`; `usb1` for the root of bus 1. */
  readonly name: string;
  /** `1a86:7523`. */
  readonly usbId: string;
  /** Mbit/s; null where it is not told. */
  readonly speed: number | null;
  /** What it may take from its hub, in mA. */
  readonly maxPowerMa: number | null;
  /** It says that it has a supply of its own (USB 2.0, 9.6.3, bmAttributes bit 6). */
  readonly selfPowered: boolean | null;
  readonly isHub: boolean;
  /** A hub at high speed with one translator for all its ports (USB 2.0, 11.23.1: bDeviceProtocol 1). */
  readonly sharesTranslator: boolean;
  /** Kernel drivers of its interfaces: `ch341`, `hub`, `usbfs`, ... */
  readonly drivers: readonly string[];
}

/** All devices; none where there is no USB. */
export async function readUsbDevices(outside: Outside): Promise<UsbDevice[]> {
  const entries = await outside.list(USB_FOLDER);
  if (!entries.found) return [];
  const names = entries.value.filter((name) => /^(?:usb\d+|\d+-[\d.]+(?::[\d.]+)?)$/.test(name)).slice(0, MAX_ENTRIES);
  const interfaces = names.filter((name) => name.includes(':'));
  const devices = await Promise.all(
    names.filter((name) => !name.includes(':')).map((name) => readDevice(outside, name, interfaces)),
  );
  return devices.filter((device) => device !== undefined);
}

async function readDevice(
  outside: Outside,
  name: string,
  interfaces: readonly string[],
): Promise<UsbDevice | undefined> {
  const attribute = async (file: string) => {
    const text = await outside.read(`${USB_FOLDER}/${name}/${file}`);
    return text.found ? text.value.toString('latin1').trim() : '';
  };
  const [vendor = '', product = '', speed = '', power = '', attributes = '', deviceClass, protocol] = await Promise.all(
    ['idVendor', 'idProduct', 'speed', 'bMaxPower', 'bmAttributes', 'bDeviceClass', 'bDeviceProtocol'].map(attribute),
  );
  if (!/^[0-9a-f]{4}$/i.test(vendor) || !/^[0-9a-f]{4}$/i.test(product)) return undefined;
  const own = interfaces.filter((each) => each.startsWith(`${name}:`));
  const links = await Promise.all(own.map((each) => outside.link(`${USB_FOLDER}/${each}/driver`)));
  const isHub = deviceClass === '09';
  return {
    name,
    usbId: `${vendor}:${product}`.toLowerCase(),
    speed: /^\d+(?:\.\d+)?$/.test(speed) ? Number(speed) : null,
    maxPowerMa: /^\d{1,4}mA$/.test(power) ? Number.parseInt(power, 10) : null,
    selfPowered: /^[0-9a-f]{2}$/i.test(attributes) ? (Number.parseInt(attributes, 16) & 0x40) !== 0 : null,
    isHub,
    sharesTranslator: isHub && protocol === '01',
    drivers: links.flatMap((link) => (link.found ? [link.value.slice(link.value.lastIndexOf('/') + 1)] : [])),
  };
}

/** The name of the device in a port's location: `1-1.4` of `1-1.4:1.0` or `1-1.4:1.0-port1`. */
export function deviceOf(location: string): string {
  return location.split(':')[0] ?? '';
}

/** The hub that a device is plugged into: `1-1` of `1-1.4`, `usb1` of `1-1`; undefined for a root. */
export function hubOf(name: string): string | undefined {
  const match = /^(\d+)-(\d+(?:\.\d+)*)$/.exec(name);
  if (match === null) return undefined;
  const [, bus = '', path = ''] = match;
  const dot = path.lastIndexOf('.');
  return dot === -1 ? `usb${bus}` : `${bus}-${path.slice(0, dot)}`;
}
