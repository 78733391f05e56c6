/**
 * `node scripts/test-system.mjs [PATTERN]`: the system tests (docs/system-tests.md), all or those whose name fits the
 * pattern. `--shell [KIND...]` boots the guest with espd and simulated boards, and gives its console.
 *
 * Where this machine cannot run them it says so and why, and ends with status 0: they need Linux on x86-64, root, QEMU
 * and debootstrap; packages that are missing are installed by apt-get.
 */

import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { ensureBuilt, ensureInstalled, root, shellStatus, StepFailed } from './prepare.mjs';

/** All of it takes 10 to 15 minutes in software emulation, and 3 more when the guest is built first. */
const TIME_LIMIT_MS = 28 * 60_000;
const APT_TIME_LIMIT_MS = 5 * 60_000;

/** Debian's package of each program that is needed. */
const PROGRAMS = {
  'qemu-system-x86_64': 'qemu-system-x86',
  'qemu-img': 'qemu-utils',
  debootstrap: 'debootstrap',
  mke2fs: 'e2fsprogs',
  xz: 'xz-utils',
};

const reason = whyNot();
if (reason !== undefined) {
  say(`SKIPPED: the system tests cannot run here: ${reason}`);
  process.exit(0);
}
try {
  await ensureInstalled({ dev: true });
  await ensureBuilt();
} catch (error) {
  if (!(error instanceof StepFailed)) throw error;
  say(error.message);
  process.exit(error.exitStatus);
}

const [first, ...rest] = process.argv.slice(2);
const isShell = first === '--shell';
const patterns = first === undefined ? [] : [`--test-name-pattern=${first}`];
const args = isShell ? ['test/system/shell.ts', ...rest] : [...patterns, 'test/system/suite.ts'];
const reporter = ['--test-reporter=spec', '--test-reporter-destination=stdout'];
const child = spawn(process.execPath, ['--import', 'tsx', ...reporter, ...args], { cwd: root, stdio: 'inherit' });
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
const limit = setTimeout(() => {
  say(`not finished within ${TIME_LIMIT_MS / 60_000} minutes: ended`);
  child.kill('SIGKILL');
}, TIME_LIMIT_MS);
if (isShell) clearTimeout(limit);
child.once('exit', (code, signal) => process.exit(shellStatus(code, signal)));

/** Why this machine cannot run the tests; undefined when it can. */
function whyNot() {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'they need Linux on x86-64';
  if (process.getuid() !== 0) return 'they need root, to build a Debian guest with debootstrap';
  if (missingPackages().length === 0) return undefined;
  const packages = missingPackages();
  if (!isInPath('apt-get')) return `${packages.join(', ')} missing, and there is no apt-get to install them`;
  say(`installing ${packages.join(', ')} (apt-get)...`);
  const failure = apt(['update']) ?? apt(['install', '--yes', '--no-install-recommends', ...packages]);
  return failure === undefined && missingPackages().length === 0
    ? undefined
    : `${packages.join(', ')} cannot be installed: ${failure ?? 'a program is still missing'}`;
}

function missingPackages() {
  return Object.entries(PROGRAMS).flatMap(([program, name]) => (isInPath(program) ? [] : [name]));
}

function isInPath(program) {
  const folders = (process.env.PATH ?? '').split(path.delimiter);
  return folders.some((folder) => fs.existsSync(path.join(folder, program)));
}

/** The last line of what apt-get complained about; undefined when it succeeded. */
function apt(command) {
  const { status, stderr, error } = spawnSync('apt-get', ['--quiet', ...command], {
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    stdio: ['ignore', 'ignore', 'pipe'],
    encoding: 'utf8',
    timeout: APT_TIME_LIMIT_MS,
  });
  if (status === 0) return undefined;
  return error?.message ?? stderr.trim().split('\n').at(-1) ?? `status ${status}`;
}

function say(line) {
  process.stderr.write(`espd: ${line}\n`);
}
