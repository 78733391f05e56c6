/** The one door to all links: what an address means, and the link that it names. */

import { readlink } from 'node:fs/promises';
import { looksLikeNetworkAddress, type NetworkAddress, parseAddress } from './address.ts';
import type { Link } from './link.ts';
import { openRfc2217Link } from './rfc2217-link.ts';
import { openSerialPort, type SerialPortOptions } from './serialport-open.ts';
import { openSocketLink } from './socket-link.ts';

export type OpenLinkOptions = SerialPortOptions;

/**
 * Opens the link that `address` names: `rfc2217://host:port`, `socket://host:port`, anything else a device path. A
 * symbolic link whose text is a network address opens that one: so a folder of links can name ports of all kinds.
 *
 * @throws EspdError `usage` for a malformed address, `port-missing`, `port-denied`, `port-busy`, `port-failed`; the
 *   signal's reason when it is aborted before the link is open
 */
export async function openLink(address: string, options: OpenLinkOptions): Promise<Link> {
  options.signal?.throwIfAborted();
  const named = parseAddress(address);
  if (named.kind !== 'device') return openNetworkLink(address, named, options);
  const text = await readlink(named.path).catch(() => '');
  if (!looksLikeNetworkAddress(text)) return openSerialPort(address, named.path, options);
  const target = parseAddress(text);
  if (target.kind === 'device') return openSerialPort(address, named.path, options);
  return openNetworkLink(address, target, options);
}

function openNetworkLink(address: string, target: NetworkAddress, options: OpenLinkOptions): Promise<Link> {
  return target.kind === 'rfc2217'
    ? openRfc2217Link(address, target, options)
    : openSocketLink(address, target, options);
}
