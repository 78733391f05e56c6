#!/usr/bin/env node
/** The process edge: arguments, signals, exit status. The only place that ends the process. */

import './cli/small-heap.ts';
import { findAsk } from './cli/controlling-terminal.ts';
import { runCommandLine } from './cli/program.ts';
import type { Terminal } from './cli/output.ts';
import { EXIT, systemCode } from './errors.ts';

/** After the first signal everything is let go of in order; whoever is still here then is ended. */
const GRACE_MS = 6000;

const interruption = new AbortController();
let signals = 0;
let onHangup: (() => void) | undefined;

function interrupt(): void {
  signals++;
  if (signals === 3) process.exit(EXIT.interrupted);
  interruption.abort();
  setTimeout(() => process.exit(EXIT.interrupted), GRACE_MS).unref();
}
process.on('SIGINT', interrupt);
process.on('SIGTERM', interrupt);
// The terminal is closed, or the connection to it lost: a board must not be left in download mode because of that.
process.on('SIGHUP', () => (onHangup ?? interrupt)());

let outputFault: Error | undefined;
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: Error) => {
    // `espd list | head` closes the pipe, and EIO is a terminal that is gone: neither is a failure.
    if (!['EPIPE', 'EIO'].includes(systemCode(error) ?? '')) outputFault = error;
  });
}

const ask = findAsk({ env: process.env, signal: interruption.signal, onInterrupt: interrupt });
const terminal: Terminal = {
  stdout: process.stdout,
  stderr: process.stderr,
  ...(ask === undefined ? {} : { ask }),
};

const status = await runCommandLine(process.argv.slice(2), {
  env: process.env,
  terminal,
  signal: interruption.signal,
  onHangup: (callback) => (onHangup = callback),
});
// Output to a pipe is asynchronous: all of it must have left before the process ends.
await Promise.all(
  [process.stdout, process.stderr].map((stream) => new Promise((resolve) => stream.write('', resolve))),
);
if (outputFault !== undefined) process.stderr.write(`espd: the output cannot be written: ${outputFault.message}\n`);
process.exit(outputFault === undefined ? status : status || EXIT.failed);
