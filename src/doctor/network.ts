/** Boards over the network, browsers, and servers that are told: the service may use it only after a drop-in has said so. */

import { BlockList, isIP } from 'node:net';
import { isLoopback, parseListen } from '../config/listen.ts';
import { EspdError } from '../errors.ts';
import { parseAddress } from '../serial/address.ts';
import type { Facts } from './facts.ts';
import { wordsOf } from './parse.ts';
import { editUnit, writeDropIn } from './remedies.ts';
import type { Subject } from './subject.ts';
import { type Finding, type Remedy, note, ok, problem, some } from './types.ts';

export const DROP_IN = '/etc/systemd/system/espd.service.d/espd-network.conf';

export async function checkNetwork(facts: Facts): Promise<Finding[]> {
  const service = await facts.service();
  const ports = await facts.networkPorts();
  if (!service.known || !(await facts.isInstalled())) return [];
  const { loaded } = facts;
  const clients = clientsOf(loaded instanceof EspdError ? null : loaded.config.api.listen);
  const servers = serversOf(loaded);
  if (ports.length + clients.length + servers.length === 0) {
    return [ok('service-network', 'No board, server or store is on the network: it needs none')];
  }
  if (!(await facts.isServiceConfig())) {
    const detail = 'What it names is not what the service uses, which is not asked';
    return [note('service-network', 'The network: this config is not that of the service', { detail })];
  }
  const hosts = [...hostsOf(ports.map(({ address }) => address)), ...clients, ...servers];
  return judgeNetwork([...new Set(hosts)], service.properties);
}

/** Who connects to the page at `api.listen`: this machine alone, or whoever reaches it. */
export function clientsOf(listen: string | null): string[] {
  const place = listen === null ? undefined : parseListen(listen);
  if (place === undefined) return [];
  return isLoopback(place.host) ? [place.host] : [`browsers at ${listen}`];
}

/** Hosts of webhooks, of the MQTT broker and of the object store, each once; of a config with a fault nothing is known. */
export function serversOf(loaded: Subject['loaded']): string[] {
  if (loaded instanceof EspdError) return [];
  const { webhooks, mqtt, store } = loaded.config;
  const urls = [
    ...webhooks.map(({ url }) => url),
    ...(mqtt === null ? [] : [mqtt.url]),
    ...(store === null ? [] : [store.endpoint]),
  ];
  // Brackets are of the URL, not of the address.
  return [...new Set(urls.map((url) => new URL(url).hostname.replace(/^\[(.*)\]$/, '$1')))];
}

/** Hosts of addresses, each once; what is none is passed over. */
export function hostsOf(addresses: readonly string[]): string[] {
  const hosts = addresses.flatMap((address) => {
    try {
      const parsed = parseAddress(address);
      return parsed.kind === 'device' ? [] : [parsed.host];
    } catch {
      return []; // the listing has told of it
    }
  });
  return [...new Set(hosts)];
}

/**
 * @param properties of `systemctl show`: RestrictAddressFamilies, IPAddressAllow, IPAddressDeny (systemd.exec(5),
 * systemd.resource-control(5)): what is allowed passes, then what is denied is dropped, all else passes
 */
export function judgeNetwork(hosts: readonly string[], properties: ReadonlyMap<string, string>): Finding[] {
  const id = 'service-network';
  const families = wordsOf(properties, 'RestrictAddressFamilies');
  const allowed = wordsOf(properties, 'IPAddressAllow');
  const denied = wordsOf(properties, 'IPAddressDeny');
  // `~` in front: the list says what is forbidden.
  const mayUse = (family: string) =>
    families.length === 0 ||
    (families[0]?.startsWith('~') === true ? !families.join(' ').includes(family) : families.includes(family));
  const hasFamilies = mayUse('AF_INET') && mayUse('AF_INET6');
  const isBlocked = (host: string) => {
    const kind = isIP(host);
    // Where a name leads nobody knows here; but not to this machine alone, as far as it is not called so.
    if (kind === 0)
      return denied.length > 0 && !allowed.some((network) => host === 'localhost' || !isOfLoopback(network));
    return isIn(host, denied) && !isIn(host, allowed);
  };
  const blocked = hasFamilies ? hosts.filter(isBlocked) : hosts;
  if (blocked.length === 0) return [ok(id, `The service may reach ${some(hosts)}`)];
  const hasOurs = wordsOf(properties, 'DropInPaths').includes(DROP_IN);
  const title = `The service may not use the network, and needs it for ${some(blocked)}`;
  const detail = 'It is closed to it as installed. Afterwards restart it when no board is worked on';
  return [problem(id, title, { detail, remedy: hasOurs ? editUnit() : allow(hosts) })];
}

function allow(hosts: readonly string[]): Remedy {
  // A name is found by a resolver, wherever that is.
  const networks = hosts.every((host) => isIP(host) !== 0) ? hosts : ['any'];
  return writeDropIn(DROP_IN, `RestrictAddressFamilies=AF_INET AF_INET6\nIPAddressAllow=${networks.join(' ')}\n`);
}

/** A network of this machine alone, as in IPAddressAllow. */
function isOfLoopback(network: string): boolean {
  return network === 'localhost' || isLoopback(network.split('/', 1)[0] ?? '');
}

function isIn(host: string, networks: readonly string[]): boolean {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', length = isIP(address) === 6 ? '128' : '32'] = network.split('/');
    const kind = isIP(address);
    const bits = Number(length);
    if (kind === 0 || !/^\d{1,3}$/.test(length) || bits > (kind === 6 ? 128 : 32)) continue;
    list.addSubnet(address, bits, kind === 6 ? 'ipv6' : 'ipv4');
  }
  return list.check(host, isIP(host) === 6 ? 'ipv6' : 'ipv4');
}
