import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, test } from 'node:test';
import { systemClock } from '../../src/clock.ts';
import { checkStore, judgeTransport } from '../../src/doctor/store.ts';
import type { Subject } from '../../src/doctor/subject.ts';
import { EspdError } from '../../src/errors.ts';
import { FakeS3 } from '../store/fake-s3.ts';
import { Bench } from '../support/cli.ts';
import { factsOf, said } from './subject.ts';

const find = async (check: Subject['checkStore'], clock = systemClock) =>
  said(await checkStore(factsOf({}, { checkStore: check, clock })));
const fail = (error: Error) => () => Promise.reject(error);

describe('the object store', () => {
  test('without one in the config nothing is said of it', async () => {
    assert.deepEqual(await find(null), []);
  });

  test('good, wanting, out of order, not to be seen by this user, too slow', async () => {
    const facts = { place: 'boards at s3', troubles: [], instead: null, noLocks: null, unheard: [] };
    assert.deepEqual(await find(() => Promise.resolve(facts)), [
      'ok store: The object store does what it should: boards at s3',
    ]);
    assert.deepEqual(await find(() => Promise.resolve({ ...facts, unheard: ['bench7 is silent'] })), [
      'ok store: The object store does what it should: boards at s3',
      'note store: bench7 is silent',
    ]);
    const noLocks = 'the bucket has no object lock';
    assert.deepEqual(await find(() => Promise.resolve({ ...facts, noLocks })), [
      'ok store: The object store does what it should: boards at s3',
      'problem store: store.lock is "pins": the bucket has no object lock',
    ]);
    const wanting = { ...facts, troubles: ['it lies'], instead: 'each has its own' };
    assert.deepEqual(await find(() => Promise.resolve(wanting)), [
      'note store: The object store (boards at s3): it lies',
    ]);
    assert.deepEqual(await find(fail(new EspdError('store-missing', 'No bucket', { hint: 'Make it' }))), [
      'problem store: No bucket',
    ]);
    const denied = Object.assign(new Error('no'), { code: 'EACCES' });
    const [line = ''] = await find(fail(new EspdError('store-credentials', '/k may not be read', { cause: denied })));
    assert.match(line, /^note store: .*cannot be checked/);
    const at = { ...systemClock, schedule: (_: number, call: () => void) => (setImmediate(call), () => undefined) };
    const hangs = (signal: AbortSignal) =>
      new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(new Error('late'))));
    assert.match((await find(hangs, at))[0] ?? '', /^note store: .*more than 12 s/);
  });

  test('http is for this machine alone; what goes over a network is told, with what is in it', () => {
    for (const endpoint of ['https://s3.example', 'http://localhost:9000', 'http://127.0.0.2:1', 'http://[::1]:9000']) {
      assert.deepEqual(judgeTransport({ endpoint, encryption: 'none' }), [], endpoint);
    }
    for (const endpoint of [
      'http://s3.example',
      'http://10.0.0.2:9000',
      'http://[fd00::1]',
      'http://localhost.example',
    ]) {
      const [finding, ...more] = judgeTransport({ endpoint, encryption: 'none' });
      assert.deepEqual([finding?.status, more], ['note', []], endpoint);
      assert.match(finding?.detail ?? '', /Wi-Fi passwords/);
    }
    const [encrypted] = judgeTransport({ endpoint: 'http://s3.example', encryption: { file: '/k' } });
    assert.match(encrypted?.detail ?? '', /Images are encrypted/);
  });

  test('a page for a browser in the place of the store: that is said, and not what S3 it lacks', async (t) => {
    const server = createServer((_, response) => {
      response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end('<html>Log in</html>');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(() => server.close());
    const bench = await Bench.open(t);
    const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    await bench.configure({ store: { endpoint, bucket: 'boards', encryption: 'none' } });
    const env = { AWS_ACCESS_KEY_ID: 'writer', AWS_SECRET_ACCESS_KEY: 'writer-secret' };
    const { stdout } = await bench.run(['doctor'], { env });
    assert.match(stdout.replaceAll(/\s+/g, ' '), /answers with a page for a browser/);
  });

  test('espd doctor tests a real one, leaves nothing there and writes no state', async (t) => {
    const fake = new FakeS3();
    const endpoint = await fake.start();
    t.after(() => fake.stop());
    const bench = await Bench.open(t);
    await bench.configure({ store: { endpoint, bucket: 'boards', encryption: 'none' } });
    const env = { AWS_ACCESS_KEY_ID: 'writer', AWS_SECRET_ACCESS_KEY: 'writer-secret' };
    const checkOf = async () => {
      const { stdout } = await bench.run(['doctor', '--json'], { env });
      const { checks } = JSON.parse(stdout) as { checks: { id: string; status: string; title: string }[] };
      return checks.filter(({ id }) => id === 'store').map(({ status, title }) => `${status} ${title}`);
    };
    assert.match((await checkOf())[0] ?? '', /^ok The object store does what it should/);
    assert.equal(fake.objects.size, 0);
    fake.quirks = { ignoresConditions: true };
    assert.match((await checkOf())[0] ?? '', /^note .*ignores their conditions/);
    fake.bucket = 'other';
    assert.match((await checkOf())[0] ?? '', /^problem .*no bucket of this name/);
  });
});
