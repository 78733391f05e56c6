/**
 * Commands about the object store that a daemon does for a person: their texts, documents, exit statuses and deeds are those of
 * the same commands without it, also for somebody who may read neither archive, state, keys nor credentials.
 */

import assert from 'node:assert/strict';
import { chmod, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, describe, test } from 'node:test';
import { MAC, backUp, image } from '../archive/support.ts';
import { EspdProcess } from '../e2e/support.ts';
import { FakeS3 } from '../store/fake-s3.ts';
import { Bench, type RunOptions, type RunResult, checkError, screenOf } from '../support/cli.ts';
import { type RelayServer, startRelayServer } from '../support/relay-server.ts';

const DAYS = [1, 2, 3, 4, 5] as const;
const id = (day: number) => `2020-10-0${day}T10-00-00Z`;
const content = (day: number) => image(4000, day);

interface Scene {
  readonly bench: Bench;
  readonly fake: FakeS3;
  readonly server: RelayServer;
  /** Files and folders that the service alone may read. */
  readonly secret: readonly string[];
  readonly direct: (args: readonly string[], options?: RunOptions) => Promise<RunResult>;
  readonly relayed: (args: readonly string[], options?: RunOptions) => Promise<RunResult>;
}

/** Five backups of a board, not in the store yet; credentials and key lie in files. */
async function sceneOf(t: TestContext): Promise<Scene> {
  const fake = new FakeS3();
  fake.quirks.objectLock = true;
  const endpoint = await fake.start();
  t.after(() => fake.stop());
  const bench = await Bench.open(t);
  const service = join(bench.folder, 'service');
  const [credentials, key, statePath] = [join(service, 'credentials'), join(service, 'key'), join(service, 'state')];
  await mkdir(service, { mode: 0o700 });
  await writeFile(credentials, 'aws_access_key_id = writer\naws_secret_access_key = writer-secret\n', { mode: 0o600 });
  await writeFile(key, `${'6f'.repeat(32)}\n`, { mode: 0o600 });
  for (const day of DAYS) await backUp(bench.archive, content(day), `2020-10-0${day}T10:00:00.000Z`);
  await bench.configure({
    archive: { statePath, local: 'newest 2' },
    store: {
      ...{ endpoint, bucket: 'boards', credentials: { file: credentials }, encryption: { file: key }, lock: 'pins' },
      ...{ retention: { keepLast: 3 }, grace: '1d' },
    },
  });
  await mkdir(join(bench.folder, '.config/espd'), { recursive: true });
  await symlink(bench.configPath, join(bench.folder, '.config/espd/config.yaml'));
  const server = await startRelayServer(t, bench);
  const runWith =
    (env: NodeJS.ProcessEnv) =>
    (args: readonly string[], more: RunOptions = {}) =>
      bench.run(args, { ...more, env: { ESPD_CONFIG: '', ...env, ...more.env } });
  return {
    ...{ bench, fake, server, secret: [service, bench.archivePath] },
    direct: runWith({}),
    relayed: runWith(server.env),
  };
}

/** What differs from one run, and from one station, to the next. */
function masked(text: string): string {
  return text
    .replace(/20(?!20)\d\d-\d\d-\d\dT[\d:.]+Z/g, 'DATE')
    .replace(/127\.0\.0\.1:\d+/g, 'ADDRESS')
    .replace(/[A-Za-z0-9_-]{1,63}-[0-9a-f]{12}/g, 'STATION')
    .replace(/(probes\/STATION\/)[0-9a-f]{24}/g, '$1OBJECT')
    .replace(/espd-cli-\w+/g, 'BENCH')
    .replace(/"leftSeconds": \d+/g, '"leftSeconds": N');
}

const shown = ({ status, stdout, stderr }: RunResult) => ({
  status,
  stdout: masked(screenOf(stdout)),
  stderr: masked(screenOf(stderr)),
});

const TERMINAL: RunOptions = { tty: true, columns: 100 };

/** As disks do: under the ETag that it had. */
function rot(fake: FakeS3, key: string): void {
  const stored = fake.objects.get(key) ?? assert.fail(key);
  const bytes = Buffer.from(stored.bytes);
  bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
  fake.objects.set(key, { ...stored, bytes });
}

const imageOf = (fake: FakeS3, day: number) =>
  fake.names.find((name) => name.endsWith(`${id(day)}/flash.bin.enc`)) ?? assert.fail(`no image of day ${day}`);

describe('commands about the object store that the daemon does', { concurrency: 3, timeout: 900_000 }, () => {
  test('looking: what the command says by itself, in text and JSON, sound or not', async (t) => {
    const { fake, server, direct, relayed } = await sceneOf(t);
    let sessions = 0;
    const compare = async (args: readonly string[], status: number) => {
      for (const [all, how] of [
        [args, TERMINAL],
        [[...args, '--json'], {}],
      ] as const) {
        const [a, b] = [await direct(all, how), await relayed(all, how)];
        assert.equal(a.status, status, `espd ${all.join(' ')}\n${a.stdout}${a.stderr}`);
        assert.deepEqual(shown(b), shown(a), all.join(' '));
        sessions++;
      }
    };
    await compare(['push', '--dry-run'], 0);
    assert.equal((await direct(['push'])).status, 0);
    await compare(['push', '--dry-run'], 0);
    await compare(['push'], 0);
    await compare(['pull'], 0);
    await compare(['pull', '--scan'], 0);
    await compare(['pull', '--all', '--dry-run'], 0);
    await compare(['pull', '--all', '--scan'], 2);
    await compare(['pull', `${MAC}@2019-01-01`], 3);
    for (const more of [['--dry-run'], [], ['--newest'], ['--sample', '40%']]) {
      await compare(['verify', '--store', ...more], 0);
    }
    await compare(['verify', '--store', '--continue'], 2);
    await compare(['prune', '--store', '--dry-run'], 0);
    await compare(['prune', '--local', '--dry-run'], 0);
    rot(fake, imageOf(fake, 3));
    await compare(['verify', '--store', MAC], 4);
    fake.keys = new Map();
    await compare(['verify', '--store'], 1);
    await compare(['push', '--probe'], 1);
    await compare(['pull'], 1);
    assert.equal(server.logged.length, sessions, 'the daemon did them');
  });

  test('deeds: pushed, pinned and held, repaired, released, fetched, announced, as without it', async (t) => {
    const [one, two] = [await sceneOf(t), await sceneOf(t)];
    const both = async (args: readonly string[], status: number) => {
      const how = args.includes('--json') ? {} : TERMINAL;
      const [a, b] = [await one.direct(args, how), await two.relayed(args, how)];
      assert.equal(a.status, status, `espd ${args.join(' ')}\n${a.stdout}${a.stderr}`);
      assert.deepEqual(shown(b), shown(a), args.join(' '));
      const names = ({ fake }: Scene) => fake.names.map(masked);
      assert.deepEqual(names(two), names(one), args.join(' '));
      const held = ({ fake }: Scene) => fake.names.filter((name) => fake.objects.get(name)?.isHeld).map(masked);
      assert.deepEqual(held(two), held(one), args.join(' '));
      const here = ({ bench }: Scene) => bench.archive.backupIds(MAC);
      assert.deepEqual(await here(two), await here(one), args.join(' '));
    };
    await both(['push'], 0);
    await both(['pin', `${MAC}@${id(2)}`], 0);
    await both(['push'], 0);
    assert.ok(two.fake.objects.get(imageOf(two.fake, 2))?.isHeld);
    await both(['unpin', `${MAC}@${id(2)}`], 0);
    await both(['push', '--json'], 0);
    assert.ok(!two.fake.objects.get(imageOf(two.fake, 2))?.isHeld);
    for (const { fake } of [one, two]) {
      rot(fake, imageOf(fake, 1));
      rot(fake, imageOf(fake, 3));
    }
    await both(['prune', '--local', '--json'], 5);
    await both(['prune', '--local', '--yes'], 4);
    await both(['verify', '--store', '--json'], 4);
    await both(['verify', '--store', '--repair'], 0);
    await both(['prune', '--local', '--yes', '--json'], 0);
    assert.deepEqual(await two.bench.archive.backupIds(MAC), [4, 5].map(id));
    await both(['pull', `${MAC}@first`], 0);
    const file = join(two.bench.archivePath, MAC.replaceAll(':', '-'), id(1), 'flash.bin');
    assert.ok((await readFile(file)).equals(content(1)));
    await both(['prune', '--store', '--yes'], 0);
    await both(['verify', '--store'], 0);
  });

  test('a person who may read neither archive, state, key nor credentials: all of it works; without the daemon a clear sentence', async (t) => {
    if (process.getuid?.() !== 0) {
      t.skip('SKIPPED: not root, so the service would be closed out of its files as well');
      return;
    }
    const { bench, fake, server, secret } = await sceneOf(t);
    for (const path of secret) await chmod(path, 0o000);
    const run = async (args: readonly string[], env: NodeJS.ProcessEnv = {}) => {
      const person = new EspdProcess(t, bench, args, {
        env: { ESPD_NO_DAEMON: '', ESPD_SOCKET: server.socketPath, ESPD_CONFIG: '', HOME: '/nonexistent', ...env },
        isBoundByPermissions: true,
      });
      return { status: await person.status(), stdout: person.stdout, stderr: person.stderr };
    };
    const says = async (args: readonly string[], status: number, what: RegExp) => {
      const result = await run(args);
      assert.equal(result.status, status, `espd ${args.join(' ')}\n${result.stdout}${result.stderr}`);
      assert.match(result.stdout.replaceAll(/\s+/g, ' '), what, args.join(' '));
    };
    await says(['push'], 0, /5 backups pushed: complete in the object store/);
    await says(['pin', `${MAC}@${id(2)}`], 0, /pinned/i);
    await says(['push'], 0, /Every backup is in the object store/);
    assert.ok(fake.objects.get(imageOf(fake, 2))?.isHeld);
    await says(['verify', '--store', '--json'], 0, /"checked": 5/);
    rot(fake, imageOf(fake, 1));
    await says(['verify', '--store'], 4, /DAMAGED .*flash\.bin\.enc/);
    await says(['verify', '--store', '--repair'], 0, /REPAIRED/);
    await says(['prune', '--local', '--yes'], 0, /2 local copies removed/);
    await says(['pull', `${MAC}@first`], 0, /./);
    await says(['pull', '--scan'], 0, /./);
    await says(['unpin', `${MAC}@${id(2)}`], 0, /./);

    const named = { ESPD_CONFIG: bench.configPath, ESPD_SOCKET: undefined };
    for (const args of [['push'], ['verify', '--store'], ['pull'], ['pin', `${MAC}@${id(2)}`]]) {
      const alone = await run([...args, '--no-daemon'], named);
      checkError(alone, args[0] === 'pull' ? 'archive-unwritable' : 'archive-unreadable');
      assert.doesNotMatch(alone.stderr, /\n\s+at /, args.join(' '));
    }
    await chmod(bench.archivePath, 0o755);
    const closed = await run(['verify', '--store', '--no-daemon'], named);
    assert.notEqual(closed.status, 0);
    assert.match(closed.stderr, /\(store-(?:credentials|key)\)|\(archive-unreadable\)/);
    for (const path of secret) await chmod(path, 0o700);
  });
});
