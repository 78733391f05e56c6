/** A pin stood in a segment of a journal that was changed in the bucket: retention waits until its station has said it again. */

import assert from 'node:assert/strict';
import { mkdir, rm } from 'node:fs/promises';
import { type TestContext, describe, test } from 'node:test';
import { MAC, OTHER_MAC, T0, backUp, image } from '../archive/support.ts';
import { FakeS3, serveSuite } from '../store/fake-s3.ts';
import { Bench } from '../support/cli.ts';

const ENV = { AWS_ACCESS_KEY_ID: 'writer', AWS_SECRET_ACCESS_KEY: 'writer-secret' };
const DAY_MS = 86_400_000;
const id = (day: number) => `2020-10-0${day}T10-00-00Z`;

describe('prune --store of another station', () => {
  const fake = new FakeS3();
  let endpoint = '';
  serveSuite(fake, (started) => (endpoint = started));

  async function bench(t: TestContext) {
    const made = await Bench.open(t);
    const store = { endpoint, bucket: 'boards', encryption: 'none', retention: { keepLast: 1 }, grace: '2d' };
    await made.configure({ store, archive: { statePath: `${made.folder}/state` } });
    const run = async (...args: string[]) => {
      const { status, stdout, stderr } = await made.run(args, { env: ENV });
      assert.equal(status, 0, stderr);
      return { stdout, stderr };
    };
    return { archive: made.archive, run };
  }
  const complete = () => fake.names.flatMap((name) => /^[^/]+\/([^/]+)\/SHA256SUMS$/.exec(name)?.[1] ?? []).sort();
  const segments = () => fake.names.filter((name) => name.startsWith('journal/'));

  for (const [what, spoil] of [
    ['cut in its last line', (text: string) => text.slice(0, -15)],
    ['cut at the end of a line', (text: string) => text.replace(/\n[^\n]*\n$/, '\n')],
    ['without its last line feed', (text: string) => text.slice(0, -1)],
    ['with a line that is none', (text: string) => text.replace('{"kind":"mark"', '{"kinx":"mark"')],
    ['with another backup in its line', (text: string) => text.replaceAll(id(3), id(4))],
    [
      'with a pin that is taken back',
      (text: string) => text.replace(`"id":"${id(3)}"`, `"pinned":false,"id":"${id(3)}"`),
    ],
    [
      'as it was before it had a digest, cut',
      (text: string) => text.replace(/,"sha256":"[0-9a-f]{64}"\}\n/, '}\n').slice(0, -15),
    ],
  ] as const) {
    test(`${what}: nothing goes, it is told, and the pin holds in the end`, async (t) => {
      fake.quirks.aheadMs = 0;
      const one = await bench(t);
      for (let day = 1; day <= 5; day++) await backUp(one.archive, image(4000, day), `2020-10-0${day}T10:00:00.000Z`);
      await one.run('push');
      const other = await bench(t);
      await backUp(other.archive, image(4000, 9), T0, OTHER_MAC);
      await other.run('prune', '--store', '--yes');
      assert.equal(fake.names.filter((name) => name.startsWith('removals/')).length, 3);

      const before = segments();
      await one.run('pin', `${MAC}@${id(3)}`);
      await one.run('push');
      const [pinned = '', ...more] = segments().filter((name) => !before.includes(name));
      assert.deepEqual(more, []);
      assert.match(fake.text(pinned), new RegExp(`"pins.jsonl".*${id(3)}`));
      const spoilt = spoil(fake.text(pinned));
      assert.notEqual(spoilt, fake.text(pinned));
      fake.replace(pinned, Buffer.from(spoilt));

      fake.quirks.aheadMs = 3 * DAY_MS;
      for (const look of ['first', 'second']) {
        const { stdout, stderr } = await other.run('prune', '--store', '--yes');
        assert.match((stdout + stderr).replaceAll(/\s+/g, ' '), /Segment \d+ of the journal of \S+ is damaged/, look);
        assert.equal(complete().length, 5, look);
      }

      await one.run('pull', '--scan');
      const { stderr } = await other.run('prune', '--store', '--yes');
      assert.doesNotMatch(stderr, /damaged/);
      assert.deepEqual(complete(), [id(1), id(3), id(5)]);
      assert.ok((await other.archive.marks.of(MAC)).pins.some((pin) => pin.id === id(3)));
    });
  }

  test('of the station itself, whose archive is lost: nothing goes, a scan makes it no better, and a person may give it up', async (t) => {
    fake.quirks.aheadMs = 0;
    const one = await bench(t);
    for (let day = 1; day <= 5; day++) await backUp(one.archive, image(4000, day), `2020-10-0${day}T10:00:00.000Z`);
    await one.run('push');
    await one.run('prune', '--store', '--yes');
    const before = segments();
    await one.run('pin', `${MAC}@${id(3)}`);
    await one.run('push');
    const [pinned = ''] = segments().filter((name) => !before.includes(name));
    assert.match(fake.text(pinned), new RegExp(`"pins.jsonl".*${id(3)}`));
    fake.replace(pinned, Buffer.from(fake.text(pinned).slice(0, -15)));
    await rm(one.archive.root, { recursive: true });
    await mkdir(one.archive.root);

    fake.quirks.aheadMs = 3 * DAY_MS;
    const told = /Segment \d+ of the journal of (\S+) is damaged/;
    let station = '';
    for (const look of ['first', 'scanned', 'once more']) {
      const { stdout, stderr } = await one.run('prune', '--store', '--yes');
      station = told.exec((stdout + stderr).replaceAll(/\s+/g, ' '))?.[1] ?? assert.fail(stdout + stderr);
      assert.match(stderr, new RegExp(`espd .*stations --gone ${station}`));
      assert.equal(complete().length, 5, look);
      await one.run('pull', '--scan');
    }
    assert.match(
      (await one.run('stations')).stdout,
      new RegExp(`^${station} +this one +1 segment cannot be read$`, 'm'),
    );
    await one.run('stations', '--gone', station, '--yes');
    assert.doesNotMatch((await one.run('prune', '--store', '--yes')).stderr, told);
    assert.equal(complete().length, 5, 'any of them may be the pinned one');
  });
});
