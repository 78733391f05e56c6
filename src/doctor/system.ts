/** The real machine as an {@link Outside}. */

import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { access, mkdir, open, readFile, readdir, readlink, realpath, stat, statfs, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { userInfo } from 'node:os';
import { dirname } from 'node:path';
import type { Stats } from 'node:fs';
import { systemCode } from '../errors.ts';
import { findHolder } from '../serial/port-holder.ts';
import type { FileFacts, Look, Outside, Person, Ran } from './outside.ts';

const RUN_TIMEOUT_MS = 5000;
const MAX_OUTPUT_BYTES = 1024 * 1024;
const MAX_FILE_BYTES = 1024 * 1024;
const CONNECT_TIMEOUT_MS = 2000;
/** Linux: PID_MAX_LIMIT is 4 Mi; no machine that people plug boards into has so many. */
const MAX_PROGRAMS = 20_000;

const WANTED = {
  read: constants.R_OK,
  'read-write': constants.R_OK | constants.W_OK,
  'write-enter': constants.W_OK | constants.X_OK,
} as const;

/** @param env `PATH` finds the programs, after the folders of system programs, which a user may not have in it */
export function systemOutside(env: NodeJS.ProcessEnv): Outside {
  return {
    platform: process.platform,
    nodeVersion: process.versions.node,
    person: whoWeAre(),
    run: (argv) => run(argv, env),
    read: (path) => look(() => readBounded(path)),
    list: (folder) => look(() => readdir(folder)),
    link: (path) => look(() => readlink(path)),
    stat: (path) => look(async () => factsOf(await stat(path))),
    access: (path, wanted) => look(async () => (await access(path, WANTED[wanted]), true as const)),
    space: (path) =>
      look(async () => {
        const { bavail, bsize, blocks, files, ffree } = await statfs(path);
        return { freeBytes: bavail * bsize, diskBytes: blocks * bsize, files, ffree };
      }),
    connect: tryToConnect,
    programs: () => look(listPrograms),
    holderOf: async (path) => findHolder(await realpath(path).catch(() => path), '/proc'),
    write: (path, text) =>
      look(async () => {
        await mkdir(dirname(path), { recursive: true, mode: 0o755 });
        await writeFile(path, text, { flag: 'wx', mode: 0o644 });
        return true as const;
      }),
  };
}

async function look<T>(work: () => Promise<T>): Promise<Look<T>> {
  try {
    return { found: true, value: await work() };
  } catch (error) {
    return { found: false, code: systemCode(error) ?? (error instanceof Error ? error.message : String(error)) };
  }
}

function whoWeAre(): Person {
  const uid = process.geteuid?.() ?? null;
  const groups = [...(process.getgroups?.() ?? []), ...(process.getegid === undefined ? [] : [process.getegid()])];
  let name = '';
  try {
    name = userInfo().username;
  } catch {
    // A user id without an entry, as containers have them.
  }
  return { uid, name, gids: [...new Set(groups)] };
}

function run(argv: readonly string[], env: NodeJS.ProcessEnv): Promise<Ran> {
  const [program = '', ...args] = argv;
  const path = `${env['PATH'] ?? '/usr/bin:/bin'}:/usr/sbin:/sbin`;
  return new Promise((resolve) => {
    const options = {
      env: { ...env, PATH: path, LC_ALL: 'C', SYSTEMD_COLORS: '0', SYSTEMD_PAGER: '' },
      timeout: RUN_TIMEOUT_MS,
      killSignal: 'SIGKILL' as const,
      maxBuffer: MAX_OUTPUT_BYTES,
      encoding: 'utf8' as const,
    };
    const child = execFile(program, args, options, (error, stdout, stderr) => {
      if (error === null) resolve({ outcome: 'ended', status: 0, stdout, stderr });
      else if (typeof error.code === 'number') resolve({ outcome: 'ended', status: error.code, stdout, stderr });
      else if (error.code === 'ENOENT') resolve({ outcome: 'missing' });
      else if (error.killed === true) resolve({ outcome: 'failed', why: `did not answer within ${RUN_TIMEOUT_MS} ms` });
      else resolve({ outcome: 'failed', why: `cannot be used (${error.code ?? error.message})` });
    });
    // Nothing may wait for somebody to type.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end();
  });
}

async function readBounded(path: string): Promise<Buffer> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  try {
    // Files of /proc and /sys have no length. A device could be disturbed by reading it.
    if (!(await file.stat()).isFile()) throw Object.assign(new Error('no file'), { code: 'no-file' });
    const chunks: Buffer[] = [];
    for (let length = 0; ;) {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(65_536), 0, 65_536, null);
      if (bytesRead === 0) return Buffer.concat(chunks);
      chunks.push(buffer.subarray(0, bytesRead));
      length += bytesRead;
      if (length > MAX_FILE_BYTES) throw Object.assign(new Error('too large'), { code: 'too-large' });
    }
  } finally {
    await file.close();
  }
}

function factsOf(stats: Stats): FileFacts {
  const kind = stats.isFile()
    ? 'file'
    : stats.isDirectory()
      ? 'folder'
      : stats.isCharacterDevice()
        ? 'device'
        : stats.isSocket()
          ? 'socket'
          : 'other';
  return { kind, uid: stats.uid, gid: stats.gid, mode: stats.mode & 0o7777, changedMs: stats.ctimeMs };
}

function tryToConnect(path: string): Promise<Look<true>> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    const end = (result: Look<true>) => {
      socket.destroy();
      resolve(result);
    };
    socket.setTimeout(CONNECT_TIMEOUT_MS, () => end({ found: false, code: 'timeout' }));
    socket.once('connect', () => end({ found: true, value: true }));
    socket.once('error', (error) => end({ found: false, code: systemCode(error) ?? 'unknown fault' }));
  });
}

async function listPrograms() {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).slice(0, MAX_PROGRAMS);
  const programs: { pid: number; name: string }[] = [];
  for (const pid of pids) {
    const name = (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')).trim();
    if (name !== '') programs.push({ pid: Number(pid), name });
  }
  return programs;
}
