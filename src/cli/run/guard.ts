/** The port while it is the command's: the daemon keeps off it; without a daemon a lock file says whose it is. */

import { realpath } from 'node:fs/promises';
import { ApiClient } from '../../client/api.ts';
import { leasePort } from '../../client/lease.ts';
import { systemClock } from '../../clock.ts';
import { type Config, commandSocket } from '../../config/loader.ts';
import { hasCode } from '../../errors.ts';
import { silentLogger } from '../../log.ts';
import { parseAddress } from '../../serial/address.ts';
import { SYSTEM_LOCK_PATHS, lockPort } from '../../serial/lock.ts';
import type { CommonOptions, Host } from '../host.ts';
import type { Output } from '../output.ts';
import type { RunCommandOptions } from './options.ts';

export interface PortGuard {
  /** `daemon`: it keeps off the port; `lock`: a lock file says so; `none`: nobody is kept off. */
  readonly by: 'daemon' | 'lock' | 'none';
  /** Never rejects. */
  release(): Promise<void>;
}

const NO_GUARD: PortGuard = { by: 'none', release: () => Promise.resolve() };

export interface GuardParts {
  readonly options: CommonOptions & RunCommandOptions;
  readonly config: Config;
  readonly host: Host;
  readonly out: Output;
}

/** @param by who has it, for people. @throws EspdError `port-busy`; others of a daemon that is there */
export async function guardPort(port: string, by: string, parts: GuardParts): Promise<PortGuard> {
  const { options, host, out } = parts;
  const client = clientOf(parts);
  if (client !== undefined) {
    const onLost = (why: string) => out.note(`The daemon does not keep off ${port} any more: ${why}`);
    try {
      const lease = await leasePort(client, { port, by, now: options.now === true, signal: host.signal, onLost });
      return { by: 'daemon', release: () => lease.release() };
    } catch (error) {
      // The steps have been done without it as well.
      if (!hasCode(error, 'daemon-absent', 'daemon-denied', 'daemon-protocol')) throw error;
    }
  }
  if (!options.lock || parseAddress(port).kind !== 'device') return NO_GUARD;
  const lock = await lockPort(await realpath(port).catch(() => port), SYSTEM_LOCK_PATHS, silentLogger);
  return { by: 'lock', release: () => lock.release() };
}

/** The daemon that is to keep off; undefined where the command line or the config says that none is asked. */
export function clientOf({
  options,
  config,
  host,
}: Pick<GuardParts, 'options' | 'config' | 'host'>): ApiClient | undefined {
  const isOff = options.daemon === false || !['', '0', 'false', undefined].includes(host.env['ESPD_NO_DAEMON']);
  const path = isOff ? null : commandSocket(config, host.env);
  return path === null ? undefined : new ApiClient(path, systemClock);
}
