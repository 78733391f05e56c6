/** The command of `espd run`: found before any board is touched, run with this terminal, told of signals. */

import { spawn } from 'node:child_process';
import { accessSync, constants as fileConstants, readFileSync, statSync } from 'node:fs';
import { constants } from 'node:os';
import { delimiter, join } from 'node:path';
import { EspdError } from '../../errors.ts';
import { printable } from '../../printable.ts';
import type { Host } from '../host.ts';

/** @throws EspdError `usage` where there is no such program, or it may not be run */
export function checkProgram(name: string, env: NodeJS.ProcessEnv): void {
  // Windows has its own rules of what may be run.
  if (process.platform === 'win32') return;
  const places = name.includes('/') ? [name] : (env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, name));
  const found = places.filter(isFile);
  if (found.some(mayRun)) return;
  const what = printable(name);
  throw found.length > 0
    ? new EspdError('usage', `${what} may not be run: it is no program, or not for you`, {
        hint: `Is it meant as a script? chmod +x ${printable(found[0] ?? name)}. No board was touched`,
      })
    : new EspdError('usage', `There is no program ${what}`, {
        hint: 'Check its name and $PATH; what the shell itself does needs: sh -c "...". No board was touched',
      });
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true;
}

function mayRun(path: string): boolean {
  try {
    accessSync(path, fileConstants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** How it ended: one of both is null. */
export interface ProgramEnd {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** As shells tell it: 128 and the number of the signal. */
export function exitStatusOf({ status, signal }: ProgramEnd): number {
  return status ?? 128 + (signal === null ? 0 : constants.signals[signal]);
}

/**
 * Runs it to its end. Signals for this process are passed on to it meanwhile.
 * @param isAside what it writes to stdout goes to stderr: stdout is for a JSON document
 * @throws EspdError `usage` where it cannot be started
 */
export function runProgram(
  [file = '', ...args]: readonly string[],
  env: NodeJS.ProcessEnv,
  host: Pick<Host, 'passSignals' | 'signal'>,
  isAside: boolean,
): Promise<ProgramEnd> {
  return new Promise((resolve, reject) => {
    // Of this group, so that it has the terminal.
    const child = spawn(file, args, { env, stdio: ['inherit', isAside ? 2 : 'inherit', 'inherit'] });
    const restore = host.passSignals?.((signal) => {
      if (signal !== 'SIGINT' || !isInForeground()) child.kill(signal);
    });
    const onAbort = () => void child.kill('SIGTERM');
    host.signal.addEventListener('abort', onAbort, { once: true });
    const end = () => {
      restore?.();
      host.signal.removeEventListener('abort', onAbort);
    };
    child.once('error', (cause) => {
      end();
      reject(new EspdError('usage', `${printable(file)} cannot be started: ${cause.message}`, { cause }));
    });
    child.once('exit', (status, signal) => {
      end();
      resolve({ status, signal });
    });
  });
}

/** A terminal sends Ctrl-C to all of its foreground group: the command has it already. Fields of proc(5), /proc/pid/stat. */
function isInForeground(): boolean {
  try {
    const stat = readFileSync('/proc/self/stat', 'latin1');
    const [, , group, , , foreground] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return group !== undefined && group === foreground;
  } catch {
    return process.stdin.isTTY;
  }
}
