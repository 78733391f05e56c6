/**
 * `node scripts/test-system.mjs [PATTERN]`: the system tests (docs/system-tests.md), all or those whose name fits the
 * pattern. `--shell [KIND...]` boots the guest with espd and simulated boards, and gives its console.
 *
 * Where this machine cannot run them it says so and why, and ends with status 0: they need Linux on x86-64, root, QEMU
 * and debootstrap; packages that are missing are installed by apt-get. ESPD_SKIP_SYSTEM_TESTS=1 skips them, aloud too.
 */

import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { reporterArguments } from './counts-reporter.mjs';
import { ensureBuilt, ensureInstalled, root, shellStatus, StepFailed } from './prepare.mjs';

/** From here to the end, whatever has to be installed and built first. CI waits no longer than 30 minutes. */
const TIME_LIMIT_MS = 29 * 60_000;
/** No test is begun that would not be over by then. */
const DEADLINE_MS = 27 * 60_000;
const APT_TIME_LIMIT_MS = 5 * 60_000;
/** Status of `test/system/guest/build.ts` where there is no Debian to be had. */
const UNAVAILABLE = 69;

/** Debian's package of each program that is needed. */
const PROGRAMS = {
  'qemu-system-x86_64': 'qemu-system-x86',
  'qemu-img': 'qemu-utils',
  debootstrap: 'debootstrap',
  mke2fs: 'e2fsprogs',
  xz: 'xz-utils',
};

const startedMs = Date.now();
const reason = whyNot();
if (reason !== undefined) skip(reason);
try {
  await ensureInstalled({ dev: true });
  await ensureBuilt();
} catch (error) {
  if (!(error instanceof StepFailed)) throw error;
  say(error.message);
  process.exit(error.exitStatus);
}

const typescript = ['--import', './scripts/tsx.mjs'];
const build = spawnSync(process.execPath, [...typescript, 'test/system/guest/build.ts'], {
  cwd: root,
  stdio: ['ignore', 'pipe', 'inherit'],
  encoding: 'utf8',
});
if (build.status === UNAVAILABLE) skip(build.stdout.trim());
if (build.status !== 0) process.exit(shellStatus(build.status, build.signal));

const [first, ...rest] = process.argv.slice(2);
const isShell = first === '--shell';
const suite = ['test/system/suite.ts', String(startedMs + DEADLINE_MS), ...(first === undefined ? [] : [first])];
const args = isShell ? ['test/system/shell.ts', ...rest] : [...reporterArguments(), ...suite];
const child = spawn(process.execPath, [...typescript, ...args], { cwd: root, stdio: 'inherit' });
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
const limit = setTimeout(
  () => {
    say(`not finished within ${TIME_LIMIT_MS / 60_000} minutes: ended`);
    child.kill('SIGKILL');
  },
  startedMs + TIME_LIMIT_MS - Date.now(),
);
if (isShell) clearTimeout(limit);
child.once('exit', (code, signal) => process.exit(shellStatus(code, signal)));

/** Why this machine cannot run the tests; undefined when it can. */
function whyNot() {
  if (process.env.ESPD_SKIP_SYSTEM_TESTS === '1') return 'ESPD_SKIP_SYSTEM_TESTS=1 says so';
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'they need Linux on x86-64';
  if (process.getuid() !== 0) return 'they need root, to build a Debian guest with debootstrap';
  if (missingPackages().length === 0) return undefined;
  const packages = missingPackages();
  if (!isInPath('apt-get')) return `${packages.join(', ')} missing, and there is no apt-get to install them`;
  say(`installing ${packages.join(', ')} (apt-get)...`);
  // One of several sources may be out of order; the packages may come from another.
  const stale = apt(['update']);
  const failure = apt(['install', '--yes', '--no-install-recommends', ...packages]) ?? stale;
  return missingPackages().length === 0
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

/** Says aloud that nothing was tested, and ends in peace. */
function skip(why) {
  say(`SKIPPED: the system tests do not run here: ${why}`);
  // As one test, in the sum of .ci/run.
  if (process.env.ESPD_TEST_COUNTS) fs.writeFileSync(process.env.ESPD_TEST_COUNTS, '0 0 1\n');
  process.exit(0);
}

function say(line) {
  process.stderr.write(`espd: ${line}\n`);
}
