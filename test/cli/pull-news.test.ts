/** `espd pull`: what two benches hear of each other, as people and programs are told. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { segmentName } from '../../src/replication/journal/names.ts';
import { FakeS3, serveSuite } from '../store/fake-s3.ts';
import { Bench } from '../support/cli.ts';

const ENV = { AWS_ACCESS_KEY_ID: 'writer', AWS_SECRET_ACCESS_KEY: 'writer-secret' };

describe('espd pull', () => {
  const fake = new FakeS3();
  let endpoint = '';
  serveSuite(fake, (started) => (endpoint = started));

  const bench = async (t: Parameters<typeof Bench.open>[0]) => {
    const made = await Bench.open(t);
    const store = { endpoint, bucket: 'boards', encryption: 'none' };
    await made.configure({ store, archive: { statePath: `${made.folder}/state` } });
    return made;
  };
  const pull = (made: Bench, ...options: string[]) => made.run(['pull', ...options], { env: ENV });

  test('what another bench has pushed and labelled, then nothing new, as text and as JSON', async (t) => {
    const [here, there] = [await bench(t), await bench(t)];
    const { board } = await there.addBoard({ family: 'esp8266' });
    await there.run(['backup']);
    await there.run(['label', board.mac, 'kitchen']);
    await there.run(['push'], { env: ENV });

    const heard = await pull(here);
    assert.equal(heard.status, 0, heard.stderr);
    assert.match(heard.stdout, /^New of 1 board, by \S+-[0-9a-f]{12}: 1 backup; 1 line of labels/);
    assert.match(heard.stdout, /The journal of one other station was last read at \d{4}-/);
    const again = await pull(here);
    assert.match(again.stdout, /^Nothing new of other stations in the object store, boards at /);
    const json = JSON.parse((await pull(here, '--json', '--scan')).stdout) as {
      news: { backups: number; troubles: unknown[] };
      scan: { backups: number; found: unknown[] };
      stations: { name: string; heardAt: string }[];
    };
    assert.deepEqual([json.news.backups, json.news.troubles, json.scan.backups, json.scan.found], [0, [], 1, []]);
    assert.equal(json.stations.length, 1);
  });

  test('--scan finds what no journal tells of; a journal that cannot be read is said; nothing of that is a failure', async (t) => {
    const [here, there] = [await bench(t), await bench(t)];
    await there.addBoard({ family: 'esp8266' });
    await there.run(['backup']);
    await there.run(['push'], { env: ENV });
    const [name = ''] = fake.names.filter((each) => each.startsWith('journal/'));
    fake.objects.set(name, { bytes: Buffer.from('\x1b[2Jx'), etag: '' });
    fake.objects.set('notes.txt', { bytes: Buffer.from('x'), etag: '' });
    const found = await pull(here, '--scan');
    assert.equal(found.status, 0, found.stderr);
    assert.match(found.stdout, /1 complete backup in the object store\nNot known before: 1\n {2}[0-9a-f:]{17} {2}20/);
    assert.match(found.stdout, /Not of espd: 1 object, such as notes\.txt/);
    assert.match(found.stderr, /Segment 1 of the journal of .* is damaged/);
  });

  test('without a store, and with one that is away: by the code, and in JSON', async (t) => {
    const without = await Bench.open(t);
    assert.match((await without.run(['pull'], { env: ENV })).stderr, /store-off/);
    const made = await bench(t);
    assert.equal((await pull(made)).status, 0);
    fake.objects.set(segmentName('bench9-0123456789ab', 1), { bytes: Buffer.from('x'), etag: '' });
    fake.fault = () => ({ status: 403, code: 'AccessDenied' });
    const failed = await pull(made, '--json');
    assert.equal(failed.status, 1);
    assert.match(failed.stdout, /"code": ?"store-denied"/);
  });
});
