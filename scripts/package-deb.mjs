/** `npm run package:deb [-- --arch ARCH] [--output DIR]`: the Debian package, of sources that are compiled first if needed. */

import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { ensureBuilt, ensureInstalled, root, shellStatus, StepFailed } from './prepare.mjs';

try {
  await ensureInstalled({ dev: true });
  await ensureBuilt();
} catch (error) {
  if (!(error instanceof StepFailed)) throw error;
  process.stderr.write(`espd: ${error.message}\n`);
  process.exit(error.exitStatus);
}

// Paths on the command line are relative to where it was typed, and those of the checkout are known to the program.
const program = ['--import', path.join(root, 'scripts', 'tsx.mjs'), path.join(root, 'packaging', 'deb', 'main.ts')];
const { status, signal } = spawnSync(process.execPath, [...program, ...process.argv.slice(2)], { stdio: 'inherit' });
process.exit(shellStatus(status, signal));
