import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, open, readdir, readFile, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { hasCode } from '../../src/errors.ts';
import { silentLogger } from '../../src/log.ts';
import { lockFileName, type LockPaths, lockPort } from '../../src/serial/lock.ts';
import { deviceNumber, findHolder } from '../../src/serial/port-holder.ts';

const DEVICE = '/dev/ttyTEST0';
const ours = `${String(process.pid).padStart(10)}\n`;

/** A folder for lock files and an empty `/proc`. */
async function withPaths(body: (paths: LockPaths, file: string, folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'espd-lock-'));
  const [locks, proc] = [join(folder, 'lock'), join(folder, 'proc')];
  await mkdir(locks);
  await mkdir(proc);
  try {
    await body({ lockFolders: [locks], procFolder: proc }, join(locks, lockFileName(DEVICE)), folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** The pid of a process that is gone. */
async function deadPid(): Promise<number> {
  const child = spawn(process.execPath, ['-e', '']);
  await once(child, 'exit');
  assert.ok(child.pid !== undefined);
  return child.pid;
}

describe('the UUCP lock of a port', () => {
  test('is named as other programs name it', () => {
    assert.equal(lockFileName('/dev/ttyUSB0'), 'LCK..ttyUSB0');
    assert.equal(lockFileName('/dev/pts/3'), 'LCK..pts_3');
  });

  test('is written, and removed again, with nothing left', () =>
    withPaths(async (paths, file) => {
      const lock = await lockPort(DEVICE, paths, silentLogger);
      assert.equal(await readFile(file, 'latin1'), ours);
      assert.equal(ours.length, 11);
      await lock.release();
      await lock.release();
      assert.deepEqual(await readdir(paths.lockFolders[0]!), []);
    }));

  test('counts a folder once that has two names', () =>
    withPaths(async (paths, file, folder) => {
      await symlink(paths.lockFolders[0]!, join(folder, 'other'));
      const both = { ...paths, lockFolders: [...paths.lockFolders, join(folder, 'other'), join(folder, 'none')] };
      const lock = await lockPort(DEVICE, both, silentLogger);
      assert.equal(await readFile(file, 'latin1'), ours);
      await lock.release();
    }));

  for (const [form, content] of [
    ['text', (pid: number) => `${String(pid).padStart(10)}\n`],
    ['text with the name of program and user', (pid: number) => `${String(pid).padStart(10)} minicom root\n`],
    ['binary', (pid: number) => Buffer.from(new Int32Array([pid]).buffer)],
  ] as const) {
    test(`of a living program is respected (${form})`, () =>
      withPaths(async (paths, file) => {
        await writeFile(file, content(process.ppid));
        await mkdir(join(paths.procFolder, String(process.ppid)));
        await writeFile(join(paths.procFolder, String(process.ppid), 'comm'), 'mini\x1b[31mcom\n');
        await assert.rejects(lockPort(DEVICE, paths, silentLogger), (error) => {
          assert.ok(hasCode(error, 'port-busy'));
          assert.equal(error.message, `${DEVICE} is in use by mini?[31mcom (pid ${process.ppid})`);
          assert.ok(error.hint.includes(file));
          return true;
        });
        assert.deepEqual(await readdir(paths.lockFolders[0]!), [lockFileName(DEVICE)]);
        assert.deepEqual(await readFile(file), Buffer.from(content(process.ppid)));
      }));

    test(`of a dead program is replaced (${form})`, () =>
      withPaths(async (paths, file) => {
        await writeFile(file, content(await deadPid()));
        const lock = await lockPort(DEVICE, paths, silentLogger);
        assert.equal(await readFile(file, 'latin1'), ours);
        assert.deepEqual(await readdir(paths.lockFolders[0]!), [lockFileName(DEVICE)]);
        await lock.release();
      }));
  }

  test('with our own pid, of an earlier life in a container, is replaced', () =>
    withPaths(async (paths, file) => {
      await writeFile(file, ours);
      const lock = await lockPort(DEVICE, paths, silentLogger);
      await lock.release();
    }));

  test('without a pid is respected while it is young, and replaced when it is old', () =>
    withPaths(async (paths, file) => {
      for (const rubbish of ['', 'rubbish']) {
        await writeFile(file, rubbish);
        await assert.rejects(lockPort(DEVICE, paths, silentLogger), (error) => hasCode(error, 'port-busy'));
        await utimes(file, 1, 1);
        const lock = await lockPort(DEVICE, paths, silentLogger);
        await lock.release();
      }
    }));

  test('is not removed when somebody else has taken it meanwhile', () =>
    withPaths(async (paths, file) => {
      const lock = await lockPort(DEVICE, paths, silentLogger);
      await writeFile(file, `${String(process.ppid).padStart(10)}\n`);
      await lock.release();
      assert.deepEqual(await readdir(paths.lockFolders[0]!), [lockFileName(DEVICE)]);
    }));

  test('is done without where the folder cannot be written', () =>
    withPaths(async (paths, _, folder) => {
      // Not a folder without rights: root, who may run this, writes there as well.
      await writeFile(join(folder, 'file'), '');
      const lock = await lockPort(DEVICE, { ...paths, lockFolders: [join(folder, 'file')] }, silentLogger);
      await lock.release();
      assert.equal(await readFile(join(folder, 'file'), 'utf8'), '');
    }));

  test('goes to one of many that want it at once, by stale locks too', () =>
    withPaths(async (paths, file) => {
      const script = `
        import { lockPort } from ${JSON.stringify(new URL('../../src/serial/lock.ts', import.meta.url).href)};
        import { silentLogger } from ${JSON.stringify(new URL('../../src/log.ts', import.meta.url).href)};
        const paths = ${JSON.stringify(paths)};
        process.stdin.once('data', async () => {
          const lock = await lockPort(${JSON.stringify(DEVICE)}, paths, silentLogger).catch(() => undefined);
          process.stdout.write(lock ? 'y' : 'n');
          process.stdin.once('data', async () => { await lock?.release(); process.exit(); });
        });
        process.stdout.write('r');`;
      await writeFile(file, `${String(await deadPid()).padStart(10)}\n`);
      const children = Array.from({ length: 4 }, () =>
        spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
          stdio: ['pipe', 'pipe', 'inherit'],
        }),
      );
      const said = async (child: (typeof children)[number]) => String((await once(child.stdout, 'data'))[0]);
      await Promise.all(children.map(said));
      const answers = children.map(said);
      for (const child of children) child.stdin.write('go');
      assert.deepEqual((await Promise.all(answers)).sort(), ['n', 'n', 'n', 'y']);
      const exits = children.map((child) => once(child, 'exit'));
      for (const child of children) child.stdin.write('stop');
      await Promise.all(exits);
      assert.deepEqual(await readdir(paths.lockFolders[0]!), []);
    }));
});

describe('the program that has a port open', () => {
  test('is found by its open files', () =>
    withPaths(async (paths) => {
      const fds = join(paths.procFolder, '4711', 'fd');
      await mkdir(fds, { recursive: true });
      await mkdir(join(paths.procFolder, '12'), { recursive: true });
      await symlink('/dev/null', join(fds, '0'));
      await symlink(DEVICE, join(fds, '7'));
      await writeFile(join(paths.procFolder, '4711', 'comm'), 'screen\n');
      assert.deepEqual(await findHolder(DEVICE, paths.procFolder), { pid: 4711, name: 'screen' });
      assert.equal(await findHolder('/dev/ttyTEST1', paths.procFolder), undefined);
      await assert.rejects(
        lockPort(DEVICE, paths, silentLogger),
        (error) => hasCode(error, 'port-busy') && error.message.endsWith('in use by screen (pid 4711)'),
      );
      assert.deepEqual(await readdir(paths.lockFolders[0]!), []);
    }));

  test('goes by the name of its script where it is an interpreter', () =>
    withPaths(async (paths, _, folder) => {
      const process4711 = join(paths.procFolder, '4711');
      await mkdir(join(process4711, 'fd'), { recursive: true });
      await symlink(DEVICE, join(process4711, 'fd', '7'));
      await symlink(folder, join(process4711, 'cwd'));
      const nameOf = async (comm: string, ...words: string[]) => {
        await writeFile(join(process4711, 'comm'), `${comm}\n`);
        await writeFile(join(process4711, 'cmdline'), `${words.join('\0')}\0`);
        return (await findHolder(DEVICE, paths.procFolder))?.name;
      };
      assert.equal(
        await nameOf('python3', '/usr/bin/python3', '-u', '/opt/esptool.py', '--port', DEVICE),
        'esptool.py',
      );
      assert.equal(await nameOf('python3.11', 'python3', '-m', 'esphome', 'logs'), 'esphome');
      assert.equal(await nameOf('python3', 'python3', '-c', 'code', DEVICE), 'python3');
      assert.equal(await nameOf('node', 'node', '--import', 'tsx', 'mon\x1bitor.js'), 'mon?itor.js');
      assert.equal(await nameOf('node', 'node'), 'node');
      assert.equal(await nameOf('node', '/usr/bin/node', '/usr/bin/espd', 'daemon'), 'espd');
      assert.equal(await nameOf('node', 'node', '/usr/lib/node_modules/espd/dist/main.js', 'daemon'), 'espd');
      assert.equal(await nameOf('node', 'node', process.argv[1] ?? '', 'backup'), 'espd', 'the program that runs here');
      await assert.rejects(lockPort(DEVICE, paths, silentLogger), (error) => {
        assert.ok(hasCode(error, 'port-busy'));
        assert.match(error.message, /in use by espd \(pid 4711\)$/);
        assert.match(error.hint, /^Another espd works on this board: wait/);
        return true;
      });
    }));

  test('is found by its flock', () =>
    withPaths(async (paths, _, folder) => {
      const device = join(folder, 'device');
      await writeFile(device, '');
      const handle = await open(device);
      const { dev, ino } = await handle.stat();
      await handle.close();
      const { major, minor } = deviceNumber(dev);
      const hex = (value: number) => value.toString(16).padStart(2, '0');
      const where = `${hex(major)}:${hex(minor)}:${ino}`;
      const lines = (pid: number, inode: string) =>
        `1: POSIX  ADVISORY  WRITE 1 ${where} 0 EOF\n2: FLOCK  ADVISORY  WRITE ${pid} ${inode} 0 EOF\n`;
      await writeFile(join(paths.procFolder, 'locks'), lines(99, where));
      assert.deepEqual(await findHolder(device, paths.procFolder), { pid: 99, name: '' });
      await writeFile(join(paths.procFolder, 'locks'), lines(99, `${where}0`));
      assert.equal(await findHolder(device, paths.procFolder), undefined);
      await writeFile(join(paths.procFolder, 'locks'), lines(0, where));
      assert.equal(await findHolder(device, paths.procFolder), undefined);
    }));

  test('of a pty is not who made it and keeps both ends open', async () => {
    const procFolder = await mkdtemp(join(tmpdir(), 'espd-proc-'));
    const process42 = join(procFolder, '42');
    await mkdir(join(process42, 'fd'), { recursive: true });
    await mkdir(join(process42, 'fdinfo'));
    await symlink('/dev/pts/7', join(process42, 'fd', '3'));
    assert.equal((await findHolder('/dev/pts/7', procFolder))?.pid, 42, 'a shell in its terminal');
    await symlink('/dev/ptmx', join(process42, 'fd', '4'));
    await writeFile(join(process42, 'fdinfo', '4'), 'pos:\t0\nflags:\t02\ntty-index:\t71\n');
    assert.equal((await findHolder('/dev/pts/7', procFolder))?.pid, 42, 'the master of another pty');
    await writeFile(join(process42, 'fdinfo', '4'), 'pos:\t0\nflags:\t02\ntty-index:\t7\n');
    assert.equal(await findHolder('/dev/pts/7', procFolder), undefined);
    await rm(procFolder, { recursive: true });
  });

  test('is found for real: this process', { skip: process.platform !== 'linux' && 'SKIPPED: no /proc' }, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'espd-holder-'));
    const handle = await open(join(folder, 'file'), 'w');
    assert.equal((await findHolder(join(folder, 'file'), '/proc'))?.pid, process.pid);
    await handle.close();
    assert.equal(await findHolder(join(folder, 'file'), '/proc'), undefined);
    await rm(folder, { recursive: true });
  });
});
