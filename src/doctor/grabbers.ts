/**
 * Programs that take ports of ESP boards for something else, judged by what they really do: ModemManager by the
 * properties that udev gives the ports, brltty by its rules and by who drives the device.
 */

import type { PortInfo } from '../serial/ports.ts';
import { BRIDGES } from '../serial/usb-ids.ts';
import type { Facts } from './facts.ts';
import type { RunningProgram } from './outside.ts';
import { applyRules, installRules } from './remedies.ts';
import { type Finding, asRoot, byHand, cannotCheck, note, ok, problem, some } from './types.ts';
import { RULES_FOLDERS } from './udev.ts';
import { type UsbDevice, readUsbDevices } from './usb-devices.ts';

const MODEM_MANAGER = 'ModemManager';

export interface MarkedPort {
  readonly address: string;
  /** udev's properties of the port. */
  readonly properties: ReadonlyMap<string, string>;
}

export async function checkModemManager(facts: Facts): Promise<Finding[]> {
  const programs = await facts.outside.programs();
  if (!programs.found) return [cannotCheck('modem-manager', MODEM_MANAGER, `no /proc (${programs.code})`)];
  const running = programs.value.find(({ name }) => name === MODEM_MANAGER);
  if (running === undefined) return [ok('modem-manager', 'ModemManager does not run')];
  const ports: MarkedPort[] = [];
  for (const { address } of await facts.devices()) {
    const udev = await facts.udev(address);
    if (!udev.known) return [cannotCheck('modem-manager', 'What ModemManager does to the ports', udev.why)];
    ports.push({ address, properties: udev.properties });
  }
  return judgeModemManager(ports, facts.packageFolder);
}

/**
 * ModemManager runs. It leaves alone what has ID_MM_PORT_IGNORE or ID_MM_DEVICE_IGNORE, whatever its policy. Since 1.20
 * it probes by default only what looks like a modem: of the ports here those with CDC-ACM, as chips with their own USB
 * have it (https://www.freedesktop.org/software/ModemManager/api/latest/ref-overview-modem-filter.html).
 */
export function judgeModemManager(ports: readonly MarkedPort[], packageFolder: string): Finding[] {
  const id = 'modem-manager';
  if (ports.length === 0) return [ok(id, 'ModemManager runs; no port of a board is there that it could probe')];
  const isIgnored = ({ properties }: MarkedPort) =>
    properties.get('ID_MM_PORT_IGNORE') === '1' || properties.get('ID_MM_DEVICE_IGNORE') === '1';
  const probed = ports.filter((port) => !isIgnored(port));
  if (probed.length === 0) return [ok(id, 'ModemManager runs, and ignores the ports of boards')];
  const likely = probed.filter(({ address, properties }) => /ACM\d+$/.test(properties.get('DEVNAME') ?? address));
  const hasRules = probed.some(({ properties }) => properties.get('ID_ESPD') === '1');
  const remedy = hasRules ? applyRules() : installRules(packageFolder);
  if (likely.length > 0) {
    const title = `ModemManager probes ${some(likely.map(({ address }) => address))}`;
    const detail = 'It sends AT commands to the board and holds the port meanwhile. The udev rules of espd forbid it';
    return [problem(id, title, { detail, remedy })];
  }
  const title = `ModemManager is not told to ignore ${some(probed.map(({ address }) => address))}`;
  return [note(id, title, { detail: 'Versions before 1.20, and others by their settings, probe such ports', remedy })];
}

/** A rule of brltty that takes every device with these ids, whoever made it. */
export interface Claim {
  readonly file: string;
  /** `1a86:7523`. */
  readonly usbId: string;
}

export async function checkBrltty(facts: Facts): Promise<Finding[]> {
  const { outside } = facts;
  if (outside.platform !== 'linux') return [cannotCheck('brltty', 'brltty', `no udev on ${outside.platform}`)];
  const claims: Claim[] = [];
  const masked = new Set<string>();
  for (const folder of RULES_FOLDERS) {
    const names = await outside.list(folder);
    for (const name of names.found ? names.value : []) {
      // The same name in an earlier folder takes the place of this one.
      if (!/brltty.*\.rules$/.test(name) || masked.has(name)) continue;
      masked.add(name);
      const file = await outside.read(`${folder}/${name}`);
      if (file.found) claims.push(...parseClaims(file.value.toString('utf8'), `${folder}/${name}`));
    }
  }
  const programs = await outside.programs();
  return judgeBrltty({
    claims: claims.filter(({ usbId }) => BRIDGES.has(usbId)),
    programs: programs.found ? programs.value : [],
    devices: await readUsbDevices(outside),
    ports: await facts.devices(),
  });
}

/**
 * Lines such as `ENV{PRODUCT}=="1a86/7523/*", ENV{BRLTTY_BRAILLE_DRIVER}="bm", GOTO="brltty_usb_run"` (brltty,
 * Autostart/Udev/device.rules). A line that also asks for the maker's or product's text takes no bridge of a board; newer
 * versions have the lines of bridges as comments.
 */
export function parseClaims(rules: string, file: string): Claim[] {
  return rules.split('\n', 20_000).flatMap((line) => {
    if (/^\s*#/.test(line) || !/BRLTTY_BRAILLE_DRIVER\}\s*=\s*"[^"]+"/.test(line)) return [];
    if (/ATTRS?\{(?:manufacturer|product|serial)\}\s*==/.test(line)) return [];
    const [, vendor, product] = /ENV\{PRODUCT\}\s*==\s*"([0-9a-f]{1,4})\/([0-9a-f]{1,4})\//i.exec(line) ?? [];
    if (vendor === undefined || product === undefined) return [];
    return [{ file, usbId: `${vendor.padStart(4, '0')}:${product.padStart(4, '0')}`.toLowerCase() }];
  });
}

export function judgeBrltty(facts: {
  readonly claims: readonly Claim[];
  readonly programs: readonly RunningProgram[];
  readonly devices: readonly UsbDevice[];
  readonly ports: readonly PortInfo[];
}): Finding[] {
  const { claims, programs, devices, ports } = facts;
  const id = 'brltty';
  const remedy = byHand(asRoot('apt-get', 'remove', 'brltty'));
  const runs = programs.some(({ name }) => name === 'brltty');
  const withPort = new Set(ports.map(({ usb }) => usb?.location?.split(':')[0]));
  // brltty drives a device through usbfs: the kernel's driver, and with it the port, is gone.
  const taken = devices.filter(
    ({ name, usbId, drivers }) => BRIDGES.has(usbId) && drivers.includes('usbfs') && !withPort.has(name),
  );
  if (taken.length > 0 && (runs || claims.length > 0)) {
    const names = taken.map(({ name, usbId }) => `${BRIDGES.get(usbId) ?? usbId} at USB ${name}`);
    const detail = 'It takes it for a Braille display. If nobody here needs Braille:';
    return [problem(id, `brltty has taken the ${some(names)}: it has no port`, { detail, remedy })];
  }
  if (claims.length > 0) {
    const names = [...new Set(claims.map(({ usbId }) => BRIDGES.get(usbId) ?? usbId))];
    const [first] = claims;
    const detail = `${first?.file ?? ''} claims them: their ports vanish a second after plug-in. If nobody needs Braille:`;
    return [problem(id, `brltty takes bridges of ESP boards: ${some(names)}`, { detail, remedy })];
  }
  if (runs) return [ok(id, 'brltty runs, and claims no bridge of ESP boards')];
  return [ok(id, 'brltty takes no port')];
}
