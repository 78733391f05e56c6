/** Address and port of `api.listen`. Pure. */

import { BlockList, isIP } from 'node:net';

export interface ListenPlace {
  readonly host: string;
  readonly port: number;
}

/** `127.0.0.1:8266`, `[::1]:8266`; undefined for anything else, names included: those mean different places on different days. */
export function parseListen(text: string): ListenPlace | undefined {
  const match = /^(?:\[([^\]]+)\]|([\d.]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2] ?? '';
  const port = Number(match?.[3]);
  const isAddress = match?.[1] === undefined ? isIP(host) === 4 : isIP(host) === 6;
  return isAddress && port >= 1 && port <= 65_535 ? { host, port } : undefined;
}

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

/** Whether an address in numbers is reached from this machine alone. */
export function isLoopback(host: string): boolean {
  return LOOPBACK.check(host, isIP(host) === 6 ? 'ipv6' : 'ipv4');
}
