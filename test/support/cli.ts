/** Commands as a person or a script runs them, in this process: simulated boards on loopback, an archive of their own. */

import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { TestContext } from 'node:test';
import { openArchive } from '../../src/archive/archive.ts';
import { isBackupId } from '../../src/archive/ids.ts';
import { isTrashName } from '../../src/archive/owner.ts';
import { HALVES } from '../../src/archive/halves.ts';
import { RESTORES } from '../../src/archive/restores.ts';
import { SIGHTINGS } from '../../src/archive/sightings.ts';
import type { Archive } from '../../src/archive/types.ts';
import { runCommandLine } from '../../src/cli/program.ts';
import { systemClock } from '../../src/clock.ts';
import { ERROR_CODES, type ErrorCode } from '../../src/errors.ts';
import { silentLogger } from '../../src/log.ts';
import type { BoardOptions, SimulatedBoard } from '../../src/simulator/index.ts';
import { createBoard, demoImage } from '../../src/simulator/index.ts';
import { serveRfc2217 } from '../../src/simulator/serve/rfc2217.ts';
import type { ServedBoard } from '../../src/simulator/serve/served.ts';
import { serveTcp } from '../../src/simulator/serve/tcp.ts';

export const KIB = 1024;

export interface RunOptions {
  /** Both streams are a terminal, and whoever sits there answers so; a function is asked, and may never answer. */
  readonly tty?: boolean;
  readonly answer?: string | ((question: string) => Promise<string>);
  readonly columns?: number;
  readonly env?: NodeJS.ProcessEnv;
  readonly signal?: AbortSignal;
  /** Called after everything that is written. */
  readonly onOutput?: (soFar: { stdout: string; stderr: string }) => void;
}

export interface RunResult {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
  /** What stdout got that is no text. */
  readonly bytes: Buffer;
}

export interface BenchBoard {
  readonly board: SimulatedBoard;
  readonly served: ServedBoard;
  readonly address: string;
}

/** A temporary folder with config, archive and a watched folder of ports; everything ends with the test. */
export class Bench {
  readonly folder: string;
  readonly archivePath: string;
  readonly portsPath: string;
  readonly configPath: string;
  readonly #t: TestContext;

  private constructor(t: TestContext, folder: string) {
    this.#t = t;
    this.folder = folder;
    this.archivePath = join(folder, 'archive');
    this.portsPath = join(folder, 'ports');
    this.configPath = join(folder, 'config.yaml');
  }

  static async open(t: TestContext): Promise<Bench> {
    const folder = await mkdtemp(join(tmpdir(), 'espd-cli-'));
    t.after(() => rm(folder, { recursive: true, force: true }));
    const bench = new Bench(t, folder);
    await mkdir(bench.portsPath);
    await bench.configure({});
    return bench;
  }

  /** Writes the config; the ports of this machine stay untouched whatever it says. */
  async configure(sections: Record<string, object>): Promise<void> {
    const config = {
      ...sections,
      archive: { path: this.archivePath, ...sections['archive'] },
      // Nothing paces the line, and a link that would have to wait for a slow one before it changes the rate does not.
      serial: { baudRate: 115_200, ...sections['serial'] },
      watch: { folders: [this.portsPath], deny: [{ path: '/dev/*' }], ...sections['watch'] },
    };
    await writeFile(this.configPath, JSON.stringify(config));
  }

  get archive(): Archive {
    return openArchive(this.archivePath, {
      log: silentLogger,
      clock: systemClock,
      compression: 'none',
      createdBy: 'espd 0.0.0-test',
    });
  }

  /** A board with 512 KiB of flash and firmware in it, served without any pace of a line. */
  async addBoard(
    options: Partial<BoardOptions> & { family: BoardOptions['family'] },
    how: { as?: 'rfc2217' | 'socket'; linked?: boolean; name?: string; content?: Buffer } = {},
  ): Promise<BenchBoard> {
    const { as = 'rfc2217', linked = true } = how;
    const flashSizeBytes = options.flashSizeBytes ?? 512 * KIB;
    const content =
      how.content ?? demoImage({ family: options.family, sizeBytes: flashSizeBytes, appBytes: 100 * KIB });
    const board = createBoard({ content, flashSizeBytes, ...options });
    const served = await (as === 'rfc2217' ? serveRfc2217(board) : serveTcp(board));
    this.#t.after(async () => {
      await served.close();
      // A board without power ends what it does on its own, such as a flood.
      board.unplug();
    });
    if (linked) await symlink(served.address, join(this.portsPath, how.name ?? board.mac.replaceAll(':', '-')));
    return { board, served, address: served.address };
  }

  async run(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    const said = { stdout: '', stderr: '' };
    const raw: Uint8Array[] = [];
    const stream = (name: 'stdout' | 'stderr') => ({
      isTTY: options.tty ?? false,
      columns: options.columns ?? 80,
      write: (data: string | Uint8Array) => {
        if (typeof data === 'string') said[name] += data;
        else raw.push(Buffer.from(data));
        options.onOutput?.(said);
      },
    });
    const { answer } = options;
    const status = await runCommandLine(args, {
      env: { HOME: this.folder, ESPD_CONFIG: this.configPath, ESPD_NO_DAEMON: '1', ...options.env },
      terminal: {
        stdout: stream('stdout'),
        stderr: stream('stderr'),
        ...(answer === undefined
          ? {}
          : { ask: (question) => (typeof answer === 'string' ? Promise.resolve(answer) : answer(question)) }),
      },
      signal: options.signal ?? new AbortController().signal,
      onHangup: () => undefined,
    });
    return { status, ...said, bytes: Buffer.concat(raw) };
  }

  /** Runs with `--json`; stdout must be one JSON document, which the caller says the type of. */
  // eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters
  async runJson<T = ErrorJson>(args: readonly string[], options: RunOptions = {}): Promise<RunResult & { json: T }> {
    const result = await this.run([...args, '--json'], options);
    return { ...result, json: parseJson<T>(result.stdout) };
  }

  /**
   * The contract of a failure, asked twice: for people one clear sentence with its code (and a hint) on stderr, for
   * scripts one JSON document with the same; the exit status of docs/errors.md and `--help` both times.
   */
  async fails(
    args: readonly string[],
    code: ErrorCode,
    options: RunOptions & { hint?: boolean } = {},
  ): Promise<ErrorFields> {
    const people = await this.run(args, options);
    checkError(people, code);
    const script = await this.runJson(args, options);
    assert.equal(script.status, ERROR_CODES[code].exit, script.stdout);
    const { error } = script.json;
    assert.deepEqual(Object.keys(error).sort(), ['code', 'hint', 'message']);
    assert.equal(error.code, code, JSON.stringify(error));
    checkSentence(error.message);
    if (options.hint ?? true) assert.notEqual(error.hint, '', `no hint: ${error.message}`);
    return error;
  }
}

export interface ErrorFields {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

/** The document of a command that failed as a whole; its own fields stand beside it where it had a result. */
export interface ErrorJson {
  readonly error: ErrorFields;
}

export interface FailedJson extends ErrorFields {
  readonly port: string;
  readonly mac?: string;
}

/** `text`, which must be one JSON document of the type that the caller expects. */
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters
export function parseJson<T>(text: string): T {
  try {
    return JSON.parse(text) as T;
  } catch {
    assert.fail(`stdout is not one JSON document: ${JSON.stringify(text)}`);
  }
}

/** stderr ends with the error: `espd: SENTENCE (code)`, and a hint below it. */
export function checkError({ status, stderr }: Pick<RunResult, 'status' | 'stderr'>, code: ErrorCode): void {
  assert.equal(status, ERROR_CODES[code].exit, stderr);
  const screen = screenOf(stderr);
  assert.match(screen, /^espd: \S/m);
  assert.ok(screen.includes(`(${code})`), `not ${code}: ${screen}`);
}

/** What stands on a terminal after `text` was written: styles taken off, and each carriage return obeyed. */
export function screenOf(text: string): string {
  const lines = text.replace(/\x1b\[\d+m/g, '').split('\n');
  return lines
    .map((line) => {
      const cells: string[] = [];
      let at = 0;
      for (const character of line) {
        if (character === '\r') at = 0;
        else cells[at++] = character;
      }
      return cells.join('').trimEnd();
    })
    .join('\n');
}

/**
 * What the archive holds, the folders of all boards together: names of backups, and of everything else (drafts,
 * partials, foreign files) but trash, which a removal that was broken off leaves for the next backup (FORMAT.md).
 */
export async function archiveEntries(archivePath: string): Promise<{ ids: string[]; others: string[] }> {
  const boards = (await readdir(archivePath).catch(() => [])).filter((name) => name !== 'cache');
  const names = (await Promise.all(boards.map((board) => readdir(join(archivePath, board))))).flat();
  const others = names.filter(
    (name) => !isBackupId(name) && !isTrashName(name) && ![SIGHTINGS, RESTORES, HALVES.name].includes(name),
  );
  return { ids: names.filter(isBackupId), others };
}

/** Waits for what no event tells: polls until `condition` holds. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string,
  limitMs = 20_000,
): Promise<void> {
  const end = performance.now() + limitMs;
  while (!(await condition())) {
    assert.ok(performance.now() < end, `never: ${what}`);
    await delay(10);
  }
}

/** One clear sentence: no stack, no internals, nothing that is undefined, no full stop at its end. */
export function checkSentence(message: string): void {
  assert.match(message, /^\S[^]*[^.\s]$/, message);
  assert.doesNotMatch(message, /undefined|\[object|NaN|\n\s+at |Error:/, message);
  assert.ok(message.length < 400, message);
}

/** Fails where `text` holds anything that steers a terminal. */
export function assertPlain(text: string): void {
  const found = /[^\P{C}\n]/u.exec(text.replaceAll('\r\n', '\n'));
  assert.equal(found, null, `a control character in ${JSON.stringify(text)}`);
}
