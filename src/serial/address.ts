/** Link addresses as people write them: `/dev/ttyUSB0`, `rfc2217://host:4000`, `socket://[::1]:3333`. */

import { isIPv6 } from 'node:net';
import { EspdError } from '../errors.ts';

export interface NetworkAddress {
  readonly kind: 'rfc2217' | 'socket';
  /** Name or IP address, an IPv6 one without its brackets. */
  readonly host: string;
  /** TCP port, 1 to 65535. */
  readonly port: number;
}

export type LinkAddress = { readonly kind: 'device'; readonly path: string } | NetworkAddress;

const EXAMPLE = 'Write rfc2217://HOST:PORT or socket://HOST:PORT, an IPv6 address in brackets: rfc2217://[::1]:4000';

/**
 * Options that pyserial and esptool allow behind an rfc2217 address
 * (https://pyserial.readthedocs.io/en/latest/url_handlers.html). None is needed here, so people may leave them on.
 */
const PYSERIAL_OPTIONS = new Set(['logging', 'ign_set_control', 'poll_modem', 'timeout']);

/** What `address` names. Throws `usage` for a malformed network address, another scheme, or nothing at all. */
export function parseAddress(address: string): LinkAddress {
  if (address.trim() === '') throw new EspdError('usage', 'The port has no name', { hint: 'Name one: /dev/ttyUSB0' });
  if (address.includes('\0')) throw new EspdError('usage', 'The name of the port contains a NUL character');
  const url = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)\/?(?:\?(.*))?$/i.exec(address);
  if (url === null) {
    if (/^(?:rfc2217|socket):/i.test(address)) throw malformed(address);
    return { kind: 'device', path: address };
  }
  const [, scheme = '', authority = '', query] = url;
  const kind = scheme.toLowerCase();
  if (kind !== 'rfc2217' && kind !== 'socket') {
    throw new EspdError('usage', `${address} has the unknown scheme ${scheme}://`, { hint: EXAMPLE });
  }
  checkQuery(address, query);
  const { host, port } = parseAuthority(address, authority);
  return { kind, host, port };
}

/** The one spelling of a network address: host names mean the same in any case, and options mean nothing here. */
export function networkAddress({ kind, host, port }: NetworkAddress): string {
  const name = host.toLowerCase();
  return `${kind}://${isIPv6(name) ? `[${name}]` : name}:${port}`;
}

/** `address` in that spelling where it is one of the network; as it is where it is not, or malformed. */
export function sameSpelling(address: string): string {
  if (!looksLikeNetworkAddress(address)) return address;
  try {
    const target = parseAddress(address);
    return target.kind === 'device' ? address : networkAddress(target);
  } catch {
    return address;
  }
}

/** Whether `text` is meant as a network address, well-formed or not. */
export function looksLikeNetworkAddress(text: string): boolean {
  return /^(?:rfc2217|socket):\/\//i.test(text);
}

function parseAuthority(address: string, authority: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:[\]@\s]+)):(\d{1,5})$/.exec(authority);
  if (match === null) {
    const hint = isIPv6(authority.replace(/:\d+$/, '')) || isIPv6(authority) ? EXAMPLE : undefined;
    throw malformed(address, hint ?? (/:\d+$/.test(authority) ? EXAMPLE : `The port number is missing. ${EXAMPLE}`));
  }
  const [, bracketed, name = '', digits = ''] = match;
  if (bracketed !== undefined && !isIPv6(bracketed)) throw malformed(address);
  const port = Number(digits);
  if (port < 1 || port > 65535) throw malformed(address, 'A TCP port is a number from 1 to 65535');
  return { host: bracketed ?? name, port };
}

function checkQuery(address: string, query: string | undefined): void {
  if (query === undefined || query === '') return;
  for (const option of query.split('&')) {
    const [name = ''] = option.split('=');
    if (!PYSERIAL_OPTIONS.has(name)) throw malformed(address, `The option ${name} is unknown. ${EXAMPLE}`);
  }
}

function malformed(address: string, hint = EXAMPLE): EspdError {
  return new EspdError('usage', `${address} is not a valid network address`, { hint });
}
