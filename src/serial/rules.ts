/** Which devices to touch. Pure: facts of a port and rules in, a decision with its reason out. */

import { parseMac, type Mac } from '../mac.ts';
import type { UsbFacts } from './link.ts';
import type { PortInfo, PortMatcher } from './ports.ts';
import { BRIDGES, ESPRESSIF_VENDOR, ESP_PRODUCTS, NOT_ESP } from './usb-ids.ts';

export interface PortRules {
  /** Touched although the defaults would not. */
  readonly allow: readonly PortMatcher[];
  /** Never touched, whatever else holds. */
  readonly deny: readonly PortMatcher[];
}

/** What to do with ports that were there before the daemon: `watch.existing` of the config. */
export type ExistingPolicy = 'known' | 'all' | 'none';

export interface PortDecision {
  readonly touch: boolean;
  /** For people, as the end of a sentence: `a CP2102, found on ESP boards`. */
  readonly reason: string;
  /**
   * `esp`: the ids are those of an ESP chip in download mode or with USB-Serial/JTAG. `bridge`: may be an ESP board.
   * `folder`: somebody put it into a watched folder. `remote`: the config names it. `no`: nothing speaks for it.
   */
  readonly known: 'esp' | 'bridge' | 'folder' | 'remote' | 'no';
}

/**
 * The user's deny list beats everything, then the user's allow list, then the watched folders and remotes, then the
 * default deny list, then what the USB ids tell.
 */
export function decide(port: PortInfo, rules: PortRules): PortDecision {
  const known = classify(port);
  if (rules.deny.some((matcher) => matches(port, matcher))) {
    return { touch: false, reason: 'denied by the config', known };
  }
  if (rules.allow.some((matcher) => matches(port, matcher))) {
    return { touch: true, reason: 'allowed by the config', known };
  }
  if (port.name !== undefined) return { touch: true, reason: 'named in the config', known };
  if (port.fromFolder) return { touch: true, reason: 'found in a watched folder', known };
  if (port.usb === null) return { touch: false, reason: 'not a USB device', known };
  const gadget = NOT_ESP.find((entry) => matches(port, entry.match));
  if (gadget !== undefined) return { touch: false, reason: `${gadget.what}, not an ESP board`, known };
  if (known === 'no') return { touch: false, reason: 'not one of the USB ids found on ESP boards', known };
  return { touch: true, reason: describe(port.usb), known };
}

/** Whether a port that was there when the daemon started is touched; `decision` is that of {@link decide}. */
export function touchExisting(decision: PortDecision, policy: ExistingPolicy): boolean {
  if (policy === 'none' || !decision.touch) return false;
  return policy === 'all' || decision.known === 'esp' || decision.known === 'folder' || decision.known === 'remote';
}

/** Whether all fields of `matcher` fit `port`. */
export function matches(port: PortInfo, matcher: PortMatcher): boolean {
  const { usb } = port;
  const fields: [pattern: string | undefined, values: readonly (string | null | undefined)[]][] = [
    [idPattern(matcher.vendorId), [usb?.vendorId]],
    [idPattern(matcher.productId), [usb?.productId]],
    [matcher.serialNumber, [usb?.serialNumber]],
    [matcher.manufacturer, [usb?.manufacturer]],
    [matcher.product, [usb?.product]],
    [matcher.location, [usb?.location]],
    [matcher.path, [port.address, ...(port.aliases ?? [])]],
  ];
  const given = fields.filter(([pattern]) => pattern !== undefined);
  return given.length > 0 && given.every(([pattern = '', values]) => values.some((value) => fits(value, pattern)));
}

/**
 * The MAC of a board whose chip gives it as USB serial number (USB-Serial/JTAG, 303a:1001: `7C:DF:A1:B2:C3:D4`,
 * ESP-IDF programming guide, "USB Serial/JTAG Controller Console"). Apps can use the same ids with a serial number of
 * their own: a hint for recognising a board without a reset, never a proof.
 */
export function macFromUsb(port: PortInfo): Mac | undefined {
  const { usb } = port;
  if (usb?.vendorId !== ESPRESSIF_VENDOR || usb.productId !== '1001') return undefined;
  return parseMac(usb.serialNumber ?? '');
}

/** Whether `text` is `pattern`, where `*` stands for any characters. Takes time proportional to both lengths. */
export function matchesGlob(text: string, pattern: string): boolean {
  const [first = '', ...rest] = pattern.toLowerCase().split('*');
  const subject = text.toLowerCase();
  const last = rest.pop();
  if (last === undefined) return subject === first;
  if (!subject.startsWith(first) || !subject.endsWith(last)) return false;
  let from = first.length;
  for (const part of rest) {
    const found = subject.indexOf(part, from);
    if (found < 0) return false;
    from = found + part.length;
  }
  return from <= subject.length - last.length;
}

function fits(value: string | null | undefined, pattern: string): boolean {
  return value !== null && value !== undefined && matchesGlob(value, pattern);
}

function idPattern(pattern: string | undefined): string | undefined {
  const bare = pattern?.trim().replace(/^0x/i, '');
  return bare === undefined || bare.includes('*') ? bare : bare.padStart(4, '0');
}

function classify(port: PortInfo): PortDecision['known'] {
  if (port.name !== undefined) return 'remote';
  if (port.fromFolder) return 'folder';
  if (port.usb === null) return 'no';
  const { vendorId, productId } = port.usb;
  if (vendorId === ESPRESSIF_VENDOR) return ESP_PRODUCTS.has(productId) ? 'esp' : 'bridge';
  return BRIDGES.has(`${vendorId}:${productId}`) ? 'bridge' : 'no';
}

function describe(usb: UsbFacts): string {
  if (usb.vendorId === ESPRESSIF_VENDOR) {
    return ESP_PRODUCTS.get(usb.productId) ?? "an app on an ESP chip, with Espressif's USB vendor id";
  }
  return `a ${BRIDGES.get(`${usb.vendorId}:${usb.productId}`) ?? 'USB bridge'}, found on ESP boards`;
}
