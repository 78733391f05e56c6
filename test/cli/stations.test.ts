/** `espd stations`: who uses the store, and the way out where one of them is gone for ever. */

import assert from 'node:assert/strict';
import { type TestContext, describe, test } from 'node:test';
import { encodeSegment } from '../../src/replication/journal/segment.ts';
import { goneName, segmentName } from '../../src/replication/journal/names.ts';
import { backUp, image } from '../archive/support.ts';
import { FakeS3, serveSuite } from '../store/fake-s3.ts';
import { Bench } from '../support/cli.ts';

const ENV = { AWS_ACCESS_KEY_ID: 'writer', AWS_SECRET_ACCESS_KEY: 'writer-secret' };
const GONE = 'bench9-0123456789ab';
const DAY_MS = 86_400_000;

describe('espd stations', () => {
  const fake = new FakeS3();
  let endpoint = '';
  serveSuite(fake, (started) => (endpoint = started));

  async function bench(t: TestContext) {
    const made = await Bench.open(t);
    const store = { endpoint, bucket: 'boards', encryption: 'none', retention: { keepLast: 1 }, grace: '2d' };
    await made.configure({ store, archive: { statePath: `${made.folder}/state` } });
    const run = (...args: string[]) => made.run(args, { env: ENV });
    return {
      archive: made.archive,
      run,
      fails: async (args: string[], pattern: RegExp) => {
        const { status, stderr } = await run(...args);
        assert.notEqual(status, 0);
        assert.match(stderr.replaceAll(/\s+/g, ' '), pattern);
      },
    };
  }
  /** Segment 1 of a station is lost, and 2 is there; written so long ago. */
  const lose = (station = GONE, days = 5) => {
    const at = new Date(Date.now() - days * DAY_MS);
    const bytes = encodeSegment({ station, seq: 2, at: at.toISOString() }, []);
    fake.objects.set(segmentName(station, 2), { bytes, etag: 'none', atMs: at.getTime() });
  };

  test('the whole way: blocked, told of, given up, pruned again, taken back', async (t) => {
    const { run, fails, archive } = await bench(t);
    for (let day = 1; day <= 4; day++) await backUp(archive, image(4000, day), `2020-10-0${day}T10:00:00.000Z`);
    assert.equal((await run('push')).status, 0);
    lose();
    const blocked = await run('prune', '--store', '--yes');
    assert.equal(blocked.status, 0, blocked.stderr);
    assert.match(blocked.stderr, new RegExp(`If it is gone for ever: espd stations --gone ${GONE}`));
    assert.ok(!fake.names.some((name) => name.startsWith('removals/')));

    const listed = await run('stations');
    assert.match(listed.stdout, /^This station is \S+-[0-9a-f]{12}$/m);
    assert.match(
      listed.stdout,
      new RegExp(`^${GONE} +\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d UTC +1 segment cannot be read$`, 'm'),
    );

    const dry = await run('stations', '--gone', 'bench9', '--dry-run');
    assert.equal(dry.status, 0, dry.stderr);
    assert.match(dry.stdout, /Every backup that lies in the object store now stays there, since it may be pinned/);
    await fails(['stations', '--gone', 'bench9'], /\(declined\)/);
    assert.ok(!fake.names.includes(goneName(GONE)));

    const said = await run('stations', '--gone', 'bench9', '--yes', '--json');
    assert.deepEqual(JSON.parse(said.stdout), {
      ...{ station: GONE, segments: [{ from: 1, to: 1 }], keepsBackups: true, said: true },
    });
    assert.match((await run('stations')).stdout, /gone; 1 segment given up at \d{4}/);
    assert.match((await run('stations', '--gone', GONE, '--yes')).stdout, /was given up at .* by /);
    const kept = await run('prune', '--store', '--yes', '--json');
    const { steps, backups } = JSON.parse(kept.stdout) as {
      steps: unknown[];
      backups: { stays: boolean; reasons: { code: string }[] }[];
    };
    assert.deepEqual([steps, backups.filter(({ stays }) => stays).length], [[], 4]);
    assert.ok(backups[1]?.reasons.some(({ code }) => code === 'maybe-pinned'));

    const given = await run('stations', '--gone', GONE, '--give-up-pins', '--yes');
    assert.match(given.stdout, /Pins that only these segments tell of are lost/);
    assert.match((await run('prune', '--store', '--yes')).stdout, /^2 removals announced, 0 backups removed$/m);

    assert.match((await run('stations', '--back', GONE)).stdout, /is not gone\. What cannot be read/);
    assert.match((await run('stations', '--back', GONE)).stdout, /Nobody has given/);
    fake.quirks.aheadMs = 3 * DAY_MS;
    assert.match((await run('prune', '--store', '--yes')).stderr, /espd stations --gone/);
    assert.equal(fake.names.filter((name) => name.endsWith('SHA256SUMS')).length, 4, 'and nothing went');
  });

  test('who was heard lately is not gone; of whom all was read nothing needs to be said', async (t) => {
    const { run, fails } = await bench(t);
    lose(GONE, 1);
    await fails(
      ['stations', '--gone', GONE, '--yes'],
      /was heard at .*, so it is not gone .*espd pull --scan.* \(usage\)|\(usage\)/,
    );
    assert.ok(!fake.names.includes(goneName(GONE)));
    const at = new Date(Date.now() - 5 * DAY_MS);
    const bytes = encodeSegment({ station: GONE, seq: 1, at: at.toISOString() }, []);
    fake.objects.set(segmentName(GONE, 1), { bytes, etag: 'none', atMs: at.getTime() });
    const { status, stdout } = await run('stations', '--gone', GONE, '--yes');
    assert.equal(status, 0);
    assert.match(stdout, /nothing needs to be said of it/);
    assert.ok(!fake.names.includes(goneName(GONE)));
  });

  test('names: unknown, of several, of the station itself, of a terminal', async (t) => {
    const { run, fails } = await bench(t);
    assert.equal((await run('pull')).status, 0);
    assert.match((await run('stations')).stdout, /No other one is known; espd pull asks the object store/);
    await fails(['stations', '--gone', 'x\x1b[2J'], /No station is called x\S*\[2J/);
    lose();
    lose('bench9-ba9876543210');
    await fails(
      ['stations', '--gone', 'bench9'],
      /bench9 means several stations.*bench9-0123456789ab, bench9-ba9876543210/,
    );
    const { station } = JSON.parse((await run('stations', '--json')).stdout) as { station: string };
    await fails(['stations', '--gone', station], /is this station itself/);
    for (const args of [['--gone', 'a', '--back', 'b'], ['--give-up-pins'], ['--dry-run']]) {
      await fails(['stations', ...args], /\(usage\)/);
    }
  });

  test('credentials that may not write: said, and nothing is given up here either', async (t) => {
    const { run, fails } = await bench(t);
    lose();
    assert.equal((await run('pull')).status, 0);
    fake.fault = ({ method, key }) =>
      method === 'PUT' && key === goneName(GONE) ? { status: 403, code: 'AccessDenied' } : undefined;
    await fails(['stations', '--gone', GONE, '--yes'], /\(store-denied\)/);
    assert.match((await run('stations')).stdout, /1 segment cannot be read/);
  });
});
