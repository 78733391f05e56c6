/** What every command works with: config, archive, log, output and the signal that ends it. */

import { isAbsolute, join } from 'node:path';
import { openArchive } from '../archive/archive.ts';
import type { Archive } from '../archive/types.ts';
import type { PersonFiles } from '../client/files.ts';
import { localFiles } from '../client/local-files.ts';
import { type Clock, systemClock } from '../clock.ts';
import type { MarkMessage } from '../control/contract/session-messages.ts';
import { type Config, type LoadedConfig, loadConfig } from '../config/loader.ts';
import { RELOAD_TIME_LIMIT_MS } from '../config/parse.ts';
import { type ClosableLogger, createLogger } from '../config/logger.ts';
import { parseSize } from '../config/size.ts';
import { modeBits } from '../config/schema.ts';
import { type ResetMode, parseResetSequence } from '../esp/reset.ts';
import { parseAddress } from '../serial/address.ts';
import type { PortInfo } from '../serial/ports.ts';
import { listPorts } from '../serial/listing.ts';
import type { EspdCall } from '../transfer/finish-command.ts';
import { type LineMemories, lineMemories } from '../transfer/line-memory.ts';
import type { LinkOpener, Progress } from '../transfer/session.ts';
import type { PlugInOptions } from '../plugs/on-plug-in.ts';
import { type ReaderMemories, readerMemories } from '../transfer/reader-memory.ts';
import { VERSION } from '../version.ts';
import type { CommonOptions, Host } from './host.ts';
import type { Output } from './output.ts';
import { takenLinks } from './taken-port.ts';

export interface CommandContext {
  readonly config: Config;
  readonly loaded: LoadedConfig;
  /** Loads the config again, with the same options. */
  readonly reload: () => Promise<LoadedConfig>;
  readonly archive: Archive;
  /** What earlier sessions have learnt of ports: kept in the archive's cache. */
  readonly lines: LineMemories;
  /** On which chips a reader of ours has failed: kept there, too. */
  readonly readers: ReaderMemories;
  readonly clock: Clock;
  readonly log: ClosableLogger;
  readonly out: Output;
  readonly signal: AbortSignal;
  /** Of the process: where secrets come from. */
  readonly env: NodeJS.ProcessEnv;
  /** How espd was called, for commands that messages print. */
  readonly call: EspdCall;
  /** The person's files, outside of the archive. */
  readonly files: PersonFiles;
  /** How links are opened, where a daemon must be asked for the port first; undefined = without asking anybody. */
  readonly openLink: LinkOpener | undefined;
  /** An address that is relative to a folder of the person's, as a path that means the same here; names of remotes stay. */
  readonly addressOf: (address: string) => string;
  /** What a restore is about to do is told to whoever shows it elsewhere. */
  readonly onPlan: (plan: unknown) => void;
  readonly onProgress: (port: string, progress: Progress) => void;
  /** How much of what has to come from the object store has come. */
  readonly onFetch: (doneBytes: number, totalBytes: number) => void;
  /** What was noted of a board or a backup; a running daemon tells others, if the command goes through it. */
  readonly onMark: (mark: MarkMessage) => void;
  listPorts(): Promise<readonly PortInfo[]>;
}

/**
 * @param isService the daemon has nothing to say but its log, so that `--json` speaks of the log; commands say what they
 *   do on stdout, and their log shows warnings only, unless asked for more
 * @throws EspdError `config-invalid`, `config-unreadable`
 */
export async function openContext(
  options: CommonOptions,
  host: Host,
  out: Output,
  { command, isService }: { command: string; isService: boolean },
): Promise<CommandContext> {
  const { service } = host;
  const { config: path, archive: archivePath } = service?.options ?? options;
  const overrides = {
    ...(archivePath !== undefined && { archive: { path: archivePath } }),
    // Of a daemon that loads its config again, too.
    ...(options.logLevel !== undefined && { log: { level: options.logLevel } }),
  };
  const load = (timeLimitMs?: number) => loadConfig({ path, timeLimitMs, env: host.env, overrides });
  const loaded = await load();
  const { config } = loaded;
  const log = createLogger({
    level: options.logLevel ?? (isService ? config.log.level : 'warn'),
    format: !isService ? 'auto' : out.json ? 'json' : config.log.format,
    color: options.color !== false,
    env: host.env,
    stream: isService && out.json ? out.stdoutStream : out.stderrStream,
  });
  const archive = openArchive(config.archive.path, {
    log,
    clock: systemClock,
    directoryMode: modeBits(config.archive.directoryMode),
    fileMode: modeBits(config.archive.fileMode),
    compression: config.archive.compression,
    reflinks: config.archive.reflink === 'auto',
    minFreeBytes: config.archive.minFreeBytes === null ? null : parseSize(config.archive.minFreeBytes),
    createdBy: `espd ${VERSION}`,
    statePath: config.archive.statePath,
  });
  return {
    config,
    loaded,
    reload: () => load(RELOAD_TIME_LIMIT_MS),
    archive,
    lines: lineMemories(archive.cache, { clock: systemClock, log }),
    readers: readerMemories(archive.cache, { log }),
    clock: systemClock,
    log,
    out,
    signal: host.signal,
    env: host.env,
    call: service === undefined ? callOf(options, host, loaded, archive) : ['espd'],
    files: service?.files ?? localFiles,
    openLink: service === undefined ? undefined : takenLinks(service, { command, now: options.now === true }, out),
    addressOf: (address) => {
      const isRemote = config.watch.remotes.some(({ name }) => name === address);
      return service === undefined || isRemote ? address : absoluteAddress(address, service.cwd);
    },
    onPlan: (plan) => service?.onPlan(plan),
    onMark: (mark) => service?.onMark(mark),
    onFetch: (doneBytes, totalBytes) => service?.onProgress(null, { phase: 'fetching', doneBytes, totalBytes }),
    onProgress: (port, progress) => {
      out.progress(port, progress);
      service?.onProgress(port, progress);
    },
    listPorts: () => listPorts({ folders: config.watch.folders, remotes: () => config.watch.remotes, log }),
  };
}

/** A device path with its folder; addresses of the network, and absolute paths, as they are. */
function absoluteAddress(address: string, cwd: string): string {
  try {
    return parseAddress(address).kind === 'device' && !isAbsolute(address) ? join(cwd, address) : address;
  } catch {
    // Whoever opens it says what is wrong with it.
    return address;
  }
}

/** Paths are absolute, and what the environment of this process says is said: others may run the command. */
function callOf(options: CommonOptions, { env }: Host, { path }: LoadedConfig, { root }: Archive): EspdCall {
  const isConfigNamed = options.config !== undefined || Boolean(env['ESPD_CONFIG']);
  const isArchiveNamed = options.archive !== undefined || Boolean(env['STATE_DIRECTORY']);
  return [
    'espd',
    ...(isConfigNamed && path !== null ? ['--config', path] : []),
    ...(isArchiveNamed ? ['--archive', root] : []),
  ];
}

/** How the config wants boards to be put into download mode. */
export function resetModeOf(config: Config): ResetMode {
  return config.serial.resetSequence === null ? config.serial.reset : parseResetSequence(config.serial.resetSequence);
}

/** Tries while a person watches: some 15 s, in which a hand finds two buttons. */
const PERSON_ATTEMPTS = 15;

/** Session options of a command that works on the board at `name`. */
export function sessionOptions(context: CommandContext, name: string, isOnlyPort: boolean): PlugInOptions {
  const { config, out } = context;
  const usualAttempts = config.jobs.connectAttempts;
  // Somebody who waits at the terminal can lend a hand to a board without auto-reset; a script cannot.
  const hasHelp = isOnlyPort && out.isWatched;
  return {
    clock: context.clock,
    log: context.log.child({ port: name }),
    signal: context.signal,
    reset: resetModeOf(config),
    connectAttempts: hasHelp ? Math.max(usualAttempts, PERSON_ATTEMPTS) : usualAttempts,
    onAttempt: (attempt) => {
      if (attempt !== usualAttempts + 1) return;
      out.note(`${name}: no answer yet. A board without auto-reset: hold BOOT, press RESET, let go of BOOT`);
    },
    baudRate: config.serial.baudRate,
    lines: context.lines,
    reader: config.transfer.reader,
    readers: context.readers,
    call: context.call,
    openLink: context.openLink,
    onProgress: (progress) => context.onProgress(name, progress),
  };
}
