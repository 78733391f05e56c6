/** espd as real processes: what they print and log, line by line, and how they end. */

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import type { TestContext } from 'node:test';
import { ReadStream } from 'node:tty';
import { fileURLToPath } from 'node:url';
import { loadPtySystem } from '../../src/simulator/serve/pty-native.ts';
import { isPartialName } from '../../src/archive/owner.ts';
import { type Bench, archiveEntries } from '../support/cli.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** Not tsx alone: threads are to run TypeScript as well. */
const COMMAND = ['--import', './scripts/tsx.mjs', 'src/main.ts'];

/** How long anything that must happen may take on a machine that has other things to do. */
const PATIENCE_MS = 60_000;

export interface LogLine {
  readonly level: string;
  readonly message: string;
  readonly mac?: string;
  readonly id?: string;
  readonly code?: string;
  readonly port?: string;
  readonly reason?: string;
  readonly problem?: string;
}

export interface ProcessOptions {
  /** What runs espd: a program and its arguments, to which the command line is added. */
  readonly within?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** Permission bits bind root as well: without the capabilities that pass over them (capabilities(7)). */
  readonly isBoundByPermissions?: boolean;
}

/** Of util-linux, which every Debian has. Another user would not do: the project's folder may be closed to all but root. */
const SETPRIV = (() => {
  const without = '-dac_override,-dac_read_search';
  return ['setpriv', `--bounding-set=${without}`, `--inh-caps=${without}`, '--'];
})();

/** A running espd with its output; killed when the test ends, should it still be there. */
export class EspdProcess {
  readonly child: ChildProcess;
  stdout = '';
  stderr = '';
  readonly #lines: LogLine[] = [];
  #seen = 0;
  #wake: () => void = () => undefined;
  readonly #exited: Promise<{ status: number | null; signal: NodeJS.Signals | null }>;
  #hasExited = false;

  constructor(t: TestContext, bench: Bench, args: readonly string[], options: ProcessOptions = {}) {
    const isBound = options.isBoundByPermissions === true && process.getuid?.() === 0;
    const before = [...(options.within ?? []), ...(isBound ? SETPRIV : [])];
    const [command = '', ...rest] = [...before, process.execPath, ...COMMAND, ...args];
    this.child = spawn(command, rest, {
      cwd: ROOT,
      // Without the terminal at which somebody may run the tests: nobody can be asked there.
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: environment(bench, options.env),
    });
    this.#exited = ended(this.child);
    void this.#exited.then(() => {
      this.#hasExited = true;
      this.#wake();
    });
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.stdout += text));
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.stderr += text));
    createInterface({ input: this.child.stderr as Readable }).on('line', (line) => this.#onLine(line));
    t.after(() => endNow(this.child, this.#exited));
  }

  /** The next log line (JSON format) that is wanted; each line is looked at once, in order. */
  async line(wanted: (line: LogLine) => boolean, what: string): Promise<LogLine> {
    const end = performance.now() + PATIENCE_MS;
    for (;;) {
      while (this.#seen < this.#lines.length) {
        const line = this.#lines[this.#seen++];
        if (line !== undefined && wanted(line)) return line;
      }
      assert.ok(!this.#hasExited, `espd has ended before ${what}:\n${this.stderr}`);
      assert.ok(performance.now() < end, `no ${what} in time:\n${this.stderr}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 1000);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  message(text: string): Promise<LogLine> {
    return this.line(({ message }) => message === text, `"${text}"`);
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Exit status, once all output is here; 128 + signal is not made up: a signal that ended it fails the test. */
  async status(): Promise<number> {
    const { status, signal } = await this.#exited;
    assert.equal(signal, null, `ended by ${String(signal)}:\n${this.stderr}`);
    return status ?? -1;
  }

  async exited(): Promise<void> {
    await this.#exited;
  }

  #onLine(text: string): void {
    try {
      this.#lines.push(JSON.parse(text) as LogLine);
    } catch {
      return; // What people read, or a warning of Node's.
    }
    this.#wake();
  }
}

/** A daemon that has started and watches. */
export async function startDaemon(t: TestContext, bench: Bench, options: ProcessOptions = {}): Promise<EspdProcess> {
  const daemon = new EspdProcess(t, bench, ['daemon'], options);
  await daemon.message('Watching for boards');
  return daemon;
}

export interface TerminalOptions {
  /** Where the streams go that are not the terminal; what is piped into stdin. */
  readonly redirect?: { readonly stdin?: string; readonly stdout?: true; readonly stderr?: true };
  /** The terminal is somebody else's in the foreground, as after `espd ... &`. */
  readonly background?: boolean;
  readonly env?: NodeJS.ProcessEnv;
}

/** A shell that makes $TERMINAL its controlling terminal, as a session leader without one does by opening it. */
const LOGIN = 'exec 3<>"$TERMINAL"';

/** espd in a session whose controlling terminal is a new one: what is written there, and keys to press. */
export class EspdOnTerminal {
  screen = '';
  /** What went to streams that were redirected. */
  readonly redirected = { stdout: '', stderr: '' };
  readonly #child: ChildProcess;
  readonly #exited: Promise<{ status: number | null; signal: NodeJS.Signals | null }>;
  readonly #masterFd: number;

  private constructor(
    t: TestContext,
    bench: Bench,
    args: readonly string[],
    {
      masterFd,
      reader,
      slaveFd,
      slavePath,
    }: { masterFd: number; reader: ReadStream; slaveFd: number; slavePath: string },
    { redirect = {}, background = false, env = {} }: TerminalOptions,
  ) {
    this.#masterFd = masterFd;
    reader.setEncoding('utf8').on('data', (text: string) => (this.screen += text));
    reader.on('error', () => undefined); // EIO when the last program has left
    const { stdin, stdout, stderr } = redirect;
    const script = `${LOGIN}; ${background ? 'set -m; "$@" & wait $!' : 'exec "$@"'}`;
    this.#child = spawn('sh', ['-c', script, 'sh', process.execPath, ...COMMAND, ...args], {
      cwd: ROOT,
      // A session of its own, without a terminal until it opens one.
      detached: true,
      stdio: [stdin === undefined ? slaveFd : 'pipe', stdout ? 'pipe' : slaveFd, stderr ? 'pipe' : slaveFd],
      env: environment(bench, { TERM: 'xterm', TERMINAL: slavePath, ...env }),
    });
    this.#child.stdin?.end(stdin);
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.redirected.stdout += text));
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.redirected.stderr += text));
    this.#exited = ended(this.#child);
    t.after(async () => {
      await endNow(this.#child, this.#exited);
      reader.destroy();
      // Open until now: without any slave, reads of the master fail before the shell has opened it.
      closeSync(slaveFd);
      closeSync(masterFd);
    });
  }

  static async start(
    t: TestContext,
    bench: Bench,
    args: readonly string[],
    options: TerminalOptions = {},
  ): Promise<EspdOnTerminal> {
    const system = await loadPtySystem();
    const { masterFd, slavePath } = system.open();
    const slaveFd = openSync(slavePath, constants.O_RDWR | constants.O_NOCTTY);
    const reader = new ReadStream(system.duplicate(masterFd));
    return new EspdOnTerminal(t, bench, args, { masterFd, reader, slaveFd, slavePath }, options);
  }

  get hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  press(keys: string): void {
    writeSync(this.#masterFd, keys);
  }

  async status(): Promise<number | null> {
    return (await this.#exited).status;
  }
}

/** No backup, no draft: nothing but what an interrupted backup leaves for the next one of its board, once. */
export async function assertOnlyPartial(bench: Bench): Promise<void> {
  const { ids, others } = await archiveEntries(bench.archivePath);
  assert.deepEqual(ids, []);
  assert.equal(others.length, 1, others.join());
  assert.ok(others.every(isPartialName), others.join());
}

function environment(bench: Bench, more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const { PATH, TMPDIR } = process.env;
  return {
    PATH,
    TMPDIR,
    HOME: bench.folder,
    ESPD_CONFIG: bench.configPath,
    NODE_NO_WARNINGS: '1',
    ESPD_NO_DAEMON: '1',
    ...more,
  };
}

async function ended(child: ChildProcess): Promise<{ status: number | null; signal: NodeJS.Signals | null }> {
  const [status, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  return { status, signal };
}

async function endNow(child: ChildProcess, exited: Promise<unknown>): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
  await exited;
}
