/** `espd hold` and `espd release`: the daemon keeps off a port for a while, so that another program can have it. */

import type { ApiClient } from '../../client/api.ts';
import { EspdError } from '../../errors.ts';
import { parseMac } from '../../mac.ts';
import type { CommonOptions, Host } from '../host.ts';
import type { Output } from '../output.ts';
import { daemonOf } from './find-daemon.ts';
import { clockOf } from './words.ts';

export interface HoldCommandOptions {
  /** In seconds; absent = until it is released. */
  readonly for?: number;
  readonly by?: string;
  readonly now: boolean;
}

/** @param target address of a port, or the MAC of a board that the daemon has found at one */
export async function hold(
  options: CommonOptions,
  host: Host,
  out: Output,
  target: string,
  { for: forSeconds = null, by = 'espd hold', now }: Omit<HoldCommandOptions, 'for'> & { readonly for?: number | null },
): Promise<undefined> {
  const client = await daemonOf(options, host);
  const port = await portOf(client, target, host.signal);
  // The daemon answers when its own job there has ended.
  const question = { method: 'PUT', body: { by, forSeconds, now }, isSlow: true, signal: host.signal } as const;
  const held = await client.ask(pathOf(port), question);
  out.document(held);
  const { until } = (held ?? {}) as { readonly until?: unknown };
  const end = typeof until === 'string' ? `until ${clockOf(until)}` : `until "espd release ${port}"`;
  out.line(`${port} is yours ${end}`);
  return undefined;
}

export async function release(options: CommonOptions, host: Host, out: Output, target: string): Promise<undefined> {
  const client = await daemonOf(options, host);
  const port = await portOf(client, target, host.signal);
  await client.ask(pathOf(port), { method: 'DELETE', signal: host.signal });
  out.document({ port, released: true });
  out.line(`${port} is the daemon's again`);
  return undefined;
}

function pathOf(port: string): string {
  return `/v1/ports/${encodeURIComponent(port)}/hold`;
}

async function portOf(client: ApiClient, target: string, signal: AbortSignal): Promise<string> {
  const mac = parseMac(target);
  if (mac === undefined) return target;
  const ports = (await client.status(signal)).ports.filter((view) => view.mac === mac);
  const [found, second] = ports;
  if (found === undefined) {
    throw new EspdError('board-not-found', `The daemon has found ${mac} at no port`, {
      hint: '"espd status" shows the ports: name one of them',
    });
  }
  if (second !== undefined) {
    throw new EspdError('board-ambiguous', `${mac} is at ${found.port} and at ${second.port}`, {
      hint: 'Name the port',
    });
  }
  return found.port;
}
