/**
 * `node scripts/test.mjs [PATTERN...]`: the tests whose path contains one of the patterns, or all; installed and built
 * first where needed. Ends with the exit status of the test runner.
 */

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { reporterArguments } from './counts-reporter.mjs';
import { ensureBuilt, ensureInstalled, root, shellStatus, StepFailed } from './prepare.mjs';

/** A test that hangs fails after this long, instead of holding up whoever waits for the result. */
const TEST_TIMEOUT_MS = 15 * 60_000;

const patterns = process.argv.slice(2);
const files = fs
  .readdirSync(path.join(root, 'test'), { recursive: true })
  .map((file) => path.join('test', file).split(path.sep).join('/'))
  .filter((file) => file.endsWith('.test.ts'))
  .filter((file) => patterns.length === 0 || patterns.some((pattern) => file.includes(pattern)))
  .sort();
if (files.length === 0) {
  process.stderr.write(`espd: no test file matches ${patterns.join(' ') || 'test/**/*.test.ts'}\n`);
  process.exit(1);
}

try {
  await ensureInstalled({ dev: true });
  await ensureBuilt();
} catch (error) {
  if (!(error instanceof StepFailed)) throw error;
  process.stderr.write(`espd: ${error.message}\n`);
  process.exit(error.exitStatus);
}

const runner = spawn(
  process.execPath,
  [
    ...['--import', './scripts/tsx.mjs', '--test', '--test-concurrency=2', `--test-timeout=${TEST_TIMEOUT_MS}`],
    ...reporterArguments(),
    ...files,
  ],
  { cwd: root, stdio: 'inherit' },
);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => runner.kill(signal));
runner.once('exit', (code, signal) => process.exit(shellStatus(code, signal)));
