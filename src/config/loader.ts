/** Finds the config file, reads it, and settles what depends on the machine: the archive's folder, relative paths. */

import { open } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { EspdError, systemCode } from '../errors.ts';
import { CONFIG_SIZE_LIMIT_BYTES, parseConfig } from './parse.ts';
import { issueProblems } from './problems.ts';
import { type ConfigFile, type ConfigInput, configSchema } from './schema.ts';

export const SYSTEM_CONFIG_PATH = '/etc/espd/config.yaml';
export const SYSTEM_ARCHIVE_PATH = '/var/lib/espd';

/** The config in force: paths are absolute, a schedule that is off is null. */
export interface Config extends Omit<ConfigFile, 'archive'> {
  readonly archive: ConfigFile['archive'] & { readonly path: string; readonly statePath: string };
}

export interface LoadedConfig {
  readonly config: Config;
  /** The file that was read; null when none was found and the defaults are in force. */
  readonly path: string | null;
  /** The archive's folder was named, by the file or by an override; else it is the default one. */
  readonly namesArchive: boolean;
  /** The same of the state's folder. */
  readonly namesState: boolean;
}

export interface LoadOptions {
  /** The file of `--config`; it must exist. */
  readonly path?: string | undefined;
  /** `ESPD_CONFIG`, `XDG_CONFIG_HOME`, `XDG_DATA_HOME`, `XDG_STATE_HOME`, `STATE_DIRECTORY` and `HOME` are looked at. */
  readonly env: NodeJS.ProcessEnv;
  /** What the command line says; stronger than the file. Its relative paths are relative to `cwd`. */
  readonly overrides?: ConfigInput | undefined;
  /** Effective user id; default: that of the process. */
  readonly uid?: number | undefined;
  /** Default: that of the process. */
  readonly cwd?: string | undefined;
  readonly systemConfigPath?: string | undefined;
  /** How long reading the file may take; default: as {@link parseConfig} has it. */
  readonly timeLimitMs?: number | undefined;
}

/**
 * The first of: `--config`, `$ESPD_CONFIG`, `$XDG_CONFIG_HOME/espd/config.yaml` (or `~/.config/...`),
 * `/etc/espd/config.yaml`, else the defaults. Files are not merged.
 *
 * `archive.path: null` becomes systemd's `$STATE_DIRECTORY`; `/var/lib/espd` for root and for whoever uses the
 * system's config file (so that the service and people speak of one archive); else `$XDG_DATA_HOME/espd` or
 * `~/.local/share/espd`. `archive.statePath: null` becomes `$STATE_DIRECTORY`; `/var/lib/espd`, which that is for the
 * service, for whoever uses the system's config file or that archive, so that one installation has one state, whoever
 * asks; else `$XDG_STATE_HOME/espd` or `~/.local/state/espd`.
 * @throws EspdError `config-unreadable`: a file named by `--config` or `$ESPD_CONFIG` is missing, or any file of the
 * search is there and cannot be read; `config-invalid`: see {@link parseConfig}; `usage`: an override is wrong
 */
export async function loadConfig(options: LoadOptions): Promise<LoadedConfig> {
  const { env } = options;
  const home = env['HOME'] !== undefined && isAbsolute(env['HOME']) ? env['HOME'] : homedir();
  const cwd = options.cwd ?? process.cwd();
  const systemConfigPath = options.systemConfigPath ?? SYSTEM_CONFIG_PATH;
  const absolute = (path: string, folder: string) =>
    path.startsWith('~/') ? join(home, path.slice(2)) : resolve(folder, path);

  const named = options.path ?? (env['ESPD_CONFIG'] || undefined);
  const candidates =
    named === undefined
      ? [join(xdgFolder(env['XDG_CONFIG_HOME']) ?? join(home, '.config'), 'espd', 'config.yaml'), systemConfigPath]
      : [absolute(named, cwd)];
  const source = await firstReadable(candidates, named !== undefined);

  const folder = source === null ? cwd : dirname(source.path);
  const file = source === null ? configSchema.parse({}) : parseConfig(source.bytes, source.path, options.timeLimitMs);
  const { overrides = {} } = options;
  const { archive, watch, schedule, api, ...others } = overridden(
    {
      ...file,
      archive: {
        ...file.archive,
        path: file.archive.path === null ? null : absolute(file.archive.path, folder),
        statePath: file.archive.statePath === null ? null : absolute(file.archive.statePath, folder),
      },
      watch: { ...file.watch, folders: file.watch.folders.map((path) => absolute(path, folder)) },
      api: { ...file.api, socket: socketPath(file.api.socket, (path) => absolute(path, folder)) },
    },
    overrides,
  );

  const isSystemConfig = source?.path === resolve(systemConfigPath);
  const isSystemWide = (options.uid ?? process.getuid?.()) === 0 || isSystemConfig;
  const defaultArchivePath =
    env['STATE_DIRECTORY']?.split(':')[0] ||
    (isSystemWide
      ? SYSTEM_ARCHIVE_PATH
      : join(xdgFolder(env['XDG_DATA_HOME']) ?? join(home, '.local', 'share'), 'espd'));
  const archivePath = archive.path === null ? defaultArchivePath : absolute(archive.path, cwd);
  // Root's own archive beside that of the service is another installation, with a state of its own.
  const isOfService = isSystemConfig || archivePath === SYSTEM_ARCHIVE_PATH;
  const defaultStatePath =
    env['STATE_DIRECTORY']?.split(':')[0] ||
    (isOfService
      ? SYSTEM_ARCHIVE_PATH
      : join(xdgFolder(env['XDG_STATE_HOME']) ?? join(home, '.local', 'state'), 'espd'));
  const statePath = archive.statePath === null ? defaultStatePath : absolute(archive.statePath, cwd);
  return {
    path: source?.path ?? null,
    namesArchive: archive.path !== null,
    namesState: archive.statePath !== null,
    config: {
      ...others,
      archive: {
        ...archive,
        path: archivePath,
        statePath,
      },
      watch: { ...watch, folders: watch.folders.map((path) => absolute(path, cwd)) },
      api: {
        ...api,
        socket: socketPath(api.socket, (path) => absolute(path, cwd)),
      },
      schedule: { ...schedule, verify: unlessOff(schedule.verify), prune: unlessOff(schedule.prune) },
    },
  };
}

function unlessOff(expression: string | null): string | null {
  return expression === 'off' ? null : expression;
}

function socketPath(socket: string | null, absolute: (path: string) => string): string | null {
  return socket === null || socket === AUTO_SOCKET ? socket : absolute(socket);
}

/** `api.socket` where the machine decides. */
const AUTO_SOCKET = 'auto';
/** Where the service has its socket: RuntimeDirectory=espd of systemd/espd.service. */
export const SYSTEM_SOCKET_PATH = '/run/espd/espd.sock';

/** Where a daemon with this config listens; null = nowhere. */
export function daemonSocket({ api }: Config, env: NodeJS.ProcessEnv): string | null {
  if (api.socket !== AUTO_SOCKET) return api.socket;
  const runtime = env['RUNTIME_DIRECTORY']?.split(':')[0];
  return runtime ? join(runtime, 'espd.sock') : null;
}

/** Where a command with this config looks for a daemon; null = nowhere. `$ESPD_SOCKET` is stronger than the config. */
export function commandSocket({ api }: Config, env: NodeJS.ProcessEnv): string | null {
  if (env['ESPD_SOCKET']) return env['ESPD_SOCKET'];
  return api.socket === AUTO_SOCKET ? SYSTEM_SOCKET_PATH : api.socket;
}

/** The XDG base directory specification has relative paths ignored. */
function xdgFolder(path: string | undefined): string | undefined {
  return path !== undefined && isAbsolute(path) ? path : undefined;
}

/** `config` with the keys of `overrides` in place of its own. */
function overridden(config: ConfigFile, overrides: ConfigInput): ConfigFile {
  const merged: Record<string, unknown> = { ...config };
  for (const [section, keys] of Object.entries(overrides)) {
    merged[section] = { ...(merged[section] as object | undefined), ...(keys as object | undefined) };
  }
  const result = configSchema.safeParse(merged);
  if (result.success) return result.data;
  const [problem] = result.error.issues.flatMap((issue) => issueProblems(issue, merged));
  throw new EspdError('usage', problem?.text ?? result.error.message, { hint: 'See espd --help' });
}

async function firstReadable(
  paths: readonly string[],
  mustExist: boolean,
): Promise<{ path: string; bytes: Buffer } | null> {
  for (const path of paths) {
    try {
      return { path, bytes: await readBounded(path) };
    } catch (error) {
      const code = systemCode(error);
      const isMissing = code === 'ENOENT' || code === 'ENOTDIR';
      if (isMissing && !mustExist) continue;
      throw new EspdError('config-unreadable', `The config file ${path} ${unreadable(code)}`, {
        cause: error,
        hint: isMissing
          ? 'Name another file with --config, or begin with a copy of config.example.yaml'
          : `Look at it with: ls -l ${path}`,
      });
    }
  }
  return null;
}

function unreadable(code: string | undefined): string {
  if (code === 'ENOENT' || code === 'ENOTDIR') return 'does not exist';
  if (code === 'EACCES' || code === 'EPERM') return 'may not be read by this user';
  if (code === 'EISDIR') return 'is a folder';
  return `cannot be read (${code ?? 'unknown fault'})`;
}

/** The bytes of a file or pipe, at most one more than the limit: enough to see that it is too large. */
async function readBounded(path: string): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    const buffer = Buffer.alloc(CONFIG_SIZE_LIMIT_BYTES + 1);
    let length = 0;
    while (length < buffer.length) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    return buffer.subarray(0, length);
  } finally {
    await file.close();
  }
}
