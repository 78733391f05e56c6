/** `espd hold` and `espd release`: the daemon keeps off a port for a while, so that another program can have it. */

import type { CommonOptions, Host } from '../host.ts';
import type { Output } from '../output.ts';
import { daemonOf } from './find-daemon.ts';
import { portOf } from './target.ts';
import { clockOf } from './words.ts';

export interface HoldCommandOptions {
  /** In milliseconds; absent = until it is released. */
  readonly for?: number;
  readonly by?: string;
  readonly now: boolean;
}

/** @param target address of a port, or MAC or label of a board that the daemon has found at one */
export async function hold(
  options: CommonOptions,
  host: Host,
  out: Output,
  target: string,
  { for: forMs, by = 'espd hold', now }: HoldCommandOptions,
): Promise<undefined> {
  const client = await daemonOf(options, host);
  const port = await portOf(client, target, host.signal);
  // The daemon answers when its own job there has ended.
  const forSeconds = forMs === undefined ? null : forMs / 1000;
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
