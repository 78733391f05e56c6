#!/usr/bin/env node
/** The process edge: arguments, signals, faults that nobody caught, exit status. */

import './cli/small-heap.ts';
import { findAsk } from './cli/controlling-terminal.ts';
import { COMPLETE } from './cli/completion/word.ts';
import type { Terminal } from './cli/output.ts';
import { EXIT, EspdError, systemCode } from './errors.ts';
import { exitPastDisk } from './exit.ts';

/** After the first signal or fault boards are released in order; whoever is still here then (a disk, mostly) is ended. */
const GRACE_MS = 4900;

const interruption = new AbortController();
let signals = 0;
let fault: EspdError | undefined;
let onHangup: (() => void) | undefined;
let passSignal: ((signal: NodeJS.Signals) => void) | undefined;

function interrupt(): void {
  signals++;
  if (signals === 3) end(fault?.exitStatus ?? EXIT.interrupted);
  stop(undefined);
}

/** Ends all work in order: boards are reset into their apps, then the disk has the rest of the time. */
function stop(reason: EspdError | undefined): void {
  interruption.abort(reason);
  setTimeout(() => {
    if (reason !== undefined) process.stderr.write(`espd: ${reason.message}\n`);
    end(fault?.exitStatus ?? EXIT.interrupted);
  }, GRACE_MS).unref();
}

function end(status: number): never {
  exitPastDisk(status);
  process.exit(status);
}

/**
 * Something was thrown where nobody could catch it: in a callback of native code, or in a promise that nobody waits for.
 * What the program is in afterwards nobody knows, so it ends; but boards that wait in download mode are released first.
 */
function onFault(error: unknown): void {
  if (fault !== undefined) return;
  const message = error instanceof Error ? error.message : String(error);
  fault = new EspdError('internal', `A fault inside espd: ${message}`, {
    cause: error,
    hint: 'All boards were released, and what was read is kept for the next backup. Please report it',
  });
  stop(fault);
}
process.on('uncaughtException', onFault);
process.on('unhandledRejection', onFault);
process.on('SIGINT', () => onSignal('SIGINT', interrupt));
process.on('SIGTERM', () => onSignal('SIGTERM', interrupt));
// The terminal is closed, or the connection to it lost: a board must not be left in download mode because of that.
process.on('SIGHUP', () => onSignal('SIGHUP', onHangup ?? interrupt));

/** While another program does the work, signals are for that one. */
function onSignal(signal: NodeJS.Signals, act: () => void): void {
  if (passSignal === undefined) act();
  else passSignal(signal);
}

let outputFault: Error | undefined;
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: Error) => {
    // `espd list | head` closes the pipe, and EIO is a terminal that is gone: neither is a failure.
    if (!['EPIPE', 'EIO'].includes(systemCode(error) ?? '')) outputFault = error;
  });
}

/** Loads only what is needed: a shell asks for completions while somebody waits for TAB. */
async function run(args: readonly string[]): Promise<number> {
  if (args[0] === COMPLETE) {
    const { complete } = await import('./cli/completion/complete.ts');
    return complete(args.slice(1), { env: process.env, write: (text) => void process.stdout.write(text) });
  }
  const { runCommandLine } = await import('./cli/program.ts');
  return runCommandLine(args, {
    env: process.env,
    terminal,
    signal: interruption.signal,
    onHangup: (callback) => (onHangup = callback),
    passSignals: (take) => {
      passSignal = take;
      return () => (passSignal = undefined);
    },
    interrupt,
  });
}

const ask = findAsk({ env: process.env, signal: interruption.signal, onInterrupt: interrupt });
const terminal: Terminal = {
  stdout: process.stdout,
  stderr: process.stderr,
  ...(ask === undefined ? {} : { ask }),
};

const status = await run(process.argv.slice(2));
// Output to a pipe is asynchronous: all of it must have left before the process ends.
await Promise.all(
  [process.stdout, process.stderr].map((stream) => new Promise((resolve) => stream.write('', resolve))),
);
if (outputFault !== undefined) process.stderr.write(`espd: the output cannot be written: ${outputFault.message}\n`);
end(fault?.exitStatus ?? (outputFault === undefined ? status : status || EXIT.failed));
