/** One run of a hook: a program with an event on its standard input, ended with all that it started. */

import { spawn } from 'node:child_process';
import { setPriority } from 'node:os';
import type { Clock } from '../clock.ts';
import { systemCode } from '../errors.ts';

/** From SIGTERM to SIGKILL. */
export const GRACE_MS = 2000;
/** So much of the output is kept for the log. */
export const KEPT_OUTPUT_BYTES = 2048;
/** After so much output its pipe is closed, and whoever writes on is ended by SIGPIPE: reading costs time of the boards. */
export const MAX_OUTPUT_BYTES = 64 * 1024;
/** Of the scheduler: the boards go first. */
const NICENESS = 10;

export interface HookOptions {
  readonly command: readonly string[];
  readonly stdin: string;
  readonly env: NodeJS.ProcessEnv;
  readonly timeoutMs: number;
  readonly clock: Clock;
  /** When it is aborted, the program is ended at once. */
  readonly signal: AbortSignal;
}

export interface HookEnd {
  readonly result: 'done' | 'failed';
  /** Why it failed; empty where it is done. */
  readonly reason: string;
  /** The beginning of what it said on both outputs; not yet printable. */
  readonly output: string;
}

/** Never rejects. Resolves when the program has ended, whatever it has left behind is ended as well. */
export function runHook(options: HookOptions): Promise<HookEnd> {
  const { command, clock, env, signal, stdin, timeoutMs } = options;
  const [program = '', ...args] = command;
  return new Promise((resolve) => {
    const kept: Buffer[] = [];
    let keptBytes = 0;
    const output = () => Buffer.concat(kept).subarray(0, KEPT_OUTPUT_BYTES).toString('utf8');
    let child;
    try {
      // A group of its own, so that what it starts can be ended with it.
      child = spawn(program, args, { env, detached: true, shell: false, stdio: ['pipe', 'pipe', 'pipe'], cwd: '/' });
    } catch (error) {
      resolve({ result: 'failed', reason: cannotRun(program, error), output: '' });
      return;
    }
    const { pid } = child;
    let why = '';
    let cancelKill = () => {};
    const end = (reason: string, name: 'SIGTERM' | 'SIGKILL') => {
      why ||= reason;
      killGroup(pid, name);
      cancelKill();
      if (name === 'SIGTERM') cancelKill = clock.schedule(GRACE_MS, () => killGroup(pid, 'SIGKILL'));
    };
    const cancelLimit = clock.schedule(timeoutMs, () => end(`it took longer than ${timeoutMs / 1000} s`, 'SIGTERM'));
    const onAbort = () => end('the service stops', 'SIGKILL');
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();

    let isOver = false;
    const finish = (result: 'done' | 'failed', reason: string) => {
      if (isOver) return;
      isOver = true;
      cancelLimit();
      cancelKill();
      signal.removeEventListener('abort', onAbort);
      killGroup(pid, 'SIGKILL');
      for (const stream of [child.stdin, child.stdout, child.stderr]) stream.destroy();
      resolve({ result, reason, output: output() });
    };
    child.on('error', (error) => {
      if (pid === undefined) finish('failed', cannotRun(program, error));
    });
    // Not `close`: a child of the program may hold the pipes for ever. What is in them by now is still read.
    child.on('exit', (code, endedBy) => {
      setImmediate(() => {
        if (why !== '') finish('failed', why);
        else if (code === 0) finish('done', '');
        else
          finish('failed', code === null ? `it was ended by ${endedBy ?? 'a signal'}` : `it ended with status ${code}`);
      });
    });
    let readBytes = 0;
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('error', () => undefined);
      stream.on('data', (chunk: Buffer) => {
        readBytes += chunk.length;
        if (keptBytes < KEPT_OUTPUT_BYTES) kept.push(chunk);
        keptBytes += chunk.length;
        if (readBytes <= MAX_OUTPUT_BYTES) return;
        child.stdout.destroy();
        child.stderr.destroy();
      });
    }
    // EPIPE: it does not read its input, and need not.
    child.stdin.on('error', () => undefined);
    child.stdin.end(stdin);
    if (pid === undefined) return;
    try {
      setPriority(pid, NICENESS);
    } catch {
      // It has ended already, or the system does not let us: then it runs as it is.
    }
  });
}

function killGroup(pid: number | undefined, signal: 'SIGTERM' | 'SIGKILL'): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // Nobody is left in the group.
  }
}

function cannotRun(program: string, error: unknown): string {
  const code = systemCode(error);
  if (code === 'ENOENT') return `there is no program ${program}`;
  if (code === 'EACCES') return `${program} may not be run by this user`;
  return `${program} cannot be run (${code ?? 'unknown fault'})`;
}
