/**
 * Whether a command is done by a running daemon, and which one. The rule: what the command line or the config names is
 * never exchanged for something else. So the daemon is not asked with `--config`, `--archive` or `--no-daemon`, nor where
 * the config names another archive than the daemon's. Where no daemon runs, the command works by itself.
 */

import { access, constants } from 'node:fs/promises';
import { type Connection, connect } from '../client/connect.ts';
import { denied } from '../client/daemon-errors.ts';
import { localFiles } from '../client/local-files.ts';
import { runSession } from '../client/session.ts';
import { systemClock } from '../clock.ts';
import { type LoadedConfig, commandSocket, loadConfig } from '../config/loader.ts';
import { relayedCommand } from '../control/contract/relayed-commands.ts';
import { EspdError, systemCode } from '../errors.ts';
import { printable } from '../printable.ts';
import { VERSION } from '../version.ts';
import type { CommonOptions, Host } from './host.ts';

/**
 * @returns undefined = the command is to work by itself; else its exit status, with an error that is not printed yet
 * @throws EspdError where a daemon is there, cannot be used, and the command could not work without it either
 */
export async function throughDaemon(
  args: readonly string[],
  options: CommonOptions,
  host: Host,
): Promise<
  { readonly status: number; readonly error: EspdError | undefined; readonly hasOutput: boolean } | undefined
> {
  const { env, terminal, signal } = host;
  if (host.service !== undefined || options.daemon === false || isSet(env['ESPD_NO_DAEMON'])) return undefined;
  if (relayedCommand(args) === undefined) return undefined;
  const loaded = await loadConfig({ env });
  const path = commandSocket(loaded.config, env);
  if (path === null) return undefined;
  const found = await connect(path, { clock: systemClock, signal });
  const archivePath = loaded.config.archive.path;
  if (found.kind !== 'session') {
    if (found.kind === 'absent' || (await isUsable(archivePath))) return undefined;
    throw unusable(found, path);
  }
  if (isOtherArchive(loaded, found.archivePath) && !env['ESPD_SOCKET']) {
    found.socket.destroy();
    return undefined;
  }
  return runSession(found, args, { ...terminal, files: localFiles, env, cwd: process.cwd(), signal });
}

/** An archive that the config names is meant, and no other; one that it does not name is the daemon's. */
function isOtherArchive({ config, namesArchive }: LoadedConfig, ofDaemon: string | null): boolean {
  return namesArchive && ofDaemon !== config.archive.path;
}

/** Whether the command could work by itself: a missing archive is made, or missed, as without any daemon. */
async function isUsable(archivePath: string): Promise<boolean> {
  try {
    await access(archivePath, constants.R_OK | constants.X_OK);
    return true;
  } catch (error) {
    return systemCode(error) !== 'EACCES';
  }
}

function unusable(found: Exclude<Connection, { kind: 'session' }>, path: string): EspdError {
  if (found.kind === 'denied') return denied(path);
  const version = found.kind === 'other' ? found.version : null;
  const other = version === null ? 'is none that this espd can speak to' : `is of espd ${version}`;
  return new EspdError('daemon-protocol', `The daemon at ${printable(path)} ${other}; this is espd ${VERSION}`, {
    hint: 'After an update the daemon must be restarted: sudo systemctl restart espd',
  });
}

function isSet(value: string | undefined): boolean {
  return value !== undefined && !['', '0', 'false'].includes(value.toLowerCase());
}
