/**
 * Ports of other machines that the config names (`watch.remotes`). They are there for as long as the config names them:
 * whether a server answers shows only when one is opened. Nothing here connects to find out. A server opens its device as
 * soon as somebody connects (ser2net 4.3.11 does so before a byte has come, and for a connection that is closed at
 * once), which raises DTR and RTS and may reset the board.
 */

import { type NetworkAddress, networkAddress, parseAddress } from './address.ts';
import type { PortInfo } from './ports.ts';

export interface Remote {
  /** See {@link remoteNameProblem}. */
  readonly name: string;
  /** `rfc2217://host:port`; see {@link remoteUrlProblem}. */
  readonly url: string;
}

const NAME = /^[a-z0-9][a-z0-9._-]{0,31}$/i;
/** Names that ports of this machine have: `ttyUSB0`, `cu.usbserial-1`, `COM3`. */
const OF_A_PORT = /^(?:tty|cu\.|com\d|lpt\d)/i;
const HOST_NAME = /^[a-z0-9_](?:[a-z0-9._-]{0,251}[a-z0-9_.])?$/i;

/** What a remote's name is wanted to be; undefined = it is. No name has a slash: it is never mistaken for a path. */
export function remoteNameProblem(name: string): string | undefined {
  if (!NAME.test(name))
    return 'wants 1 to 32 letters, digits, dots, dashes or underscores, the first a letter or digit';
  return OF_A_PORT.test(name) ? 'wants a name that no port of this machine can have, such as bench-1' : undefined;
}

/** What a remote's address is wanted to be; undefined = it is. */
export function remoteUrlProblem(url: string): string | undefined {
  return remoteTarget(url) === undefined ? 'wants rfc2217://HOST:PORT, an IPv6 address in brackets' : undefined;
}

/** The one spelling of a remote's address: two with the same one are the same port. @param url a checked one */
export function remoteAddress(url: string): string {
  const target = remoteTarget(url);
  return target === undefined ? url : networkAddress(target);
}

/** The ports of a checked config, as the listing has them. */
export function remotePorts(remotes: readonly Remote[]): PortInfo[] {
  return remotes.map(({ name, url }) => {
    const address = remoteAddress(url);
    return { address, key: `remote ${address}`, usb: null, fromFolder: false, name, aliases: [name] };
  });
}

function remoteTarget(url: string): NetworkAddress | undefined {
  try {
    const target = parseAddress(url);
    const isIpv6 = target.kind !== 'device' && target.host.includes(':');
    if (target.kind !== 'rfc2217' || !(isIpv6 ? /^[0-9a-f:.]+$/i : HOST_NAME).test(target.host)) return undefined;
    return /^[\x21-\x7e]+$/.test(url) ? target : undefined;
  } catch {
    return undefined;
  }
}
