/**
 * Makes a checkout ready to run: packages installed, sources built. Node's built-ins only, because nothing else is
 * there yet. Everything that is said goes to stderr: stdout belongs to the command that follows.
 */

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

export const root = path.dirname(import.meta.dirname);
const at = (...parts) => path.join(root, ...parts);

/** A step that failed: its output is on stderr already. */
export class StepFailed extends Error {
  /** @param {string} message @param {number} exitStatus what the process should end with */
  constructor(message, exitStatus) {
    super(message);
    this.exitStatus = exitStatus;
  }
}

/** The exit status that a shell gives to a child: its own, or 128 + the number of the signal that ended it. */
export function shellStatus(code, signal) {
  return signal === null ? (code ?? 1) : 128 + (os.constants.signals[signal] ?? 0);
}

/**
 * Runs npm when packages are missing or others than package-lock.json wants.
 *
 * @param {{ dev: boolean }} options dev: the packages for building and testing are needed too
 * @throws {StepFailed}
 */
export async function ensureInstalled({ dev }) {
  if (isInstalled(dev)) return;
  await withLock(async () => {
    if (isInstalled(dev)) return;
    say('installing packages (npm ci)...');
    const scope = dev ? '--include=dev' : '--omit=dev';
    // The log level is given because `npm run -s` hands its silence on, and errors would be swallowed.
    const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error', scope];
    const [npm, ...first] = npmCommand();
    await runStep('npm ci', npm, [...first, 'ci', ...options]);
  });
}

/**
 * Compiles src to dist, and web to dist/web, when they were not made of exactly these sources. dist/.stamp, written last,
 * says of which. The compiler writes to a folder beside dist that then takes its place: whoever runs from dist never meets a half of it.
 *
 * @throws {StepFailed} when the sources do not compile; dist stays as it was
 */
export async function ensureBuilt() {
  if (isBuilt()) return;
  await ensureInstalled({ dev: true });
  await withLock(async () => {
    if (isBuilt()) return;
    say('building (tsc)...');
    const fresh = at('dist.next');
    fs.rmSync(fresh, { recursive: true, force: true });
    // Taken before the compiler looks: a file that changes meanwhile makes the next run build again.
    const fingerprint = sourceFingerprint();
    const tsc = at('node_modules', 'typescript', 'bin', 'tsc');
    try {
      await runStep('tsc', process.execPath, [tsc, '-p', 'tsconfig.build.json', '--outDir', 'dist.next']);
      if (fs.existsSync(at('web'))) {
        const vite = [at('node_modules', 'vite', 'bin', 'vite.js'), 'build', '--config', at('web', 'vite.config.mjs')];
        await runStep('vite', process.execPath, [...vite, '--outDir', path.join(fresh, 'web')]);
      }
      fs.writeFileSync(path.join(fresh, '.stamp'), fingerprint);
      const old = at('dist.old');
      fs.rmSync(old, { recursive: true, force: true });
      if (fs.existsSync(at('dist'))) fs.renameSync(at('dist'), old);
      fs.renameSync(fresh, at('dist'));
      fs.rmSync(old, { recursive: true, force: true });
    } finally {
      fs.rmSync(fresh, { recursive: true, force: true });
    }
  });
}

/**
 * Whether what npm noted of its last install holds all that package-lock.json wants. npm writes that note last, so an
 * interrupted install counts as none. Dates would say nothing in a copied checkout.
 */
function isInstalled(dev) {
  const installed = readPackages('node_modules/.package-lock.json');
  const wanted = readPackages('package-lock.json');
  if (installed === undefined) return false;
  return Object.entries(wanted ?? {}).every(([folder, { version, integrity, optional, devOptional, dev: isDev }]) => {
    if (folder === '' || optional || devOptional || (isDev && !dev)) return true;
    const found = installed[folder];
    return found?.version === version && found?.integrity === integrity && fs.existsSync(at(folder));
  });
}

function readPackages(lockFile) {
  try {
    return JSON.parse(fs.readFileSync(at(lockFile), 'utf8')).packages;
  } catch {
    return undefined;
  }
}

function isBuilt() {
  // An installed package has no sources: what it has is what there is.
  if (!fs.existsSync(at('src'))) return fs.existsSync(at('dist', 'main.js'));
  try {
    return fs.readFileSync(at('dist', '.stamp'), 'utf8') === sourceFingerprint();
  } catch {
    return false;
  }
}

/** Of the content, not of dates: those say nothing after a checkout, a copy or a restore. Some ms for this project. */
function sourceFingerprint() {
  const hash = createHash('sha256');
  const sources = ['src', 'web']
    .filter((folder) => fs.existsSync(at(folder)))
    .flatMap((folder) => fs.readdirSync(at(folder), { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(root, path.join(entry.parentPath ?? entry.path, entry.name)));
  const settings = fs.readdirSync(root).filter((name) => /^(tsconfig.*|package|package-lock)\.json$/.test(name));
  for (const file of [...sources, ...settings].sort()) {
    hash.update(`\0${file}\0`).update(fs.readFileSync(at(file)));
  }
  return hash.digest('hex');
}

function modifiedMs(file) {
  return fs.statSync(file, { throwIfNoEntry: false })?.mtimeMs;
}

function npmCommand() {
  // Under `npm run` the very same npm, which needs no shell on Windows.
  const own = process.env.npm_execpath;
  if (own !== undefined && /\bnpm-cli\.c?js$/.test(own)) return [process.execPath, own];
  return [process.platform === 'win32' ? 'npm.cmd' : 'npm'];
}

/** Runs a program with its output on stderr. A signal to this process goes to the program, whose end is awaited. */
async function runStep(name, command, args) {
  const child = spawn(command, args, {
    cwd: root,
    stdio: ['ignore', 2, 2],
    shell: command.endsWith('.cmd'),
  });
  let received;
  const passOn = (signal) => {
    received = signal;
    child.kill(signal);
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  for (const signal of signals) process.on(signal, passOn);
  try {
    const status = await new Promise((resolve, reject) => {
      child.once('error', (error) => reject(new StepFailed(`${name} cannot be started: ${error.message}`, 1)));
      child.once('exit', (code, signal) => resolve(shellStatus(code, signal)));
    });
    if (received !== undefined) throw new StepFailed(`${name} was interrupted`, shellStatus(null, received));
    if (status !== 0) throw new StepFailed(`${name} failed with exit status ${status}`, 1);
  } finally {
    for (const signal of signals) process.off(signal, passOn);
  }
}

const LOCK = at('.prepare.lock');
const OWNER = 'owner.json';
const HEARTBEAT_MS = 2_000;
/** An owner that has been silent so long is gone, even if its process id lives on in another program or machine. */
const SILENCE_MS = 60_000;

/** Runs `work` while no other process does: `mkdir` of a folder succeeds for one only. */
async function withLock(work) {
  let told = false;
  while (!tryLock()) {
    if (!told) say('waiting for another espd that installs or builds here...');
    told = true;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  const heartbeat = setInterval(() => {
    const now = new Date();
    fs.utimes(LOCK, now, now, () => undefined);
  }, HEARTBEAT_MS);
  try {
    await work();
  } finally {
    clearInterval(heartbeat);
    fs.rmSync(LOCK, { recursive: true, force: true });
  }
}

function tryLock() {
  try {
    fs.mkdirSync(LOCK);
  } catch (error) {
    if (error.code === 'EEXIST') {
      return removeStaleLock() && tryLock();
    }
    throw new StepFailed(`cannot write to ${root}: ${error.message}`, 1);
  }
  fs.writeFileSync(path.join(LOCK, OWNER), JSON.stringify({ pid: process.pid, host: os.hostname() }));
  return true;
}

/**
 * Takes away a lock whose owner died. Renamed first: of several that find it stale one succeeds, and can still see
 * whether it is the lock that it judged.
 *
 * @returns {boolean} whether it is worth trying at once
 */
function removeStaleLock() {
  const judged = readOwner(LOCK);
  const heard = modifiedMs(LOCK);
  if (heard === undefined) return false;
  const isSilent = Date.now() - heard > SILENCE_MS;
  if (!isSilent && (judged === undefined || !isDead(judged))) return false;
  const aside = `${LOCK}.${process.pid}`;
  try {
    fs.renameSync(LOCK, aside);
    const isTheOne = readOwner(aside) === judged;
    if (!isTheOne) fs.renameSync(aside, LOCK);
    return isTheOne;
  } catch {
    return false; // Another one was quicker.
  } finally {
    fs.rmSync(aside, { recursive: true, force: true });
  }
}

function readOwner(lock) {
  try {
    return fs.readFileSync(path.join(lock, OWNER), 'utf8');
  } catch {
    return undefined;
  }
}

function isDead(owner) {
  try {
    const { pid, host } = JSON.parse(owner);
    if (host !== os.hostname()) return false;
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return error.code === 'ESRCH';
  }
}

function say(message) {
  process.stderr.write(`espd: ${message}\n`);
}
