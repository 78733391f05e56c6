/**
 * The person at the controlling terminal, who can be asked whatever stdin, stdout and stderr are redirected to: by
 * /dev/tty, as ssh and sudo do it. Who cannot be asked (cron, CI, a service, a job in the background) is told apart
 * before a command begins.
 */

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { ReadStream, WriteStream } from 'node:tty';
import { EspdError } from '../errors.ts';

/** The controlling terminal of whatever process opens it; `ENXIO` for one that has none (tty(4)). */
const CONTROLLING_TERMINAL = '/dev/tty';

export interface AskOptions {
  readonly env: NodeJS.ProcessEnv;
  /** Aborted = nobody waits for the answer any more. */
  readonly signal: AbortSignal;
  /** While a line is edited the terminal is raw, and Ctrl-C is a key and no signal. */
  readonly onInterrupt: () => void;
}

/** Asks one question, and resolves to the line that is typed; the end of the input (Ctrl-D) is an empty answer. */
export type Ask = (question: string, how?: AskHow) => Promise<string>;

export interface AskHow {
  /** A secret: what is typed is not shown. */
  readonly hidden?: boolean;
}

/** How this process asks; undefined where nobody is there to answer. */
export function findAsk(options: AskOptions): Ask | undefined {
  // A runner may give its jobs a terminal at which nobody sits.
  if (isSet(options.env['CI'])) return undefined;
  // Windows has no /dev/tty: there only streams that are not redirected are a person's.
  if (process.platform === 'win32') {
    if (!process.stdin.isTTY || !process.stderr.isTTY) return undefined;
    return (question, how) => readAnswer(process.stdin, process.stderr, question, { ...options, ...how });
  }
  if (!canBeAsked()) return undefined;
  return async (question, how) => {
    if (!canBeAsked()) {
      throw new EspdError('declined', 'espd runs in the background, where nobody can answer. Nothing was written', {
        hint: 'Run it in the foreground, or add --yes',
      });
    }
    // One descriptor each: both streams close their own.
    const input = new ReadStream(openTerminal());
    const output = new WriteStream(openTerminal());
    try {
      return await readAnswer(input, output, question, { ...options, ...how });
    } finally {
      input.destroy();
      output.destroy();
    }
  };
}

async function readAnswer(
  input: NodeJS.ReadStream,
  output: NodeJS.WriteStream,
  question: string,
  { signal, onInterrupt, hidden = false }: AskOptions & AskHow,
): Promise<string> {
  const reader = createInterface({ input, output: hidden ? nowhere() : output, terminal: true });
  reader.on('SIGINT', onInterrupt);
  const ended = new Promise<string>((resolve) => {
    reader.once('close', () => resolve(''));
    // EIO: the terminal is gone.
    for (const stream of [input, output]) stream.once('error', () => resolve(''));
  });
  try {
    // What stands above the question is no prompt: that is drawn again with every key.
    const last = question.lastIndexOf('\n') + 1;
    output.write(hidden ? question : question.slice(0, last));
    return await Promise.race([reader.question(hidden ? '' : question.slice(last), { signal }), ended]);
  } finally {
    reader.close();
    // The key that ended the line was not shown either.
    if (hidden) output.write('\n');
  }
}

function nowhere(): Writable {
  return new Writable({ write: (_chunk, _encoding, done) => done() });
}

function openTerminal(): number {
  return fs.openSync(CONTROLLING_TERMINAL, fs.constants.O_RDWR | fs.constants.O_NOCTTY);
}

function canBeAsked(): boolean {
  try {
    fs.closeSync(openTerminal());
  } catch {
    return false;
  }
  return isInForeground();
}

/** A job in the background may open its terminal, but is stopped (SIGTTIN) as soon as it reads. */
function isInForeground(): boolean {
  const groups = processGroups();
  return groups !== undefined && groups.own === groups.foreground;
}

/** The group of this process, and the one that its terminal belongs to; undefined where the system does not say. */
function processGroups(): { own: number; foreground: number } | undefined {
  try {
    // proc_pid_stat(5): behind the name in parentheses come state, ppid, pgrp, session, tty_nr, tpgid.
    const fields = fs
      .readFileSync('/proc/self/stat', 'latin1')
      .replace(/^.*\) /s, '')
      .split(' ');
    return { own: Number(fields[2]), foreground: Number(fields[5]) };
  } catch {
    const { stdout } = spawnSync('ps', ['-o', 'pgid=', '-o', 'tpgid=', '-p', String(process.pid)], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const match = /^\s*(\d+)\s+(\d+)\s*$/.exec(stdout);
    return match === null ? undefined : { own: Number(match[1]), foreground: Number(match[2]) };
  }
}

function isSet(value: string | undefined): boolean {
  return value !== undefined && !['', '0', 'false'].includes(value.toLowerCase());
}
