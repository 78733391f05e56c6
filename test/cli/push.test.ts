import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Bench } from '../support/cli.ts';
import { FakeS3, serveSuite } from '../store/fake-s3.ts';

const ENV = { AWS_ACCESS_KEY_ID: 'writer', AWS_SECRET_ACCESS_KEY: 'writer-secret' };

describe('espd push', () => {
  const fake = new FakeS3();
  let endpoint = '';
  serveSuite(fake, (started) => (endpoint = started));

  const bench = async (t: Parameters<typeof Bench.open>[0], store: object = {}) => {
    const made = await Bench.open(t);
    await made.configure({
      store: { endpoint, bucket: 'boards', encryption: 'none', ...store },
      archive: { statePath: `${made.folder}/state` },
    });
    return made;
  };

  test('a config without a store: said, with what to do, and nothing is asked', async (t) => {
    const made = await Bench.open(t);
    const { status, stderr } = await made.run(['push'], { env: ENV });
    assert.equal(status, 2);
    assert.match(stderr, /store-off/);
    assert.match(stderr, /config\.example\.yaml/);
  });

  test('encryption must be said, and a word too many is a word too many', async (t) => {
    const made = await Bench.open(t);
    await made.configure({ store: { endpoint, bucket: 'boards' } });
    assert.match((await made.run(['push'])).stderr, /store\.encryption.*none/s);
    await made.configure({ store: { endpoint: 'ftp://x', bucket: 'boards', encryption: 'none' } });
    assert.match((await made.run(['push'])).stderr, /store\.endpoint wants a URL/);
    await made.configure({ store: { endpoint, bucket: 'boards', encryption: 'none', speed: 1 } });
    assert.equal((await made.run(['push'])).status, 2);
  });

  test('what waits, then all of it, then nothing', async (t) => {
    const made = await bench(t);
    const { board } = await made.addBoard({ family: 'esp8266' });
    await made.run(['backup']);
    const waiting = await made.run(['push', '--dry-run'], { env: ENV });
    assert.match(waiting.stdout, /Not in the object store yet \(boards at [^)]*\): 1 backup\n {2}[0-9a-f:]{17} {2}20/);
    assert.equal(fake.objects.size, 0);
    const pushed = await made.run(['push'], { env: ENV });
    assert.equal(pushed.status, 0, pushed.stderr);
    assert.match(pushed.stdout, /^1 backup pushed: complete in the object store, boards at /);
    assert.equal(fake.names.filter((name) => name.startsWith(board.mac.replaceAll(':', '-'))).length, 3);
    const again = await made.run(['push', board.mac], { env: ENV });
    assert.match(again.stdout, /^Every backup is in the object store/);
    const json = JSON.parse((await made.run(['push', '--dry-run', '--json'], { env: ENV })).stdout) as {
      waiting: unknown[];
      facts: { conditions: string; instead: string | null };
    };
    assert.deepEqual([json.waiting, json.facts.conditions, json.facts.instead], [[], 'honoured', null]);
  });

  test('a store that ignores conditions is named, and what is done about it', async (t) => {
    fake.quirks = { ignoresConditions: true };
    const made = await bench(t);
    await made.addBoard({ family: 'esp8266' });
    await made.run(['backup']);
    const { status, stderr } = await made.run(['push'], { env: ENV });
    assert.equal(status, 0);
    assert.match(stderr, /accepts conditional writes and ignores their conditions/);
    assert.match(stderr, /folder of its own, stations/);
    assert.ok(fake.names.every((name) => /^(?:stations|journal)\//.test(name)));
    // It was mended: asked again, and the shared names are used.
    fake.quirks = {};
    assert.doesNotMatch((await made.run(['push', '--probe'], { env: ENV })).stderr, /conditional/);
  });

  test('the daemon copies what it has backed up, and what was there before', async (t) => {
    const made = await bench(t);
    const before = await made.addBoard({ family: 'esp8266' });
    await made.run(['backup']);
    await before.served.close();
    const now = await made.addBoard({ family: 'esp32' });
    const stop = new AbortController();
    const wanted = [before, now].map(({ board }) => board.mac.replaceAll(':', '-'));
    fake.fault = () => {
      const complete = fake.names.filter((name) => name.endsWith('/SHA256SUMS'));
      if (wanted.every((mac) => complete.some((name) => name.startsWith(mac)))) stop.abort();
      return undefined;
    };
    t.after(() => (fake.fault = () => undefined));
    const { stderr } = await made.run(['daemon'], { env: ENV, signal: stop.signal });
    assert.ok(stop.signal.aborted, stderr);
    assert.match(stderr, /In the object store/);
    assert.equal(fake.names.filter((name) => name.endsWith('/SHA256SUMS')).length, 2);
  });

  test('faults: the code, the hint, the exit status; JSON has them', async (t) => {
    const made = await bench(t);
    await made.addBoard({ family: 'esp8266' });
    await made.run(['backup']);
    const none = await made.run(['push'], { env: { AWS_ACCESS_KEY_ID: '' } });
    assert.equal(none.status, 1);
    assert.match(none.stderr, /store-credentials/);
    fake.keys.set('writer', 'read');
    const { status, stdout } = await made.run(['push', '--json'], { env: ENV });
    const json = JSON.parse(stdout) as { error: { code: string; hint: string }; pushed: unknown[] };
    assert.deepEqual([status, json.error.code, json.pushed], [1, 'store-denied', []]);
    assert.doesNotMatch(stdout, /writer-secret/);
    assert.equal((await made.run(['push', 'nobody'], { env: ENV })).status, 3);
    assert.equal((await made.run(['push', '--now'], { env: ENV })).status, 2);
  });
});
