/**
 * `espd restore --many` with an image that lies in the object store alone: it is fetched once, before the first board. Where
 * it cannot be had whole, no board is touched, neither one that is there nor one that is plugged in meanwhile.
 */

import assert from 'node:assert/strict';
import { mkdir, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, after, before, describe, test } from 'node:test';
import { ERROR_CODES, type ErrorCode } from '../../src/errors.ts';
import { type Fault, FakeS3, type Seen } from '../store/fake-s3.ts';
import {
  Bench,
  type BenchBoard,
  type RunOptions,
  type RunResult,
  assertPlain,
  screenOf,
  until,
} from '../support/cli.ts';
import { startDaemon } from './support.ts';

const ENV = { AWS_ACCESS_KEY_ID: 'writer', AWS_SECRET_ACCESS_KEY: 'writer-secret' };
const MACS = ['50:02:91:00:00:11', '50:02:91:00:00:12'];
const SECTOR = 4096;
const PLUG_IN = 'Plug the next one in';
const WAYS = ['by itself', 'through the daemon'] as const;

interface Made {
  readonly mac: string;
  readonly id: string;
  readonly image: Buffer;
  /** Key of its image in the bucket. */
  readonly object: string;
}

interface Scene {
  readonly bench: Bench;
  /** Two boards' backups, both in the store alone. */
  readonly made: readonly [Made, Made];
  readonly targets: readonly BenchBoard[];
  readonly run: (args: readonly string[], options?: RunOptions) => Promise<RunResult>;
}

const flashOf = ({ board }: BenchBoard) => board.flash.snapshot();
const folderOf = (mac: string) => mac.replaceAll(':', '-');

describe('restore --many of what lies in the object store alone', { timeout: 600_000 }, () => {
  const fake = new FakeS3();
  let endpoint = '';
  before(async () => {
    endpoint = await fake.start();
  });
  after(() => fake.stop());

  const configured = async (t: TestContext) => {
    const bench = await Bench.open(t);
    const file = join(bench.folder, 'credentials');
    const [id, secret] = [ENV.AWS_ACCESS_KEY_ID, ENV.AWS_SECRET_ACCESS_KEY];
    await writeFile(file, `aws_access_key_id = ${id}\naws_secret_access_key = ${secret}\n`, { mode: 0o600 });
    await bench.configure({
      store: { endpoint, bucket: 'boards', encryption: 'none', scan: 'off', credentials: { file } },
      archive: { statePath: join(bench.folder, 'state') },
      log: { format: 'json' },
    });
    return bench;
  };

  const prepared = async (t: TestContext, way: (typeof WAYS)[number]): Promise<Scene> => {
    fake.objects.clear();
    fake.fault = () => undefined;
    fake.hold = () => undefined;
    const maker = await configured(t);
    const made: Made[] = [];
    for (const [index, mac] of MACS.entries()) {
      const source = await maker.addBoard({ family: 'esp8266', mac });
      source.board.flash.erase(0x70000, SECTOR);
      source.board.flash.program(0x70000, Buffer.alloc(SECTOR, `image ${index} `));
      const { stdout, stderr } = await maker.run(['backup', '--port', source.address, '--json']);
      const { backups } = JSON.parse(stdout) as { backups: { id: string }[] };
      const id = backups[0]?.id ?? assert.fail(stderr);
      made.push({ mac, id, image: flashOf(source), object: `${folderOf(mac)}/${id}/flash.bin` });
    }
    assert.equal((await maker.run(['push'])).status, 0);
    const bench = await configured(t);
    assert.equal((await bench.run(['pull'])).status, 0);
    const targets: BenchBoard[] = [];
    for (const mac of ['24:0a:c4:00:00:01', '24:0a:c4:00:00:02']) {
      const content = Buffer.alloc(512 * 1024, `it is ${mac} `);
      targets.push(await maker.addBoard({ family: 'esp8266', mac }, { linked: false, content }));
    }
    const run = way === 'by itself' ? bench.run.bind(bench) : await throughDaemon(t, bench);
    const [first, second] = made;
    assert.ok(first !== undefined && second !== undefined);
    fake.seen.length = 0;
    return { bench, made: [first, second], targets, run };
  };

  const throughDaemon = async (t: TestContext, bench: Bench) => {
    const runtime = join(bench.folder, 'run');
    const home = join(bench.folder, 'nobody');
    await mkdir(runtime);
    await mkdir(home);
    await startDaemon(t, bench, { env: { RUNTIME_DIRECTORY: runtime } });
    const env = { HOME: home, ESPD_SOCKET: join(runtime, 'espd.sock'), ESPD_NO_DAEMON: '', ESPD_CONFIG: '' };
    return (args: readonly string[], options: RunOptions = {}) => bench.run(args, { ...options, env });
  };

  const plugIn = ({ portsPath }: Bench, { board, address }: BenchBoard) =>
    symlink(address, join(portsPath, folderOf(board.mac)));
  const namesOf = async ({ bench }: Scene, { mac }: Made) =>
    (await readdir(join(bench.archivePath, folderOf(mac)))).filter((name) => /^2|draft|partial/.test(name));

  /** Clones on both targets, one plugged in after the other. */
  const cloneAll = async (
    { bench, targets, run }: Scene,
    { mac }: Made,
    more: readonly string[],
    options: RunOptions,
  ) => {
    let said = { stdout: '', stderr: '' };
    const args = ['restore', '--from', mac, '--many', '--yes', '--count', String(targets.length), ...more];
    const running = run(args, { ...options, onOutput: (soFar) => void (said = { ...soFar }) });
    const isJson = more.includes('--json');
    let hasEnded = false;
    void running.finally(() => (hasEnded = true));
    for (const [index, target] of targets.entries()) {
      const isReady = () => {
        assert.ok(!hasEnded, said.stderr + said.stdout);
        if (index > 0) return said.stdout.split('\n').length > index;
        return isJson ? fake.seen.some(({ key }) => key.endsWith('flash.bin')) : said.stderr.includes(PLUG_IN);
      };
      await until(isReady, `time for board ${index + 1}`, 60_000);
      await plugIn(bench, target);
    }
    return running;
  };

  for (const way of WAYS) {
    test(`${way}: it is fetched once, and each board gets it`, async (t) => {
      const scene = await prepared(t, way);
      const [made, other] = scene.made;
      const { status, stdout, stderr } = await cloneAll(scene, made, [], { tty: true, columns: 80 });
      const screen = screenOf(stdout + stderr);
      assert.equal(status, 0, screen);
      assert.equal(stdout.match(/^pass /gm)?.length, 2, stdout);
      assert.match(stdout, /2 passed, 0 failed, 0 skipped/);
      for (const target of scene.targets) assert.ok(flashOf(target).equals(made.image), target.board.mac);
      const gets = fake.seen.filter(({ method, key }) => method === 'GET' && key.endsWith('flash.bin'));
      assert.ok(gets.length > 0 && gets.every(({ key }) => key === made.object));
      assert.deepEqual(await namesOf(scene, made), [made.id]);
      assert.deepEqual((await scene.run(['verify'])).status, 0);
      assert.deepEqual(await namesOf(scene, other).catch(() => []), []);
    });
  }

  interface Ending {
    readonly what: string;
    readonly code: ErrorCode;
    /** What the store answers for the image. */
    readonly fault?: Fault;
    readonly isDamaged?: true;
    readonly isInterrupted?: true;
  }
  const ENDINGS: readonly Ending[] = [
    { what: 'the store answers 503', code: 'store-busy', fault: { status: 503, code: 'SlowDown' } },
    { what: 'the store answers 403', code: 'store-denied', fault: { status: 403, code: 'AccessDenied' } },
    { what: 'the connection is cut in the image', code: 'store-unreachable', fault: 'cut-inside' },
    { what: 'the image is damaged there', code: 'store-damaged', isDamaged: true },
    { what: 'Ctrl-C while it comes', code: 'interrupted', fault: 'hang', isInterrupted: true },
  ];
  for (const way of WAYS) {
    for (const as of way === 'by itself' ? (['text', 'json'] as const) : (['text'] as const)) {
      test(`${way}, ${as}: what cannot be fetched is written on no board, and the next image is`, async (t) => {
        const scene = await prepared(t, way);
        const { bench, run, targets, made } = scene;
        const [bad, good] = made;
        const [target] = targets;
        assert.ok(target !== undefined);
        const before = flashOf(target);
        const stored = fake.objects.get(bad.object) ?? assert.fail();
        for (const { what, code, fault, isDamaged, isInterrupted } of ENDINGS) {
          const ending = new AbortController();
          let isIn = false;
          const isImage = ({ method, key }: Seen) => method === 'GET' && key === bad.object;
          // A person does not wait for the fetch with the first board.
          fake.hold = async (seen) => {
            if (!isImage(seen) || isIn) return;
            isIn = true;
            if (way === 'by itself') await plugIn(bench, target);
          };
          fake.fault = (seen) => {
            if (!isImage(seen)) return undefined;
            if (isInterrupted) ending.abort();
            return fault;
          };
          if (isDamaged) fake.objects.set(bad.object, { ...stored, bytes: Buffer.alloc(stored.bytes.length, 7) });
          const options = { signal: ending.signal, ...(as === 'text' ? { tty: true, columns: 80 } : {}) };
          const many = ['restore', '--from', bad.mac, '--many', '--yes', ...(as === 'json' ? ['--json'] : [])];
          const { status, stdout, stderr } = await run(many, options);
          fake.objects.set(bad.object, stored);
          const said = `${what}:\n${stdout}${stderr}`;
          assert.ok(isIn, said);
          assert.equal(status, ERROR_CODES[code].exit, said);
          assert.ok(!stderr.includes(PLUG_IN), said);
          if (as === 'json') {
            const { error } = JSON.parse(stdout) as { error: { code: string; hint: string } };
            assert.equal(error.code, code, said);
          } else {
            const screen = screenOf(stderr);
            assertPlain(screen);
            const ofError = screen.slice(screen.indexOf('espd:')).split('\n');
            assert.ok(
              ofError.every((line) => line.length < 80),
              screen,
            );
            assert.match(screen, new RegExp(`\\(${code}\\)`));
            if (!isInterrupted) {
              assert.match(
                screen.replaceAll(/\s+/g, ' '),
                new RegExp(`Backup ${bad.id} of ${bad.mac} is not here, and could not be fetched`),
              );
            }
          }
          assert.deepEqual(await namesOf(scene, bad).catch(() => []), [], what);
          await rm(join(bench.portsPath, folderOf(target.board.mac)), { force: true });
          if (way === 'by itself') assert.equal(target.board.resets, 0, what);
          assert.ok(flashOf(target).equals(before), what);
        }
        // The store has refused one object: the others are there.
        const result = await cloneAll({ ...scene, targets: [target] }, good, [], {});
        assert.equal(result.status, 0, result.stderr + result.stdout);
        assert.ok(flashOf(target).equals(good.image));
      });
    }
  }
});
