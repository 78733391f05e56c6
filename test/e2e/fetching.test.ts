/**
 * Every command that means a backup which lies in the object store alone fetches it: by itself, and through a real daemon
 * for somebody who knows nothing but its socket: no config, no archive, no credentials.
 */

import assert from 'node:assert/strict';
import { chmod, mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, after, before, describe, test } from 'node:test';
import { ERROR_CODES, type ErrorCode } from '../../src/errors.ts';
import { FakeS3 } from '../store/fake-s3.ts';
import { Bench, type BenchBoard, type RunResult } from '../support/cli.ts';
import { startDaemon } from './support.ts';

const ENV = { AWS_ACCESS_KEY_ID: 'writer', AWS_SECRET_ACCESS_KEY: 'writer-secret' };
const SECTOR = 4096;
const CHANGED_AT = 0x1000;
const folderOf = ({ board }: BenchBoard) => board.mac.replaceAll(':', '-');

interface Scene {
  readonly bench: Bench;
  readonly file: string;
  readonly credentials: string;
  readonly board: BenchBoard;
  readonly other: BenchBoard;
  readonly older: string;
  readonly newer: string;
  /** What each backup holds. */
  readonly first: Buffer;
  readonly second: Buffer;
}

interface Case {
  readonly what: string;
  readonly args: (scene: Scene) => string[];
  /** Ids of the board that are here afterwards, of those that were in the store alone. */
  readonly fetches: (scene: Scene) => string[];
  readonly check?: (scene: Scene, result: RunResult) => unknown;
}

const flashOf = ({ board }: BenchBoard) => board.flash.snapshot();

const CASES: readonly Case[] = [
  { what: 'show', args: ({ board }) => ['show', board.board.mac], fetches: () => [] },
  { what: 'contents', args: ({ board }) => ['contents', board.board.mac], fetches: ({ newer }) => [newer] },
  {
    what: 'diff of the last two',
    args: ({ board }) => ['diff', board.board.mac],
    fetches: ({ older, newer }) => [older, newer],
    check: (_, { stdout }) => assert.match(stdout, /1 of 128 sectors differ/),
  },
  {
    what: 'export',
    args: ({ board, file }) => ['export', `${board.board.mac}@first`, file],
    fetches: ({ older }) => [older],
    check: async ({ file, first }) => assert.ok((await readFile(file)).equals(first)),
  },
  {
    what: 'pull of all',
    args: ({ board }) => ['pull', '--all', board.board.mac],
    fetches: ({ older, newer }) => [older, newer],
  },
  {
    what: 'restore, only looked at',
    args: ({ board }) => ['restore', board.board.mac, '--port', board.address, '--dry-run'],
    fetches: ({ newer }) => [newer],
  },
  {
    what: 'restore',
    args: ({ board, older }) => ['restore', `${board.board.mac}@${older}`, '--port', board.address, '--yes'],
    fetches: ({ older }) => [older],
    check: ({ board, first }) => assert.ok(flashOf(board).equals(first)),
  },
  {
    what: 'restore on another board',
    args: ({ board, other }) => {
      const [from, to] = [board.board.mac, other.board.mac];
      return ['restore', '--from', from, '--to', to, '--port', other.address, '--yes'];
    },
    fetches: ({ newer }) => [newer],
    check: ({ other, second }) => assert.ok(flashOf(other).equals(second)),
  },
];

describe('commands that mean what lies in the object store alone', { timeout: 600_000 }, () => {
  const fake = new FakeS3();
  let endpoint = '';
  before(async () => {
    endpoint = await fake.start();
  });
  after(() => fake.stop());

  const configured = async (t: TestContext) => {
    const bench = await Bench.open(t);
    const credentials = join(bench.folder, 'credentials');
    const [id, secret] = [ENV.AWS_ACCESS_KEY_ID, ENV.AWS_SECRET_ACCESS_KEY];
    await writeFile(credentials, `aws_access_key_id = ${id}\naws_secret_access_key = ${secret}\n`, { mode: 0o600 });
    await bench.configure({
      // A scan of the daemon's would notice what a test takes away there, and then the backup before is the latest.
      store: { endpoint, bucket: 'boards', encryption: 'none', scan: 'off', credentials: { file: credentials } },
      archive: { statePath: join(bench.folder, 'state') },
      log: { format: 'json' },
    });
    return { bench, credentials };
  };
  const idsHere = async ({ bench, board }: Pick<Scene, 'bench' | 'board'>) => {
    const names = await readdir(join(bench.archivePath, folderOf(board)));
    return names.filter((name) => name.startsWith('2')).toSorted();
  };

  /** A station that knows both backups of another one's board, and has none of them. */
  const prepared = async (t: TestContext): Promise<Scene> => {
    fake.objects.clear();
    const { bench: maker } = await configured(t);
    const board = await maker.addBoard({ family: 'esp8266' });
    const backUp = async () => {
      const { stdout, stderr } = await maker.run(['backup', '--port', board.address, '--json']);
      const { backups } = JSON.parse(stdout) as { backups: { id: string }[] };
      return backups[0]?.id ?? assert.fail(stderr);
    };
    const first = flashOf(board);
    const older = await backUp();
    board.board.flash.erase(CHANGED_AT, SECTOR);
    board.board.flash.program(CHANGED_AT, Buffer.alloc(SECTOR, 'changed '));
    const second = flashOf(board);
    const newer = await backUp();
    assert.equal((await maker.run(['push'])).status, 0);
    const { bench, credentials } = await configured(t);
    const other = await maker.addBoard({ family: 'esp8266', mac: '50:02:91:00:00:07' });
    assert.equal((await bench.run(['pull'])).status, 0);
    const file = join(bench.folder, 'exported.bin');
    return { ...{ bench, board, other, older, newer, first, second, file, credentials } };
  };

  const throughDaemon = async (t: TestContext, { bench }: Scene) => {
    const runtime = join(bench.folder, 'run');
    const home = join(bench.folder, 'nobody');
    await mkdir(runtime);
    await mkdir(home);
    await startDaemon(t, bench, { env: { RUNTIME_DIRECTORY: runtime } });
    const env = { HOME: home, ESPD_SOCKET: join(runtime, 'espd.sock'), ESPD_NO_DAEMON: '', ESPD_CONFIG: '' };
    return (args: string[]) => bench.run(args, { env });
  };

  for (const way of ['by itself', 'through the daemon'] as const) {
    test(`${way}: each fetches what it needs, and no more`, async (t) => {
      const scene = await prepared(t);
      const { bench, board, other, first, second } = scene;
      const run = way === 'by itself' ? (args: string[]) => bench.run(args) : await throughDaemon(t, scene);
      for (const { what, args, fetches, check } of CASES) {
        // As if it had never been here, and with boards that hold what no backup has.
        for (const id of await idsHere(scene)) {
          await rm(join(bench.archivePath, folderOf(board), id), { recursive: true });
        }
        for (const each of [board, other]) {
          each.board.flash.erase(0, 4 * SECTOR);
          assert.ok(![first, second].some((bytes) => flashOf(each).equals(bytes)));
        }
        const result = await run(args(scene));
        assert.equal(result.status, 0, `${what}:\n${result.stdout}${result.stderr}`);
        const here = await idsHere(scene);
        const fromStore = here.filter((id) => [scene.older, scene.newer].includes(id));
        assert.deepEqual(fromStore, fetches(scene), what);
        await check?.(scene, result);
      }
      for (const id of await idsHere(scene)) {
        await rm(join(bench.archivePath, folderOf(board), id), { recursive: true });
      }
      const none = await run(['verify', '--mac', board.board.mac]);
      assert.equal(none.status, ERROR_CODES['archive-elsewhere'].exit, none.stdout + none.stderr);
      assert.match(none.stderr, /No backup of .* is here: its 2 backups lie in the object store alone/);
      const verified = await run(['verify']);
      assert.equal(verified.status, 0, verified.stdout + verified.stderr);
    });
  }

  interface Fault {
    readonly what: string;
    readonly code: ErrorCode;
    readonly hint: RegExp;
    readonly make: (scene: Scene) => unknown;
  }
  const objectOf = ({ board, newer }: Scene, name: string) => `${folderOf(board)}/${newer}/${name}`;
  const FAULTS: readonly Fault[] = [
    {
      what: 'no credentials',
      code: 'store-credentials',
      hint: /mode 600/,
      make: ({ credentials }) => rm(credentials),
    },
    {
      what: 'credentials that others may read',
      code: 'store-credentials',
      hint: /chmod 600/,
      make: async ({ credentials }) => {
        await writeFile(credentials, 'aws_access_key_id = writer\naws_secret_access_key = writer-secret\n');
        await chmod(credentials, 0o644);
      },
    },
    {
      what: 'an image that is damaged there',
      code: 'store-damaged',
      hint: /It is not used/,
      make: async (scene) => {
        await chmod(scene.credentials, 0o600);
        const object = fake.objects.get(objectOf(scene, 'flash.bin')) ?? assert.fail();
        fake.objects.set(objectOf(scene, 'flash.bin'), { ...object, bytes: Buffer.alloc(object.bytes.length, 7) });
      },
    },
    {
      what: 'a backup that was removed there meanwhile',
      code: 'store-unknown-backup',
      hint: /espd pull looks again/,
      make: (scene) => fake.objects.delete(objectOf(scene, 'SHA256SUMS')),
    },
  ];
  for (const way of ['by itself', 'through the daemon'] as const) {
    test(`${way}: what cannot be fetched is said, nothing is left, and no board is touched`, async (t) => {
      const scene = await prepared(t);
      const { bench, board, file } = scene;
      const run = way === 'by itself' ? (args: string[]) => bench.run(args) : await throughDaemon(t, scene);
      board.board.flash.erase(0, 4 * SECTOR);
      const before = flashOf(board);
      const { mac } = board.board;
      for (const { what, code, hint, make } of FAULTS) {
        await make(scene);
        for (const args of [
          ['contents', mac],
          ['export', mac, file],
          ['restore', mac, '--port', board.address, '--yes'],
        ]) {
          const { status, stderr } = await run(args);
          const said = `${what}, ${args.join(' ')}:\n${stderr}`;
          assert.equal(status, ERROR_CODES[code].exit, said);
          assert.match(
            stderr,
            new RegExp(`Backup ${scene.newer} of ${mac} is not here, and could not be fetched`),
            said,
          );
          assert.match(stderr, new RegExp(`\\(${code}\\)`), said);
          assert.match(stderr, hint, said);
          assert.match(stderr, new RegExp(`No backup of ${mac} is here`), said);
        }
        assert.deepEqual(await idsHere(scene), [], what);
      }
      assert.ok(flashOf(board).equals(before));
      await assert.rejects(readFile(file), { code: 'ENOENT' });
      const names = await readdir(join(bench.archivePath, folderOf(board)));
      assert.deepEqual(
        names.filter((name) => name.includes('draft') || name.includes('partial')),
        [],
      );
    });
  }
});
