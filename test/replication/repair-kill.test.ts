/**
 * `espd verify --store --repair` ended by SIGKILL at each of its requests, and run again; and what is read back of images that
 * are packed with zstd.
 */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, describe, test } from 'node:test';
import { releaseLocal } from '../../src/replication/local/release.ts';
import { FOLDER, MAC, backUp, image } from '../archive/support.ts';
import { withZstd } from '../archive/zstd-backup.ts';
import { FakeS3, type Seen, serveSuite } from '../store/fake-s3.ts';
import { Bench } from '../support/cli.ts';
import { MAIN } from '../support/relay-server.ts';
import { keyFile } from './pulls.ts';
import { hurriedClock, never, station } from './support.ts';
import { repairAt, verifyAt } from './verifies.ts';

const ENV = { AWS_ACCESS_KEY_ID: 'writer', AWS_SECRET_ACCESS_KEY: 'writer-secret' };
const id = (day: number) => `2020-10-0${day}T10-00-00Z`;
const BIG = 6 * 1024 * 1024;

function flipped(bytes: Buffer): Buffer {
  const other = Buffer.from(bytes);
  other[other.length >> 1] = (other[other.length >> 1] ?? 0) ^ 1;
  return other;
}

/** A process of its own; resolves to its exit status, null where a signal has ended it. */
function repair(bench: Bench): { readonly kill: () => Promise<void>; readonly status: Promise<number | null> } {
  const { PATH, TMPDIR } = process.env;
  const child = spawn(process.execPath, [MAIN, 'verify', '--store', '--repair'], {
    env: { PATH, TMPDIR, HOME: bench.folder, ESPD_CONFIG: bench.configPath, ESPD_NO_DAEMON: '1', ...ENV },
    stdio: 'ignore',
  });
  const status = new Promise<number | null>((resolve) => child.once('exit', resolve));
  const kill = async () => {
    child.kill('SIGKILL');
    await status;
  };
  return { kill, status };
}

describe('--repair, killed', { timeout: 600_000 }, () => {
  for (const when of ['before', 'after'] as const) {
    test(`${when} each of its writes: nothing but what was damaged has changed, and the next run ends it`, async (t: TestContext) => {
      const fake = new FakeS3();
      const endpoint = await fake.start();
      t.after(() => fake.stop());
      const bench = await Bench.open(t);
      await bench.configure({
        archive: { statePath: join(bench.folder, 'state') },
        store: { endpoint, bucket: 'boards', encryption: 'none' },
      });
      const sizes = new Map([
        [1, 50_000],
        [2, BIG],
        [3, 3000],
      ]);
      for (const [day, size] of sizes) await backUp(bench.archive, image(size, day), `2020-10-0${day}T10:00:00.000Z`);
      assert.equal((await bench.run(['push'], { env: ENV })).status, 0);
      const sound = new Map(fake.objects);
      // A manifest, an image in parts, and SHA256SUMS; the third backup is sound.
      const harmed = [`${id(1)}/manifest.json`, `${id(2)}/flash.bin`, `${id(2)}/SHA256SUMS`].map(
        (name) => `${FOLDER}/${name}`,
      );
      const harm = () => {
        for (const [name, stored] of sound) fake.objects.set(name, stored);
        for (const name of harmed) {
          const { bytes } = sound.get(name) ?? assert.fail(name);
          fake.replace(name, flipped(bytes));
        }
      };
      const isWrite = ({ method, key }: Seen) => method !== 'GET' && method !== 'HEAD' && !key.startsWith('probes/');
      let kills = 0;
      for (let last = 1; ; last++) {
        harm();
        let count = 0;
        const running = repair(bench);
        fake.hold = (seen) => {
          if (!isWrite(seen) || ++count !== last) return undefined;
          const killed = running.kill();
          return when === 'after' ? killed : killed.then(() => new Promise<void>(() => undefined));
        };
        const status = await running.status;
        if (status !== null) {
          assert.equal(status, 0);
          assert.ok(count < last);
          break;
        }
        kills++;
        // The request that was sent before the process ended is done by then.
        fake.hold = () => undefined;
        for (const [name, { bytes }] of sound) {
          const now = fake.objects.get(name)?.bytes ?? assert.fail(`${name} is gone`);
          const isDamaged = harmed.includes(name) && now.equals(flipped(bytes));
          assert.ok(isDamaged || now.equals(bytes), `${name}, killed at write ${last}`);
        }
        for (const day of sizes.keys()) assert.deepEqual(await bench.archive.verifyBackup(MAC, id(day)), []);
        assert.equal(await repair(bench).status, 0, `after a kill at write ${last}`);
        for (const [name, { bytes }] of sound) assert.ok(fake.objects.get(name)?.bytes.equals(bytes), name);
      }
      assert.ok(kills >= 5, `${kills} kills: a manifest, the begin, two parts and the end of an upload, SHA256SUMS`);
      for (const [name, { bytes }] of sound) assert.ok(fake.objects.get(name)?.bytes.equals(bytes), name);
    });
  }
});

describe('an image packed with zstd, in the store', () => {
  const fake = new FakeS3();
  let endpoint = '';
  serveSuite(fake, (at) => (endpoint = at));

  for (const encryption of ['plain', 'encrypted'] as const) {
    test(`${encryption}: read back as sound; damaged, cut off or missing it is found, mended, and its copy here stays until then`, async (t) => {
      const here = await station(t, endpoint, encryption === 'plain' ? {} : await keyFile(t));
      const backup = await withZstd(here.archive);
      await here.keep(image(5000, 5), { createdAt: '2026-11-24T10:00:00.000Z' });
      await here.pushAll();
      await here.write();
      const file = encryption === 'plain' ? 'flash.bin.zst' : 'flash.bin.zst.enc';
      const key = `${FOLDER}/${backup.id}/${file}`;
      const stored = fake.objects.get(key) ?? assert.fail(fake.names.join('\n'));
      assert.deepEqual((await verifyAt(here)).problems, []);
      const release = async () => {
        const bucket = await here.fleet.openToRead();
        const parts = { archive: here.archive, bucket, station: await here.fleet.state.station() };
        const report = await releaseLocal(
          { ...parts, clock: hurriedClock, bandwidth: null, signal: never },
          { kind: 'newest', count: 1 },
        );
        return report.released.map((each) => each.id);
      };
      const local = await readFile(join(backup.path, 'flash.bin.zst'));
      for (const bytes of [flipped(stored.bytes), stored.bytes.subarray(0, -5), Buffer.alloc(0), null]) {
        // Rot changes no ETag.
        if (bytes === null) fake.objects.delete(key);
        else fake.objects.set(key, { ...stored, bytes });
        const { problems } = await verifyAt(here);
        assert.deepEqual([...new Set(problems.map((each) => each.file))], [file], String(bytes?.length));
        assert.deepEqual(await release(), [], String(bytes?.length));
        assert.ok((await readFile(join(backup.path, 'flash.bin.zst'))).equals(local));
        const [problem] = problems;
        assert.deepEqual(await repairAt(here, problem ?? assert.fail()), [file]);
        assert.ok(fake.objects.get(key)?.bytes.equals(stored.bytes));
      }
      assert.deepEqual((await verifyAt(here)).problems, []);
      assert.deepEqual(await release(), [backup.id]);
    });
  }
});
