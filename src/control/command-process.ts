/**
 * A process that does one command for somebody: `espd relay` of the same installation, spoken to over its stdio. What it
 * wants of the daemon (ports) is answered here; all else goes to whoever started it. It is ended so that boards are
 * released, and whatever happens it gives all ports back.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { Clock } from '../clock.ts';
import { EspdError, toEspdError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { printable } from '../printable.ts';
import {
  type FromCommand,
  type MarkMessage,
  MessageReader,
  type PortPurpose,
  type ProgressMessage,
  type Received,
  type ToCommand,
  encodeMessage,
  isMark,
} from './contract/session-messages.ts';
import { drained } from './drained.ts';

/** Who keeps ports free for commands: the daemon. */
export interface PortKeeper {
  /**
   * Resolves once the daemon's own job at the port has ended, and begins none until the port is released.
   *
   * @param address as the command opens it: a device path, or a network address
   * @param purpose which command, and whether the daemon's job is to be ended (cleanly: its board is released) instead of
   *   waited for
   * @param signal aborted = nobody wants the port any more
   * @param onWait called at most once, if a job must end first, with its name: `backup`
   * @throws EspdError why the port cannot be had; the signal's reason
   */
  take(address: string, purpose: PortPurpose, signal: AbortSignal, onWait: (job: string) => void): Promise<PortRelease>;
}

/**
 * Ends the keeping of a port; never throws.
 * @param how `closed`: the link was closed, the board released. `lost`: the process ended with the port open, and its
 *   board may be in download mode
 */
export type PortRelease = (how: 'closed' | 'lost') => void;

/** How the process is started. */
export interface RelayCommand {
  readonly file: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
}

/**
 * The hidden command of this installation, as this process was started itself.
 * @param service config file and archive folder of the daemon, absolute; null = the default ones
 */
export function relayCommand(
  service: { readonly configPath: string | null; readonly archivePath: string | null },
  env: NodeJS.ProcessEnv,
): RelayCommand {
  // dist/control/*.js beside dist/main.js; main.ts where TypeScript runs as it is.
  const main = fileURLToPath(
    new URL(`../main${import.meta.filename.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url),
  );
  const { configPath, archivePath } = service;
  return {
    file: process.execPath,
    args: [
      ...process.execArgv,
      main,
      'relay',
      ...(configPath === null ? [] : ['--config', configPath]),
      ...(archivePath === null ? [] : ['--archive', archivePath]),
    ],
    env: { ...withoutServiceManager(env), ESPD_NO_DAEMON: '1' },
  };
}

/** What systemd tells the service alone (systemd.exec(5), sd_notify(3)); a child that notified would speak for it. */
const FOR_THE_SERVICE = [
  'NOTIFY_SOCKET',
  'WATCHDOG_PID',
  'WATCHDOG_USEC',
  'JOURNAL_STREAM',
  'LISTEN_FDS',
  'LISTEN_PID',
];

function withoutServiceManager(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(env).filter(([name]) => ![...FOR_THE_SERVICE, 'ESPD_SOCKET', 'ESPD_CONFIG'].includes(name)),
  );
}

export interface CommandProcessOptions {
  readonly command: RelayCommand;
  readonly ports: PortKeeper;
  readonly clock: Clock;
  readonly log: Logger;
  /** Gets what is for neither daemon nor port, in order; the process is not read on before it resolves. */
  readonly onMessage: (received: Received<FromCommand>) => Promise<void>;
  readonly onProgress?: (progress: ProgressMessage) => void;
  /** What the command has noted of a board or a backup. */
  readonly onMark?: ((mark: MarkMessage) => void) | undefined;
}

/** How it ended. */
export interface CommandEnd {
  /** Undefined: it has not said that it is done. */
  readonly status: number | undefined;
  readonly error: EspdError | undefined;
}

/** A command that is interrupted ends itself within 4.9 s (main.ts); before that it may be deaf, so it gets SIGTERM as well. */
const TERMINATE_AFTER_MS = 1000;
const KILL_AFTER_MS = 6000;
/** Between the last message and the exit there is nothing to do but to write it. */
const EXIT_LIMIT_MS = 6000;
/** Lines of stderr that go to the log; a process that floods it is not worth more. */
const MOST_LOG_LINES = 100;

export class CommandProcess {
  /** Never rejects; all ports have been released by then. */
  readonly ended: Promise<CommandEnd>;
  readonly #options: CommandProcessOptions;
  readonly #child: ChildProcess;
  readonly #stdin: Writable;
  readonly #ports = new Map<number, { readonly abort: AbortController; release?: PortRelease }>();
  readonly #timers = new Set<() => void>();
  #status: number | undefined;
  #isInterrupted = false;
  #hasExited = false;

  /** Starts the process; a failure to do so is how it ends. */
  constructor(options: CommandProcessOptions) {
    this.#options = options;
    const { file, args, env } = options.command;
    // A group of its own: a Ctrl-C at the terminal of a daemon in the foreground is for the daemon, which ends it in order.
    this.#child = spawn(file, args, { stdio: 'pipe', env, detached: true });
    const { stdin, stdout, stderr } = this.#child as { stdin: Writable; stdout: Readable; stderr: Readable };
    this.#stdin = stdin;
    // EPIPE: it has ended, which is told otherwise.
    stdin.on('error', () => undefined);
    this.#logLines(stderr);
    this.ended = this.#run(stdout);
  }

  /** Waits while the process does not read. */
  async send(message: ToCommand | Buffer): Promise<void> {
    if (!this.#stdin.writable) return;
    this.#stdin.write(Buffer.isBuffer(message) ? message : encodeMessage(message));
    await drained(this.#stdin);
  }

  /** Ends the command as Ctrl-C does, and the process if it does not end by that. May be called again. */
  interrupt(): void {
    if (this.#isInterrupted || this.#hasExited) return;
    this.#isInterrupted = true;
    void this.send({ type: 'signal' });
    this.#stdin.end();
    this.#after(TERMINATE_AFTER_MS, () => this.#child.kill('SIGTERM'));
    this.#after(KILL_AFTER_MS, () => this.#child.kill('SIGKILL'));
  }

  async #run(stdout: Readable): Promise<CommandEnd> {
    const exited = exitOf(this.#child);
    let error: EspdError | undefined;
    try {
      const reader = MessageReader.fromCommand();
      for await (const chunk of stdout as AsyncIterable<Buffer>) {
        for (const received of reader.push(chunk)) await this.#take(received);
      }
    } catch (fault) {
      error = toEspdError(fault);
      this.#options.log.error('A command process was ended', { reason: error.message });
      this.interrupt();
      stdout.resume();
    }
    this.#after(EXIT_LIMIT_MS, () => this.#child.kill('SIGKILL'));
    const how = await exited;
    this.#hasExited = true;
    for (const cancel of this.#timers) cancel();
    for (const { abort, release } of this.#ports.values()) {
      abort.abort(new EspdError('interrupted', 'The command has ended'));
      release?.('lost');
    }
    this.#ports.clear();
    if (this.#status !== undefined) return { status: this.#status, error: undefined };
    return { status: undefined, error: error ?? goneError(how) };
  }

  async #take(received: Received<FromCommand>): Promise<void> {
    const { message } = received;
    switch (message.type) {
      case 'port':
        void this.#takePort(message.id, message.address, message.purpose);
        return;
      case 'port-release':
        this.#releasePort(message.id);
        return;
      case 'progress':
        this.#options.onProgress?.(message);
        return;
      case 'end':
        this.#status = message.status;
        this.#stdin.end();
        return;
      default:
        if (isMark(message)) this.#options.onMark?.(message);
        else await this.#options.onMessage(received);
    }
  }

  async #takePort(id: number, address: string, purpose: PortPurpose): Promise<void> {
    const { ports } = this.#options;
    const taken: { abort: AbortController; release?: PortRelease } = { abort: new AbortController() };
    this.#ports.set(id, taken);
    try {
      const release = await ports.take(address, purpose, taken.abort.signal, (job) => {
        void this.send({ type: 'port-wait', id, job });
      });
      // The process has given it up, or has ended, in the meantime.
      if (this.#ports.get(id) !== taken) {
        release('closed');
        return;
      }
      taken.release = release;
      await this.send({ type: 'port-reply', id });
    } catch (error) {
      if (this.#ports.get(id) !== taken) return;
      this.#ports.delete(id);
      await this.send({ type: 'port-reply', id, error: toEspdError(error).toJSON() });
    }
  }

  #releasePort(id: number): void {
    const taken = this.#ports.get(id);
    this.#ports.delete(id);
    taken?.abort.abort(new EspdError('interrupted', 'The port is not wanted any more'));
    taken?.release?.('closed');
  }

  #logLines(stderr: Readable): void {
    let lines = 0;
    createInterface({ input: stderr, crlfDelay: Infinity }).on('line', (line) => {
      if (++lines <= MOST_LOG_LINES) this.#options.log.warn('A command process says', { text: printable(line) });
    });
  }

  #after(delayMs: number, work: () => void): void {
    this.#timers.add(this.#options.clock.schedule(delayMs, work));
  }
}

type Exit = { readonly status: number | null; readonly signal: NodeJS.Signals | null } | { readonly failure: Error };

function exitOf(child: ChildProcess): Promise<Exit> {
  return new Promise((resolve) => {
    child.once('error', (failure) => resolve({ failure }));
    child.once('exit', (status, signal) => resolve({ status, signal }));
  });
}

function goneError(how: Exit): EspdError {
  if ('failure' in how) {
    return new EspdError('daemon-gone', `The daemon cannot start a process for the command: ${how.failure.message}`, {
      hint: 'See its log: journalctl -u espd',
      cause: how.failure,
    });
  }
  const by = how.signal === null ? `with status ${how.status ?? 0}` : `by ${how.signal}`;
  return new EspdError('daemon-gone', `The process in which the daemon did the command was ended ${by}`, {
    hint: 'See the log: journalctl -u espd. If a board was at work, press its RESET button, then run the command again',
  });
}
