/** Two stations, one bucket: what one has backed up, the other fetches and uses as its own. */

import assert from 'node:assert/strict';
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import type { Backup } from '../../src/archive/types.ts';
import { parseMac } from '../../src/mac.ts';
import { FakeS3, serveSuite } from '../store/fake-s3.ts';
import { filesOf, storedOf } from '../replication/pulls.ts';
import { Bench } from '../support/cli.ts';
import type { VerifyDeviceJson } from './documents.ts';
import { systemClock } from '../../src/clock.ts';
import { silentLogger } from '../../src/log.ts';
import { openFleet } from '../../src/replication/open.ts';
import { storeSchema } from '../../src/config/store.ts';

const ENV = { AWS_ACCESS_KEY_ID: 'writer', AWS_SECRET_ACCESS_KEY: 'writer-secret' };
const MAC = parseMac('50:02:91:c3:37:a5') ?? assert.fail();
const SECTOR = 4096;

describe('espd pull, and commands that mean a backup of another station', () => {
  const fake = new FakeS3();
  let endpoint = '';
  serveSuite(fake, (started) => (endpoint = started));

  const bench = async (t: TestContext, store: object | null = {}) => {
    const made = await Bench.open(t);
    await made.configure({
      ...(store === null ? {} : { store: { endpoint, bucket: 'boards', encryption: 'none', ...store } }),
      archive: { statePath: `${made.folder}/state` },
    });
    return made;
  };

  /** What the second station hears of the first one's backups. */
  const hear = async (from: Bench, to: Bench): Promise<Backup[]> => {
    const fleet = openFleet({
      config: storeSchema.parse({ endpoint, bucket: 'boards', encryption: 'none' }),
      ...{ bandwidth: null, statePath: join(from.folder, 'state'), archive: from.archivePath, clock: systemClock },
      ...{ log: silentLogger, env: ENV, random: Math.random },
    });
    const { backups } = await from.archive.history(MAC);
    for (const backup of backups) {
      await to.archive.elsewhere.note(await storedOf({ fleet }, backup));
    }
    fleet.close();
    return [...backups];
  };

  /** A board with two backups of the first station, of which the second one knows by name. */
  const prepared = async (t: TestContext, store: object = {}) => {
    const one = await bench(t, store);
    const { board, address } = await one.addBoard({ family: 'esp8266', mac: MAC });
    const first = board.flash.snapshot();
    await one.run(['backup', '--port', address]);
    board.flash.erase(0x1000, SECTOR);
    board.flash.program(0x1000, Buffer.alloc(SECTOR, 'changed '));
    await one.run(['backup', '--port', address]);
    await one.run(['push'], { env: ENV });
    const two = await bench(t, store);
    const [older, newer] = await hear(one, two);
    assert.ok(older !== undefined && newer !== undefined);
    fake.seen.length = 0;
    return { one, two, board, address, first, older, newer };
  };
  const idsHere = async (made: Bench) =>
    (await readdir(join(made.archivePath, MAC.replaceAll(':', '-')))).filter((name) => name.startsWith('2')).sort();

  test('restore: fetched, said, verified, and written; what the board had is kept here', async (t) => {
    const { two, board, address, first, older, newer } = await prepared(t);
    board.flash.erase(0, 16 * SECTOR);
    const { status, stdout, stderr } = await two.run(['restore', MAC, '--port', address, '--yes'], { env: ENV });
    assert.equal(status, 0, stderr);
    assert.match(
      stderr,
      new RegExp(`Fetching backup ${newer.id} of ${MAC} from the store: [0-9.]+ KB of 512 KB are not here yet\n`),
    );
    assert.match(stdout, /restored: 16 sectors written, whole flash verified by the chip/);
    const restored = board.flash.snapshot();
    assert.equal(restored.subarray(0x1000, 0x1008).toString(), 'changed ');
    const back = await two.run(['restore', `${MAC}@first`, '--port', address, '--yes'], { env: ENV });
    assert.equal(back.status, 0, back.stderr);
    assert.match(back.stderr, new RegExp(`Fetching backup ${older.id} of ${MAC} .*: [0-9.]+ KB of 512 KB`));
    assert.ok(board.flash.snapshot().equals(first));
    const here = await two.archive.resolveBackup(MAC, older.id);
    assert.deepEqual(await filesOf(here.path), await filesOf(older.path));
    assert.equal((await two.run(['verify'])).status, 0);
  });

  test('restore through its label, of one that differs little: only the difference is fetched', async (t) => {
    const { two, address, newer } = await prepared(t);
    await two.run(['label', MAC, 'kitchen']);
    await two.run(['pull', `kitchen@first`], { env: ENV });
    const { status, stderr } = await two.run(['restore', 'kitchen', '--port', address, '--dry-run'], { env: ENV });
    assert.equal(status, 0, stderr);
    assert.match(
      stderr,
      new RegExp(`Fetching backup ${newer.id} of kitchen from the store: 64 KB of 512 KB are not here`),
    );
  });

  test('diff, contents, export and undo mean what lies there, and fetch it', async (t) => {
    const { one, two, board, address, first, older, newer } = await prepared(t);
    const told = async (args: string[], made: Bench) => (await made.run(args, { env: ENV })).stdout;
    assert.equal(await told(['contents', MAC], two), await told(['contents', MAC], one));
    assert.deepEqual(await idsHere(two), [newer.id]);
    assert.equal(await told(['diff', MAC], two), await told(['diff', MAC], one));
    assert.deepEqual(await idsHere(two), [older.id, newer.id]);
    const three = await bench(t);
    await hear(one, three);
    const file = join(three.folder, 'out.bin');
    assert.equal((await three.run(['export', `${MAC}@first`, file], { env: ENV })).status, 0);
    assert.ok((await readFile(file)).equals(await readFile(join(older.path, 'flash.bin'))));
    const undone = await three.run(['undo', MAC, '--port', address, '--yes'], { env: ENV });
    assert.equal(undone.status, 0, undone.stderr);
    assert.ok(board.flash.snapshot().equals(first));
  });

  test('verify --device compares with what the board should hold, wherever that lies', async (t) => {
    const { two, board, address, first, older, newer } = await prepared(t);
    const compare = () => two.runJson<VerifyDeviceJson>(['verify', '--device', '--port', address], { env: ENV });
    const same = await compare();
    assert.equal(same.status, 0, same.stderr);
    const [device] = same.json.devices;
    assert.deepEqual([device?.id, device?.here, device?.matches], [newer.id, false, true]);
    const people = await two.run(['verify', '--device', '--port', address]);
    assert.match(people.stdout, new RegExp(`equals its backup ${newer.id}\n {2}That backup is not here: it lies in`));
    board.flash.erase(0, first.length);
    board.flash.program(0, first);
    const before = await compare();
    assert.equal(before.status, 4, before.stderr);
    assert.deepEqual(before.json.devices[0]?.equals, { mac: MAC, id: older.id });
    board.flash.erase(0x2000, SECTOR);
    const neither = await compare();
    assert.deepEqual([neither.status, neither.json.devices[0]?.equals], [4, null]);
    assert.deepEqual([await idsHere(two), fake.seen], [[], []], 'what is known of it is enough');
  });

  test('verify --device of one that was imported: fetched once it equals the board, for only what is hashed here is confirmed', async (t) => {
    const one = await bench(t);
    const { board, address } = await one.addBoard({ family: 'esp8266', mac: MAC });
    const file = join(one.folder, 'old.bin');
    const content = board.flash.snapshot();
    await writeFile(file, content);
    const imported = await one.run(['import', file, '--mac', MAC]);
    assert.equal(imported.status, 0, imported.stderr);
    assert.equal((await one.run(['push'], { env: ENV })).status, 0);
    const two = await bench(t);
    const [backup] = await hear(one, two);
    assert.ok(backup !== undefined && backup.manifest.confirmed === null);
    const compare = () => two.runJson<VerifyDeviceJson>(['verify', '--device', '--port', address], { env: ENV });
    board.flash.erase(0x2000, SECTOR);
    fake.seen.length = 0;
    const differs = await compare();
    assert.deepEqual([differs.status, fake.seen, await idsHere(two)], [4, [], []]);
    board.flash.program(0x2000, content.subarray(0x2000, 0x2000 + SECTOR));

    fake.keys = new Map();
    const alone = await two.run(['verify', '--device', '--port', address], { env: ENV });
    assert.equal(alone.status, 0, alone.stderr);
    assert.match(alone.stdout, new RegExp(`equals its backup ${backup.id}`));
    assert.match(
      alone.stderr,
      /That the chip of 50:02:91:c3:37:a5 has confirmed its imported backup cannot be noted: /,
    );

    fake.keys = new Map([['writer', 'all']]);
    const noted = await compare();
    assert.equal(noted.status, 0, noted.stderr);
    assert.deepEqual([noted.json.devices[0]?.confirmed, noted.json.devices[0]?.confirmedNow], [true, true]);
    assert.deepEqual(await idsHere(two), [backup.id]);
    const again = await compare();
    assert.deepEqual([again.json.devices[0]?.confirmed, again.json.devices[0]?.confirmedNow], [true, false]);
  });

  test('the store cannot be had: said in one sentence, and which backup is here', async (t) => {
    const { one, two, newer, older } = await prepared(t);
    await two.run(['pull', `${MAC}@first`], { env: ENV });
    fake.keys = new Map();
    for (const args of [
      ['restore', MAC, '--dry-run'],
      ['contents', MAC],
      ['export', MAC, '/nowhere/x.bin'],
    ]) {
      const error = await two.fails(args, 'store-credentials', { env: ENV }).catch((fault: unknown) => {
        if (args[0] === 'export') return { message: '', hint: '' };
        throw fault;
      });
      if (args[0] === 'export') continue;
      assert.match(error.message, new RegExp(`^Backup ${newer.id} of ${MAC} is not here, and could not be fetched: `));
      assert.match(error.hint, new RegExp(`The newest that is here: ${MAC}@${older.id}`));
    }
    const noStore = await bench(t, null);
    await hear(one, noStore);
    const off = await noStore.fails(['restore', MAC, '--dry-run'], 'store-off', { env: ENV });
    assert.match(off.message, /lies in an object store, and the config names none/);
    assert.match(off.hint, /No backup of 50:02:91:c3:37:a5 is here/);
    const other = await bench(t, { prefix: 'other' });
    await hear(one, other);
    await other.fails(['contents', MAC], 'archive-elsewhere', { env: ENV });
  });

  test('pull: by name, dry, all; what is here is not fetched again', async (t) => {
    const { one, two, older, newer } = await prepared(t);
    const dry = await two.run(['pull', MAC, '--dry-run'], { env: ENV });
    assert.match(dry.stdout, /^Not here yet: 1 backup; at most [0-9.]+ KB to fetch from boards at /);
    assert.match(
      dry.stdout,
      new RegExp(`\n {2}${MAC} {2}${newer.id} {2}by bench-one: [0-9.]+ KB of 512 KB are not here`),
    );
    assert.equal(fake.seen.length, 0, 'what would be fetched is known without asking');
    const json = await two.runJson<PullJson>(['pull', MAC, `${MAC}@${newer.id}`], { env: ENV });
    assert.equal(json.status, 0, json.stderr);
    assert.deepEqual(
      json.json.pulled.map(({ mac, id }) => ({ mac, id })),
      [{ mac: MAC, id: newer.id }],
    );
    assert.ok((json.json.pulled[0]?.fetchedBytes ?? 0) > 0);
    assert.deepEqual([json.json.here, json.json.failures], [[], []]);
    assert.equal((await two.run(['pull', MAC], { env: ENV })).stdout, `${MAC}  ${newer.id} is here\n`);
    const all = await two.run(['pull', '--all'], { env: ENV });
    assert.match(
      all.stdout,
      new RegExp(`^${MAC} {2}${older.id} {2}[0-9.]+ KB fetched, [0-9.]+ KB were here already\n$`),
    );
    assert.equal((await two.run(['pull', '--all'], { env: ENV })).stdout, 'All 2 backups are here\n');
    for (const { id } of [older, newer]) {
      const [a, b] = await Promise.all([one, two].map((made) => made.archive.resolveBackup(MAC, id)));
      assert.deepEqual(await filesOf(a?.path ?? ''), await filesOf(b?.path ?? ''));
    }
  });

  test('pull: one that is damaged there is named, and the others come', async (t) => {
    const { two, older, newer } = await prepared(t);
    const key = `${MAC.replaceAll(':', '-')}/${older.id}/flash.bin`;
    const wrong = Buffer.from(fake.objects.get(key)?.bytes ?? '');
    wrong.writeUInt8(wrong.readUInt8(0x1010) ^ 1, 0x1010);
    fake.objects.set(key, { bytes: wrong, etag: '0'.repeat(32) });
    const { status, stdout } = await two.run(['pull', MAC, '--all'], { env: ENV });
    assert.equal(status, 4);
    assert.match(stdout, new RegExp(`FAILED {2}${MAC} ${older.id}: .* damaged: flash.bin at 0x0`));
    assert.match(stdout, /\n1 backup fetched, 1 not\n$/);
    assert.deepEqual(await idsHere(two), [newer.id]);
  });

  test('pull: what does not go together', async (t) => {
    const { two } = await prepared(t);
    await two.fails(['pull', '--all', `${MAC}@first`], 'usage', { env: ENV });
    await two.fails(['pull', `${MAC}@2001-01-01`], 'archive-unknown-backup', { env: ENV });
    await two.fails(['pull', 'garage'], 'archive-unknown-board', { env: ENV });
  });
});

interface PullJson {
  readonly store: string;
  readonly pulled: readonly { mac: string; id: string; fetchedBytes: number; reusedBytes: number }[];
  readonly here: readonly { mac: string; id: string }[];
  readonly failures: readonly unknown[];
}
