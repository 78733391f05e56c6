/**
 * `node scripts/run.mjs ARGS`: the espd command of this checkout, installed and built first where needed.
 *
 * The command runs in this very process, which is as near to the shell's `exec` as Node 20 comes: the terminal, stdin,
 * signals and exit status are its own.
 */

import { pathToFileURL } from 'node:url';
import path from 'node:path';
import { ensureBuilt, ensureInstalled, root, StepFailed } from './prepare.mjs';

try {
  // In this order: building installs all that running needs, and a finished build runs with fewer packages.
  await ensureBuilt();
  await ensureInstalled({ dev: false });
} catch (error) {
  if (!(error instanceof StepFailed)) throw error;
  process.stderr.write(`espd: ${error.message}\n`);
  process.exit(error.exitStatus);
}

const main = path.join(root, 'dist', 'main.js');
process.argv[1] = main;
process.setSourceMapsEnabled(true);
await import(pathToFileURL(main).href);
