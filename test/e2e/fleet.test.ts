/**
 * Stations that share a bucket, as their people use them: a board travels, and what one bench knows of it the others know.
 * The store is a real radosgw where there is one, else the fake.
 */

import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, after, before, describe, test } from 'node:test';
import { seededRandom } from '../../src/simulator/index.ts';
import { FakeS3 } from '../store/fake-s3.ts';
import { type RealStore, startRealStore, whyNoRealStore } from '../store/real-store.ts';
import { clientOf } from '../store/support.ts';
import { Bench, type BenchBoard, KIB } from '../support/cli.ts';

const ENV = { AWS_ACCESS_KEY_ID: 'writer', AWS_SECRET_ACCESS_KEY: 'writer-secret' };
const FLASH_BYTES = 512 * KIB;

interface ListDocument {
  readonly boards: readonly { readonly mac: string; readonly label: string | null }[];
}
interface BackupDocument {
  readonly backups: readonly {
    readonly id: string;
    readonly unchanged: boolean;
    readonly transfer: { readonly flashBytesRead: number; readonly explained: Readonly<Record<string, number>> };
  }[];
}

/** A bench with its own archive and state, and the bucket it shares. */
class Station {
  readonly bench: Bench;

  private constructor(bench: Bench) {
    this.bench = bench;
  }

  static async open(t: TestContext, endpoint: string, prefix: string, more: object = {}): Promise<Station> {
    const bench = await Bench.open(t);
    await bench.configure({
      archive: { statePath: join(bench.folder, 'state') },
      store: { endpoint, region: 'us-east-1', bucket: 'boards', prefix, encryption: 'none', ...more },
    });
    return new Station(bench);
  }

  async run(...args: string[]): Promise<string> {
    const { status, stdout, stderr } = await this.bench.run(args, { env: ENV });
    assert.equal(status, 0, `espd ${args.join(' ')}:\n${stdout}${stderr}`);
    return stdout;
  }

  async json<T>(...args: string[]): Promise<T> {
    return JSON.parse(await this.run(...args, '--json')) as T;
  }

  async backUp({ address }: BenchBoard): Promise<BackupDocument['backups'][number]> {
    const [backup] = (await this.json<BackupDocument>('backup', '--port', address)).backups;
    assert.ok(backup !== undefined);
    return backup;
  }

  /** All files of a backup, by name. */
  async files(mac: string, id: string): Promise<Map<string, Buffer>> {
    const folder = join(this.bench.archivePath, mac.replaceAll(':', '-'), id);
    const files = new Map<string, Buffer>();
    for (const name of (await readdir(folder)).sort()) files.set(name, await readFile(join(folder, name)));
    return files;
  }
}

describe('stations with one bucket', { timeout: 600_000 }, () => {
  const why = whyNoRealStore();
  let real: RealStore | undefined;
  let fake: FakeS3 | undefined;
  let endpoint = '';

  before(async () => {
    if (why === undefined) {
      real = await startRealStore();
      endpoint = real.endpoint;
      const client = clientOf(endpoint);
      assert.equal((await client.http.send({ method: 'PUT', key: '', signal: undefined })).status, 200);
      client.close();
    } else {
      process.stderr.write(`test/e2e/fleet.test.ts: with the fake store. ${why}\n`);
      fake = new FakeS3();
      endpoint = await fake.start();
    }
  });
  after(async () => {
    await real?.stop();
    await fake?.stop();
  });

  test('a board travels: its backups, label and pins are known, and it is restored from what another bench read', async (t) => {
    const [berlin, paris] = [await Station.open(t, endpoint, 'travel'), await Station.open(t, endpoint, 'travel')];
    const content = seededRandom(1).bytes(FLASH_BYTES);
    const board = await berlin.bench.addBoard({ family: 'esp32c3', flashSizeBytes: FLASH_BYTES, content });
    const { mac } = board.board;
    const first = await berlin.backUp(board);
    await berlin.run('label', mac, 'kitchen');
    await berlin.run('pin', `kitchen@${first.id}`);
    await berlin.run('push');

    await paris.run('pull');
    const { boards } = await paris.json<ListDocument>('list');
    assert.deepEqual(
      boards.map((each) => [each.mac, each.label]),
      [[mac, 'kitchen']],
    );
    // Somebody has flashed something else meanwhile.
    const other = seededRandom(2).bytes(FLASH_BYTES);
    board.board.flash.erase(0, FLASH_BYTES);
    board.board.flash.program(0, other);
    await paris.run('restore', 'kitchen', '--port', board.address, '--yes');
    assert.ok(board.board.flash.snapshot().equals(content));
    const [here, there] = [await paris.files(mac, first.id), await berlin.files(mac, first.id)];
    assert.deepEqual([...here.keys()], [...there.keys()]);
    for (const [name, bytes] of there) assert.ok(here.get(name)?.equals(bytes), `${name} is what Berlin has`);

    await paris.run('push');
    await berlin.run('pull');
    const history = await berlin.json<{ readonly backups: readonly { readonly id: string }[] }>('show', 'kitchen');
    assert.ok(JSON.stringify(history).includes('before-restore'), 'the snapshot that Paris made is known in Berlin');
  });

  test('what another bench has read is not read again, and what it has is brought', async (t) => {
    const [one, two, three] = [
      await Station.open(t, endpoint, 'reuse'),
      await Station.open(t, endpoint, 'reuse'),
      await Station.open(t, endpoint, 'reuse'),
    ];
    const content = seededRandom(3).bytes(FLASH_BYTES);
    const board = await one.bench.addBoard({ family: 'esp32c3', flashSizeBytes: FLASH_BYTES, content });
    const first = await one.backUp(board);
    await one.run('push');

    await two.run('pull');
    const again = await two.backUp(board);
    assert.equal(again.unchanged, true);
    assert.equal(again.id, first.id);
    assert.equal(again.transfer.flashBytesRead, 0);

    await three.run('pull');
    const sibling = await three.bench.addBoard({
      ...{ family: 'esp32c3', flashSizeBytes: FLASH_BYTES, mac: '50:02:91:00:00:09' },
      content: Buffer.concat([content.subarray(0, FLASH_BYTES - 64 * KIB), seededRandom(4).bytes(64 * KIB)]),
    });
    const made = await three.backUp(sibling);
    assert.equal(made.unchanged, false);
    assert.ok((made.transfer.explained['fleet'] ?? 0) >= 256 * KIB, JSON.stringify(made.transfer));
    await three.run('verify');
  });
});
