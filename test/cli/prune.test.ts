/** `espd prune`, `pin` and `unpin`: what a person and a script see, and what is left. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Bench, assertPlain, parseJson } from '../support/cli.ts';
import { MAC, OTHER_MAC, backUp, image } from '../archive/support.ts';

const at = (day: number) => `2026-10-0${day}T10:00:00.000Z`;
const id = (day: number) => `2026-10-0${day}T10-00-00Z`;

async function filled(t: Parameters<typeof Bench.open>[0]): Promise<Bench> {
  const bench = await Bench.open(t);
  const { archive } = bench;
  for (let day = 1; day <= 5; day++) await backUp(archive, image(4000, day), at(day));
  for (let day = 1; day <= 3; day++) await backUp(archive, image(4000, day), at(day), OTHER_MAC);
  return bench;
}

const left = (bench: Bench, mac = MAC) => bench.archive.backupIds(mac);

interface PruneJson {
  readonly dryRun: boolean;
  readonly backups: readonly { mac: string; id: string; stays: boolean; reasons: { code: string; text: string }[] }[];
  readonly totalBytes: number;
  readonly freedBytes: number;
  readonly overBudgetBytes: number;
  readonly blocked: readonly { code: string }[];
  readonly unmatched: readonly string[];
  readonly removed: readonly { mac: string; id: string }[];
  readonly spared: readonly unknown[];
}

test('without a policy it says so, and how to set one', async (t) => {
  const bench = await filled(t);
  const { status, stdout, stderr } = await bench.run(['prune']);
  assert.equal(status, 0);
  assert.match(stdout, /^No policy is set, so every backup is kept$/m);
  assert.match(stderr, /Set retention in the config .*espd prune --keep-last 10 --dry-run/);
  assert.equal((await left(bench)).length, 5);
});

test('a dry run shows each backup with the reason why it stays or goes, in 80 columns', async (t) => {
  const bench = await filled(t);
  await bench.configure({ retention: { keepLast: 1 } });
  await bench.archive.marks.pin(MAC, id(3), { pinned: true, note: 'works' });
  const { status, stdout } = await bench.run(['prune', '--dry-run'], { tty: true });
  assert.equal(status, 0);
  const plain = stdout.replaceAll(/\u001b\[\d+m/g, '');
  assert.ok(
    plain.split('\n').every((line) => line.length < 80),
    plain,
  );
  for (const line of [
    /^50:02:91:c3:37:a5  2 of 5 backups go, \d+ KB$/m,
    /^  stays  2026-10-01T10-00-00Z  the first backup of the board$/m,
    /^  goes   2026-10-02T10-00-00Z  no rule keeps it \(keepLast 1\)$/m,
    /^  stays  2026-10-03T10-00-00Z  pinned: works$/m,
    /^  stays  2026-10-05T10-00-00Z  the newest backup of the board; the one that$/m,
    /^                               "latest" means; one of the last$/m,
    /^3 of 8 backups go, which frees \d+ KB of \d+ KB$/m,
  ]) {
    assert.match(plain, line);
  }
  assert.equal((await left(bench)).length, 5);
});

test('it removes only with a yes: at the terminal, or on the command line', async (t) => {
  const bench = await filled(t);
  await bench.configure({ retention: { keepLast: 1 } });
  const unasked = await bench.run(['prune']);
  assert.equal(unasked.status, 5);
  assert.match(unasked.stderr, /asked whether to remove anything, and nothing was touched \(declined\)/);
  // What would be removed is shown all the same, before it ends.
  assert.match(unasked.stdout, /^  goes   2026-10-02T10-00-00Z  /m);
  assert.match(unasked.stdout, /^4 of 8 backups go, which frees \d+ KB/m);
  const refused = await bench.runJson<{ backups: { id: string; stays: boolean }[]; removed: unknown[] }>(['prune']);
  assert.equal(refused.status, 5);
  assert.deepEqual([refused.json.backups.filter(({ stays }) => !stays).length, refused.json.removed], [4, []]);
  await bench.fails(['prune'], 'declined');
  assert.equal((await left(bench)).length, 5);
  const declined = await bench.run(['prune'], { tty: true, answer: 'n' });
  assert.deepEqual([declined.status, (await left(bench)).length], [5, 5]);

  let question = '';
  const answered = await bench.run(['prune', MAC], {
    tty: true,
    answer: (asked) => {
      question = asked;
      return Promise.resolve('y');
    },
  });
  assert.equal(answered.status, 0);
  assert.match(question, /Remove 3 backups for good\? \[y\/N\]/);
  assert.match(answered.stdout, /^3 backups removed, \d+ KB freed$/m);
  assert.doesNotMatch(answered.stdout, new RegExp(OTHER_MAC));
  assert.deepEqual(await left(bench), [id(1), id(5)]);
  assert.equal((await left(bench, OTHER_MAC)).length, 3);

  const { stdout, status } = await bench.run(['prune', '--yes']);
  assertPlain(stdout);
  assert.equal(status, 0);
  assert.deepEqual(await left(bench, OTHER_MAC), [id(1), id(3)]);
  const again = await bench.run(['prune', '--yes']);
  assert.match(again.stdout, /^All 4 backups stay$/m);
  assert.equal((await bench.run(['verify'])).status, 0);
});

test('the JSON document has every decision, and what was done', async (t) => {
  const bench = await filled(t);
  const args = ['prune', '--json', '--keep-last', '1', '--keep-per-firmware', '2'];
  const dry = parseJson<PruneJson>((await bench.run([...args, '--dry-run'])).stdout);
  assert.deepEqual([dry.dryRun, dry.backups.length, dry.removed], [true, 8, []]);
  const [first] = dry.backups.filter(({ mac }) => mac === MAC);
  assert.deepEqual(first?.reasons, [{ code: 'first', text: 'the first backup of the board' }]);
  assert.ok(dry.freedBytes > 0 && dry.totalBytes > dry.freedBytes);
  const done = parseJson<PruneJson>((await bench.run([...args, '--yes'])).stdout);
  assert.deepEqual(
    done.removed.map((each) => `${each.mac} ${each.id}`),
    [2, 3].map((day) => `${MAC} ${id(day)}`),
  );
  assert.deepEqual([done.dryRun, done.spared, done.blocked, done.unmatched], [false, [], [], []]);
});

test('options take the place of the rules in the config, but not of those of other boards', async (t) => {
  const bench = await filled(t);
  await bench.archive.marks.describe(OTHER_MAC, { label: 'kitchen' });
  await bench.configure({ retention: { keepLast: 'unlimited', boards: { Kitchen: { keepLast: 'unlimited' } } } });
  await bench.run(['prune', '--keep-last', '1', '--yes']);
  assert.deepEqual([(await left(bench)).length, (await left(bench, OTHER_MAC)).length], [2, 3]);
  await bench.run(['prune', 'kitchen', '--keep-last', '1', '--yes']);
  assert.equal((await left(bench, OTHER_MAC)).length, 2);
});

test('a budget that cannot be kept is told, and so are names that nobody has', async (t) => {
  const bench = await Bench.open(t);
  for (let day = 1; day <= 3; day++) await backUp(bench.archive, image(1_000_000, day), at(day));
  await bench.configure({ retention: { maxBytes: '1M', groups: { attic: { keepLast: 1 } } } });
  const { stdout, stderr } = await bench.run(['prune', '--dry-run']);
  assert.match(stdout, /goes {3}2026-10-02T10-00-00Z {2}too much for maxBytes$/m);
  assert.match(stdout, /^What stays takes .* KB more than the 1 MB of maxBytes: all of it is kept by a rule, or/m);
  assert.match(stderr, /No board or group of the archive is called "attic"/);
});

test('with a clock behind the newest backup nothing goes', async (t) => {
  const bench = await filled(t);
  await backUp(bench.archive, image(10), '2999-01-01T00:00:00.000Z');
  const { status, stdout } = await bench.run(['prune', '--keep-last', '1', '--yes']);
  assert.equal(status, 0);
  assert.match(stdout, /^Nothing can be removed now: the clock is behind the newest backup, 2999-01-01T00-00-00Z/m);
  assert.equal(stdout.split('the clock is behind').length, 2, `said once, not of each backup:\n${stdout}`);
  assert.match(stdout, /^ {2}stays {2}2\S+ {2}nothing can be removed now: see below$/m);
  assert.equal((await left(bench)).length, 6);
});

test('a large archive shows what goes, and counts the rest unless it is asked for all', async (t) => {
  const bench = await Bench.open(t);
  for (let hour = 0; hour < 102; hour++) {
    const date = new Date(Date.parse('2026-10-01T00:00:00Z') + hour * 3_600_000);
    await backUp(bench.archive, image(16, hour), date.toISOString());
  }
  const args = ['prune', '--dry-run', '--keep-last', '95'];
  const short = (await bench.run(args)).stdout;
  assert.equal(short.match(/^ {2}goes /gm)?.length, 6);
  assert.match(short, /^ {2}96 stay \(--all lists them\)$/m);
  assert.doesNotMatch(short, /^ {2}stays /m);
  assert.equal((await bench.run([...args, '--all'])).stdout.match(/^ {2}stays /gm)?.length, 96);
});

test('wrong usage', async (t) => {
  const bench = await filled(t);
  for (const [args, message] of [
    [['--keep-last', 'x'], /Give a whole number, or unlimited/],
    [['--keep-last', '0'], /This policy would keep nothing/],
    [['--keep-within', '1w'], /such as 1y5m7d2h/],
    [['--max-bytes', '50'], /A size is at least 1M/],
  ] as const) {
    const error = await bench.fails(['prune', ...args], 'usage');
    assert.match(error.message, message);
  }
  await bench.fails(['prune', 'nobody', '--keep-last', '1'], 'archive-unknown-board');
  await bench.configure({ retention: { keepLast: 0 } });
  await bench.fails(['prune'], 'config-invalid');
  await bench.configure({ archive: { path: `${bench.folder}/nowhere` } });
  await bench.fails(['prune', '--keep-last', '1', '--dry-run'], 'archive-missing');
});

test('pin and unpin', async (t) => {
  const bench = await filled(t);
  await bench.archive.marks.describe(MAC, { label: 'kitchen' });
  const pinned = await bench.run(['pin', `kitchen@${id(2)}`, '--note', 'the good one']);
  assert.deepEqual([pinned.status, pinned.stdout], [0, `Pinned ${id(2)} of ${MAC}: it is never removed by a policy\n`]);
  await bench.run(['pin', `${MAC}@2026-10-03`]);
  await bench.run(['pin', MAC]);
  const { pins } = await bench.archive.marks.of(MAC);
  assert.deepEqual(
    pins.map((pin) => [pin.id, pin.note]),
    [
      [id(2), 'the good one'],
      [id(3), null],
      [id(5), null],
    ],
  );
  const { json } = await bench.runJson<object>(['unpin', `${MAC}@${id(3)}`]);
  assert.deepEqual(json, { mac: MAC, id: id(3), pinned: false, note: null });
  assert.match((await bench.run(['unpin', `${MAC}@${id(3)}`])).stdout, /was not pinned/);
  await bench.run(['prune', '--keep-last', '1', '--yes']);
  assert.deepEqual(await left(bench), [id(1), id(2), id(5)]);

  await bench.fails(['pin', `${MAC}@${id(3)}`], 'archive-unknown-backup');
  await bench.fails(['pin', 'nobody'], 'archive-unknown-board');
  await bench.fails(['pin', `${MAC}@`], 'usage');
  await bench.fails(['pin', MAC, '--note', 'x'.repeat(1001)], 'usage');
});
