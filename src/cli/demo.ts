/**
 * `espd demo`: the real daemon and the real commands, each in a process of its own, on simulated boards. Every step's
 * result is checked against the boards' flash; the first that is wrong ends the demo with an error.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { SECTOR_BYTES } from '../flash.ts';
import { EspdError } from '../errors.ts';
import type { Host } from './host.ts';
import { type DemoBoard, DemoHub } from './demo-hub.ts';
import type { Output } from './output.ts';
import { bold, formatSize } from './text.ts';

/** Longest wait for one outcome of the daemon: a backup takes some seconds. */
const OUTCOME_TIMEOUT_MS = 30_000;
/** What the daemon logs when it has started. */
const READY = 'Watching for boards';

export async function demo(out: Output, host: Host): Promise<undefined> {
  const folder = await mkdtemp(join(tmpdir(), 'espd-demo-'));
  const hub = await DemoHub.open(folder);
  const run = new DemoRun(hub, out, host);
  try {
    await run.play();
  } finally {
    await run.end();
    await hub.close();
    await rm(folder, { recursive: true, force: true });
  }
  return undefined;
}

interface LogLine {
  readonly level: string;
  readonly message: string;
  readonly mac?: string;
  readonly id?: string;
  readonly code?: string;
  readonly flashBytesRead?: number;
  readonly wireBytes?: number;
  readonly seconds?: number;
}

class DemoRun {
  readonly #hub: DemoHub;
  readonly #out: Output;
  readonly #host: Host;
  readonly #steps: { step: string; detail: string }[] = [];
  readonly #listeners = new Set<(line: LogLine) => void>();
  #daemon: ChildProcess | undefined;
  /** Lines of the daemon that are no JSON: what it says when it crashes. */
  #strayLines: string[] = [];

  constructor(hub: DemoHub, out: Output, host: Host) {
    this.#hub = hub;
    this.#out = out;
    this.#host = host;
  }

  async play(): Promise<void> {
    const started = performance.now();
    const [esp8266, ...others] = this.#hub.boards as [DemoBoard, ...DemoBoard[]];
    await this.#startDaemon();
    for (const board of this.#hub.boards) await this.#firstBackup(board);
    await this.#changedBoard(esp8266);
    await this.#unchangedBoard(others[0] as DemoBoard);
    await this.#wipeAndRestore(esp8266);
    await this.#command(['list']);
    await this.#command(['verify']);
    await this.#stopDaemon();
    const seconds = Math.round((performance.now() - started) / 1000);
    this.#out.line();
    this.#out.line(bold(`All ${this.#steps.length} steps were checked and are right (${seconds} s).`));
    this.#out.document({ ok: true, steps: this.#steps, seconds });
  }

  async end(): Promise<void> {
    const daemon = this.#daemon;
    if (daemon === undefined || daemon.exitCode !== null || daemon.signalCode !== null) return;
    daemon.kill('SIGKILL');
    await once(daemon, 'exit');
  }

  async #firstBackup(board: DemoBoard): Promise<void> {
    this.#title(`Plug in a board that espd has never seen (${board.name})`);
    await this.#plugIn(board, 'Backed up and verified');
  }

  async #changedBoard(board: DemoBoard): Promise<void> {
    this.#title('It saves a setting (three sectors of its flash change), and is plugged in again');
    await this.#hub.unplug(board);
    const settings = Buffer.alloc(3 * SECTOR_BYTES, 'a new Wi-Fi password ');
    const offset = board.board.flash.sizeBytes - 16 * SECTOR_BYTES;
    board.board.flash.erase(offset, settings.length);
    board.board.flash.program(offset, settings);
    const { flashBytesRead = Infinity } = await this.#plugIn(board, 'Backed up and verified');
    check(flashBytesRead <= 16 * SECTOR_BYTES, `only the difference was read (${formatSize(flashBytesRead)})`);
  }

  async #unchangedBoard(board: DemoBoard): Promise<void> {
    this.#title('A board that did not change is plugged in again: some digests, and no second copy');
    await this.#hub.unplug(board);
    const { flashBytesRead } = await this.#plugIn(board, 'Unchanged since its last backup');
    check(flashBytesRead === 0, 'nothing was read');
  }

  async #wipeAndRestore({ board, mac }: DemoBoard): Promise<void> {
    this.#title('Somebody erases the whole flash of the first board');
    const before = board.flash.snapshot();
    board.flash.erase(0, board.flash.sizeBytes);
    board.powerCycle();
    // Nobody is to be asked in the middle of a demo, also at a terminal.
    await this.#command(['restore', '--mac', mac, '--yes']);
    check(board.flash.snapshot().equals(before), 'the flash is what it was, byte for byte');
    check(board.mode === 'app', 'its app runs again');
    this.#done('restored', `${mac}: flash equal byte for byte, app running`);
  }

  /** Plugs a board in, waits for the daemon's verdict, and checks archive and board. */
  async #plugIn(board: DemoBoard, expected: string): Promise<LogLine> {
    const outcome = this.#outcomeOf(board.mac);
    await this.#hub.plugIn(board);
    const line = await outcome;
    check(line.message === expected, `the daemon says "${expected}", not "${line.message}"`);
    const image = await this.#hub.readImage(board.mac, line.id ?? '');
    check(image.equals(board.board.flash.snapshot()), 'the archived image equals the flash, byte for byte');
    check(board.board.mode === 'app', 'the board runs its app again');
    const { flashBytesRead = 0, seconds = 0 } = line;
    this.#done(
      expected,
      `${board.mac}: ${formatSize(flashBytesRead)} of ${formatSize(image.length)} read, ${seconds} s`,
    );
    return line;
  }

  async #startDaemon(): Promise<void> {
    this.#title('The daemon starts, with an empty archive');
    const daemon = this.#spawn(['daemon'], ['ignore', 'ignore', 'pipe']);
    this.#daemon = daemon;
    if (daemon.stderr === null) throw failed('the daemon has no log');
    createInterface({ input: daemon.stderr }).on('line', (text) => this.#onLogLine(text));
    const ready = this.#waitFor((line) => line.message === READY || line.level === 'error', 'sign of the daemon');
    daemon.once('exit', (status) => this.#onDaemonExit(status));
    const { message } = await ready;
    check(message === READY, `the daemon starts: ${message} ${this.#strayLines.join(' / ')}`);
    this.#done('daemon', 'watching for boards');
  }

  async #stopDaemon(): Promise<void> {
    this.#title('The daemon is told to stop (SIGTERM)');
    const daemon = this.#daemon;
    if (daemon === undefined) return;
    const exited = once(daemon, 'exit') as Promise<[number | null]>;
    daemon.kill('SIGTERM');
    const [status] = await exited;
    check(status === 0, `the daemon ends with exit status 0, not ${String(status)}`);
    this.#done('daemon', 'stopped cleanly');
  }

  /** Runs a command as a person would, and shows what it prints. */
  async #command(args: readonly string[]): Promise<void> {
    this.#out.line();
    this.#out.line(bold(`$ espd ${args.join(' ')}`));
    const child = this.#spawn([...args, '--no-color'], ['ignore', 'pipe', 'pipe']);
    for (const stream of [child.stdout, child.stderr]) {
      if (stream !== null) createInterface({ input: stream }).on('line', (line) => this.#out.line(`  ${line}`));
    }
    const [status] = (await once(child, 'close')) as [number | null];
    check(status === 0, `espd ${args[0] ?? ''} ends with exit status 0, not ${String(status)}`);
    this.#done(`espd ${args.join(' ')}`, 'exit status 0');
  }

  /** This program once more, however it was started, with the demo's config. */
  #spawn(args: readonly string[], stdio: ('ignore' | 'pipe')[]): ChildProcess {
    const [, script = ''] = process.argv;
    return spawn(process.execPath, [...process.execArgv, script, ...args], {
      stdio,
      env: { ...this.#host.env, ESPD_CONFIG: this.#hub.configPath, ESPD_NO_DAEMON: '1' },
      signal: this.#host.signal,
      killSignal: 'SIGTERM',
    }).on('error', () => undefined);
  }

  /** The daemon's next verdict on a board, or whatever error it reports. */
  #outcomeOf(mac: string): Promise<LogLine> {
    return this.#waitFor(
      (line) => (line.mac === mac && line.id !== undefined && line.level === 'info') || line.level === 'error',
      `an outcome for ${mac}`,
    );
  }

  async #waitFor(wanted: (line: LogLine) => boolean, what: string): Promise<LogLine> {
    const found = new Promise<LogLine>((resolve) => {
      const listener = (line: LogLine) => {
        if (!wanted(line)) return;
        this.#listeners.delete(listener);
        resolve(line);
      };
      this.#listeners.add(listener);
    });
    const end = new AbortController();
    const signal = AbortSignal.any([end.signal, this.#host.signal]);
    const tooLate = delay(OUTCOME_TIMEOUT_MS, undefined, { signal, ref: true }).then(() => {
      throw failed(`no ${what} within ${OUTCOME_TIMEOUT_MS / 1000} s. ${this.#strayLines.join(' / ')}`);
    });
    try {
      return await Promise.race([found, tooLate]);
    } finally {
      end.abort();
      tooLate.catch(() => undefined);
    }
  }

  /** A daemon that ends by itself is an outcome for whoever waits for another. */
  #onDaemonExit(status: number | null): void {
    const line: LogLine = { level: 'error', message: `the daemon ended with exit status ${String(status)}` };
    for (const listener of [...this.#listeners]) listener(line);
  }

  #onLogLine(text: string): void {
    let line: LogLine;
    try {
      line = JSON.parse(text) as LogLine;
    } catch {
      this.#strayLines = [...this.#strayLines, text].slice(-10);
      return;
    }
    if (line.level === 'error' || line.level === 'warn') this.#out.note(`  espd: ${line.message} ${line.code ?? ''}`);
    for (const listener of [...this.#listeners]) listener(line);
  }

  #title(text: string): void {
    this.#out.line();
    this.#out.line(bold(text));
  }

  #done(step: string, detail: string): void {
    this.#steps.push({ step, detail });
    if (!step.startsWith('espd ')) this.#out.line(`  ok  ${detail}`);
  }
}

/** @throws EspdError `demo-failed` unless `condition` holds */
function check(condition: boolean, what: string): void {
  if (!condition) throw failed(`it is not so that ${what}`);
}

function failed(what: string): EspdError {
  return new EspdError('demo-failed', `The demo failed: ${what}`, {
    hint: 'This is a fault of espd: please report it',
  });
}
