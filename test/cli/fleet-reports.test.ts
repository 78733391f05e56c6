/** Commands of the fleet that end in the middle, by the store or by Ctrl-C, tell before that what they have done. */

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { MAC, OTHER_MAC, T0, backUp, image } from '../archive/support.ts';
import { FakeS3 } from '../store/fake-s3.ts';
import { Bench, parseJson } from '../support/cli.ts';

const at = (day: number) => `2020-10-0${day}T10:00:00.000Z`;
const id = (day: number) => `2020-10-0${day}T10-00-00Z`;
const folderOf = (day: number) => `50-02-91-c3-37-a5/${id(day)}/`;
const DAYS = [1, 2, 3, 4, 5, 6];

interface Report {
  readonly removed: readonly { readonly id: string }[];
  readonly pushed: readonly { readonly id: string }[];
  readonly pulled: readonly { readonly id: string }[];
  readonly done: readonly { readonly id: string }[];
  readonly repaired: readonly { readonly id: string }[];
  readonly error: { readonly code: string };
}

async function station(t: TestContext, endpoint: string) {
  const bench = await Bench.open(t);
  await bench.configure({
    store: { endpoint, bucket: 'boards', encryption: 'none', retention: { keepLast: 1 }, grace: '2d' },
    archive: { statePath: `${bench.folder}/state`, local: 'newest 1' },
  });
  const env = { AWS_ACCESS_KEY_ID: 'writer', AWS_SECRET_ACCESS_KEY: 'writer-secret' };
  const run = (args: readonly string[], signal?: AbortSignal) =>
    bench.run([...args], { env, ...(signal === undefined ? {} : { signal }) });
  return {
    archive: bench.archive,
    run,
    well: async (...args: string[]) => {
      const { status, stderr } = await run(args);
      assert.equal(status, 0, stderr);
    },
  };
}

async function scene(t: TestContext) {
  const fake = new FakeS3();
  const endpoint = await fake.start();
  t.after(() => fake.stop());
  const one = await station(t, endpoint);
  for (const day of DAYS) await backUp(one.archive, image(4000, day), at(day));
  return { fake, ...one, second: () => station(t, endpoint) };
}

/** From the first request that `isMeant` on, all are cut; or the command gets Ctrl-C there. */
function ending(fake: FakeS3, how: 'cut' | 'ctrl-c', isMeant: (key: string, method: string) => boolean): AbortSignal {
  const stop = new AbortController();
  let isOver = false;
  fake.fault = ({ key, method }) => {
    isOver ||= isMeant(key, method);
    if (!isOver) return undefined;
    if (how === 'cut') return 'cut-before';
    stop.abort();
    return 'hang';
  };
  return stop.signal;
}

for (const how of ['cut', 'ctrl-c'] as const) {
  const ended = how === 'cut' ? 'store-unreachable' : 'interrupted';
  const status = how === 'cut' ? 1 : 130;

  test(`push (${how})`, { timeout: 120_000 }, async (t) => {
    const { fake, run } = await scene(t);
    const signal = ending(fake, how, (key) => key.startsWith(folderOf(3)));
    const result = await run(['push', '--json'], signal);
    const { pushed, error } = JSON.parse(result.stdout) as Report;
    assert.deepEqual([result.status, pushed.map((each) => each.id), error.code], [status, [1, 2].map(id), ended]);
  });

  test(`prune --local (${how})`, { timeout: 120_000 }, async (t) => {
    const { fake, archive, run, well } = await scene(t);
    await well('push');
    const end = () => ending(fake, how, (key) => key.startsWith(folderOf(3)));
    const result = await run(['prune', '--local', '--yes', '--json'], end());
    const { removed, error } = JSON.parse(result.stdout) as Report;
    assert.deepEqual([result.status, removed.map((each) => each.id), error.code], [status, [1, 2].map(id), ended]);
    assert.deepEqual(await archive.backupIds(MAC), [3, 4, 5, 6].map(id));
    const text = await run(['prune', '--local', '--yes'], end());
    assert.match(text.stdout, /^0 local copies removed/m);
    assert.match(text.stderr, new RegExp(`\\(${ended}\\)`));
  });

  test(`pull --all (${how})`, { timeout: 120_000 }, async (t) => {
    const { fake, well, second } = await scene(t);
    await well('push');
    const other = await second();
    await backUp(other.archive, image(1000, 30), T0, OTHER_MAC);
    await other.well('pull');
    const result = await other.run(
      ['pull', '--all', '--json'],
      ending(fake, how, (key) => key.startsWith(folderOf(3))),
    );
    const { pulled, error } = JSON.parse(result.stdout) as Report;
    assert.deepEqual([result.status, pulled.map((each) => each.id), error.code], [status, [1, 2].map(id), ended]);
    assert.deepEqual(await other.archive.backupIds(MAC), [1, 2].map(id));
  });

  test(`prune --store (${how})`, { timeout: 120_000 }, async (t) => {
    const { fake, archive, run, well } = await scene(t);
    await well('push');
    await well('prune', '--store', '--yes');
    await backUp(archive, image(4000, 7), at(7));
    await well('push');
    fake.quirks.aheadMs = 3 * 86_400_000;
    // That of day 6 is announced before those of before are removed.
    const signal = ending(fake, how, (key, method) => method === 'DELETE' && key.endsWith('/SHA256SUMS'));
    const result = await run(['prune', '--store', '--yes', '--json'], signal);
    const { done, error } = JSON.parse(result.stdout) as Report;
    assert.deepEqual([result.status, done.map((each) => each.id), error.code], [status, [id(6)], ended]);
  });

  test(`verify --store --repair (${how})`, { timeout: 120_000 }, async (t) => {
    const { fake, run, well } = await scene(t);
    await well('push');
    for (const day of [2, 4]) {
      const key = `${folderOf(day)}flash.bin`;
      const there = fake.objects.get(key) ?? assert.fail();
      fake.objects.set(key, { ...there, bytes: Buffer.alloc(there.bytes.length) });
    }
    const isSecond = (key: string, method: string) => method === 'PUT' && key.startsWith(folderOf(4));
    const result = await run(['verify', '--store', '--repair', '--json'], ending(fake, how, isSecond));
    const { repaired, error } = JSON.parse(result.stdout) as Report;
    assert.deepEqual(
      [result.status, repaired.map((each) => each.id), error.code],
      how === 'cut' ? [4, [id(2)], 'store-damaged'] : [status, [id(2)], ended],
    );
  });
}

test('pull --scan (ctrl-c): what the journals have told is noted, and told', { timeout: 120_000 }, async (t) => {
  for (const as of [['--json'], []]) {
    const { fake, well, second } = await scene(t);
    await well('push');
    const other = await second();
    const stop = new AbortController();
    fake.fault = ({ method, key, query }) => {
      const isScan = method === 'GET' && key === '' && query.get('prefix') === '';
      if (!isScan) return undefined;
      stop.abort();
      return 'hang';
    };
    const { status, stdout, stderr } = await other.run(['pull', '--scan', ...as], stop.signal);
    assert.equal(status, 130, stdout + stderr);
    if (as.length === 0) {
      assert.match(stdout, /^New of 1 board, by .*: 6 backups/m);
      assert.match(stderr, /\(interrupted\)/);
    } else {
      const { news, error } = parseJson<{ news: { backups: number }; error: { code: string } }>(stdout);
      assert.deepEqual([news.backups, error.code], [DAYS.length, 'interrupted']);
    }
    assert.equal((await other.archive.elsewhere.of(MAC)).length, DAYS.length);
  }
});

test('prune of the archive (ctrl-c): what is gone is told', { timeout: 120_000 }, async (t) => {
  const bench = await Bench.open(t);
  const made = 80;
  for (let minute = 0; minute < made; minute++) {
    await backUp(bench.archive, image(1000, minute), new Date(Date.UTC(2020, 9, 1, 10, minute)).toISOString());
  }
  const stop = new AbortController();
  const { status, stdout, stderr } = await bench.run(['prune', '--keep-last', '1', '--yes'], {
    signal: stop.signal,
    tty: true,
    // A group of them goes together, before the signal is looked at again.
    onOutput: ({ stderr: said }) => {
      if (said.includes('Removing: 1 of')) stop.abort();
    },
  });
  const left = (await bench.archive.backupIds(MAC)).length;
  assert.equal(status, 130, stderr);
  assert.ok(left > 2 && left < made, String(left));
  assert.match(stdout, new RegExp(`^${made - left} backups removed, [\\d.]+ [KM]B freed$`, 'm'));
  assert.match(stderr, /\(interrupted\)/);
});

for (const as of ['--json', 'text']) {
  test(`verify --store (ctrl-c, ${as}): the damage found until then is told`, { timeout: 120_000 }, async (t) => {
    const { fake, run, well } = await scene(t);
    await well('push');
    // Three are read at once: where the sixth is begun, one of the first three has been judged.
    for (const day of [1, 2, 3]) {
      const key = `${folderOf(day)}flash.bin`;
      const there = fake.objects.get(key) ?? assert.fail();
      fake.objects.set(key, { ...there, bytes: Buffer.alloc(there.bytes.length) });
    }
    const stop = ending(fake, 'ctrl-c', (key) => key.startsWith(folderOf(6)));
    const args = ['verify', '--store', '--repair', ...(as === 'text' ? [] : [as])];
    const { status, stdout, stderr } = await run(args, stop);
    assert.equal(status, 130, stdout + stderr);
    if (as === 'text') {
      assert.match(stdout, /^DAMAGED {2}50-02-91-c3-37-a5\/2020-10-0[123]T10-00-00Z\/flash\.bin: /m);
      assert.match(stdout, /^[1-5] of 6 backups in the object store verified until it was interrupted$/m);
      assert.match(stderr, /^To go on with it: espd .*verify --store --continue$/m);
      assert.match(stderr, /\(interrupted\)/);
      return;
    }
    const report = parseJson<Report & { damaged: { id: string }[]; checked: number; ok: boolean }>(stdout);
    const [first] = report.damaged;
    assert.ok(first !== undefined && [1, 2, 3].map(id).includes(first.id), stdout);
    assert.deepEqual([report.error.code, report.ok, report.repaired], ['interrupted', false, []]);
    assert.ok(report.checked < DAYS.length);
  });
}

test('verify (ctrl-c): the damage found until then is told', { timeout: 120_000 }, async (t) => {
  const bench = await Bench.open(t);
  for (const day of DAYS) await backUp(bench.archive, image(4000, day), at(day));
  await writeFile(join(bench.archive.root, folderOf(1), 'flash.bin'), Buffer.alloc(4000));
  const stop = new AbortController();
  const { status, stdout, stderr } = await bench.run(['verify'], {
    signal: stop.signal,
    tty: true,
    onOutput: ({ stderr: said }) => {
      if (said.includes(`Verifying ${MAC} ${id(3)}`)) stop.abort();
    },
  });
  assert.equal(status, 130, stdout + stderr);
  assert.match(stdout, /^DAMAGED {2}50-02-91-c3-37-a5\/2020-10-01T10-00-00Z\/flash\.bin: /m);
  assert.match(stdout, /^[2-5] backups verified until it was interrupted$/m);
  assert.match(stderr, /\(interrupted\)/);
});
