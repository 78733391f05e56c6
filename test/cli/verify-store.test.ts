/** `espd verify --store`: what is wrong in the bucket is told of and nothing else, and `--repair` makes it what it was. */

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { FOLDER, MAC, OTHER_MAC, backUp, image } from '../archive/support.ts';
import { FakeS3, type Stored } from '../store/fake-s3.ts';
import { Bench } from '../support/cli.ts';

const at = (day: number) => `2020-10-0${day}T10:00:00.000Z`;
const id = (day: number) => `2020-10-0${day}T10-00-00Z`;
const key = (day: number, file: string) => `${FOLDER}/${id(day)}/${file}`;
const BIG = 6 * 1024 * 1024;

interface ProblemJson {
  readonly id: string;
  readonly folder: string;
  readonly file: string;
  readonly problem: string;
  readonly station: string | null;
}
interface Report {
  readonly checked: number;
  readonly planned: number;
  readonly of: number;
  readonly readBytes: number;
  readonly damaged: readonly ProblemJson[];
  readonly missing: readonly ProblemJson[];
  readonly unreadable: readonly ProblemJson[];
  readonly foreignCount: number;
  readonly incomplete: number;
  readonly repaired: readonly { readonly id: string; readonly mended: readonly string[] }[];
  readonly notRepaired: readonly { readonly id: string; readonly why: string }[];
  readonly ok: boolean;
}

interface Filled {
  readonly fake: FakeS3;
  readonly bench: Bench;
  readonly run: (...args: string[]) => ReturnType<Bench['run']>;
  /** `verify --store --json`, with its exit status. */
  readonly verify: (...args: string[]) => Promise<Report & { readonly status: number }>;
}

/** Three backups of one board and one of another, pushed. */
async function filled(
  t: TestContext,
  { store = {}, compression = 'none' }: { store?: object; compression?: string } = {},
): Promise<Filled> {
  const fake = new FakeS3();
  const endpoint = await fake.start();
  t.after(() => fake.stop());
  const bench = await Bench.open(t);
  const archive = { statePath: `${bench.folder}/state`, compression };
  await bench.configure({ store: { endpoint, bucket: 'boards', encryption: 'none', ...store }, archive });
  for (let day = 1; day <= 3; day++) await backUp(bench.archive, image(day === 3 ? BIG : 100_000, day), at(day));
  await backUp(bench.archive, image(5000, 9), at(1), OTHER_MAC);
  const env = { AWS_ACCESS_KEY_ID: 'writer', AWS_SECRET_ACCESS_KEY: 'writer-secret' };
  const run = (...args: string[]) => bench.run(args, { env });
  const pushed = await run('push');
  assert.equal(pushed.status, 0, pushed.stderr);
  return {
    ...{ fake, bench, run },
    verify: async (...args) => {
      const { status, stdout, stderr } = await run('verify', '--store', '--json', ...args);
      assert.notEqual(stdout, '', stderr);
      return { ...(JSON.parse(stdout) as Report), status };
    },
  };
}

/** Rot on the server's disk: the ETag is what it was. */
function rot({ objects }: FakeS3, name: string, change: (bytes: Buffer) => Buffer): void {
  const there = objects.get(name);
  assert.ok(there !== undefined, name);
  objects.set(name, { ...there, bytes: change(Buffer.from(there.bytes)) });
}

function flip(where: number) {
  return (bytes: Buffer) => {
    const index = where < 0 ? bytes.length + where : where;
    bytes[index] = (bytes[index] ?? 0) ^ 0x10;
    return bytes;
  };
}

/** Written by somebody: the ETag is that of the new bytes. */
function write({ objects }: FakeS3, name: string, bytes: Buffer): void {
  objects.set(name, { bytes, etag: createHash('md5').update(bytes).digest('hex') });
}

const backups = ({ objects }: FakeS3) =>
  new Map(
    [...objects]
      .filter(([name]) => !/^(?:journal|probes|leases)\//.test(name))
      .map(([name, each]) => [name, each.bytes]),
  );

const puts = ({ seen }: FakeS3) =>
  seen.filter(({ method }) => method !== 'GET' && method !== 'HEAD').map(({ key: name }) => name);

test('a sound bucket: every backup is read, nothing is written there, and a key that may only read does', async (t) => {
  const { fake, run, verify } = await filled(t);
  fake.keys.set('writer', 'read');
  fake.seen.length = 0;
  const { status, stdout, stderr } = await run('verify', '--store');
  assert.equal(status, 0, stderr);
  assert.match(
    stdout.replaceAll(/\s+/g, ' '),
    /^4 backups in the object store verified, [\d.]+ MB read: every object is as it was put there/,
  );
  assert.match(stderr, /To read from boards at 127\.0\.0\.1:\d+: 4 backups/);
  assert.deepEqual(puts(fake), []);
  const report = await verify();
  assert.equal(report.ok, true);
  assert.equal(report.checked, 4);
  assert.ok(report.readBytes > BIG);
  assert.deepEqual([...report.damaged, ...report.missing, ...report.unreadable], []);
});

const DAMAGES: readonly {
  readonly name: string;
  readonly harm: (fake: FakeS3) => void;
  readonly file: string;
  readonly problem: RegExp;
  readonly mended?: readonly string[];
}[] = [
  {
    name: 'a bit of an image',
    harm: (fake) => rot(fake, key(1, 'flash.bin'), flip(50_000)),
    file: 'flash.bin',
    problem: /SHA-256 differs.*1 of 2 blocks differ, the first at 0x0/,
  },
  {
    name: 'the last bit of an image in parts',
    harm: (fake) => rot(fake, key(3, 'flash.bin'), flip(-1)),
    file: 'flash.bin',
    problem: /SHA-256 differs.*1 of 96 blocks/,
  },
  {
    name: 'an image cut off',
    harm: (fake) => rot(fake, key(1, 'flash.bin'), (bytes) => bytes.subarray(0, 70_000)),
    file: 'flash.bin',
    problem: /holds 70000 bytes of image/,
  },
  {
    name: 'an empty image',
    harm: (fake) => rot(fake, key(1, 'flash.bin'), () => Buffer.alloc(0)),
    file: 'flash.bin',
    problem: /holds 0 bytes of image/,
  },
  {
    name: 'an image missing',
    harm: (fake) => void fake.objects.delete(key(1, 'flash.bin')),
    file: 'flash.bin',
    problem: /^is missing$/,
  },
  {
    name: 'the image of another backup',
    harm: (fake) => write(fake, key(1, 'flash.bin'), fake.objects.get(key(2, 'flash.bin'))?.bytes ?? Buffer.alloc(0)),
    file: 'flash.bin',
    problem: /SHA-256 differs/,
  },
  {
    name: 'a bit of a manifest',
    harm: (fake) => rot(fake, key(1, 'manifest.json'), flip(30)),
    file: 'manifest.json',
    problem: /is damaged: .*ETag/,
  },
  {
    name: 'a manifest written anew',
    harm: (fake) => write(fake, key(1, 'manifest.json'), Buffer.from('{}')),
    file: 'manifest.json',
    problem: /^differs from its digest$/,
  },
  {
    name: 'a manifest missing',
    harm: (fake) => void fake.objects.delete(key(1, 'manifest.json')),
    file: 'manifest.json',
    problem: /^is missing$/,
  },
  {
    name: 'a bit of SHA256SUMS',
    harm: (fake) => rot(fake, key(1, 'SHA256SUMS'), flip(10)),
    file: 'SHA256SUMS',
    problem: /is damaged: .*ETag/,
  },
  {
    name: 'SHA256SUMS written anew',
    harm: (fake) => write(fake, key(1, 'SHA256SUMS'), Buffer.from('hello\n')),
    file: 'SHA256SUMS',
    problem: /does not list a manifest and an image/,
  },
];

for (const { name, harm, file, problem } of DAMAGES) {
  test(`${name}: is told of, alone, and repaired from the copy that is here`, async (t) => {
    const filledBench = await filled(t);
    const { fake, verify } = filledBench;
    const before = backups(fake);
    harm(fake);
    const seen = await verify();
    assert.equal(seen.status, 4);
    assert.equal(seen.checked, 4);
    assert.deepEqual(
      seen.damaged.map((each) => each.file),
      [file],
      JSON.stringify(seen.damaged),
    );
    assert.match(seen.damaged[0]?.problem ?? '', problem);
    assert.deepEqual(seen.missing, []);
    fake.seen.length = 0;
    const repaired = await verify('--repair');
    assert.equal(repaired.status, 0, JSON.stringify(repaired));
    assert.deepEqual(
      repaired.repaired.flatMap(({ mended }) => mended),
      [file],
    );
    assert.deepEqual(backups(fake), before);
    for (const { method, headers, key: put, query } of fake.seen) {
      if (method !== 'PUT' || !put.startsWith(FOLDER) || query.has('uploadId')) continue;
      assert.ok((headers['if-match'] ?? headers['if-none-match']) !== undefined, `${put} was put without a condition`);
    }
    assert.equal((await verify()).ok, true);
  });
}

test('SHA256SUMS gone: no backup is there, so it is missing; it goes up again as any other', async (t) => {
  const { fake, run, verify } = await filled(t);
  const before = backups(fake);
  fake.objects.delete(key(2, 'SHA256SUMS'));
  for (const file of ['SHA256SUMS', 'manifest.json', 'flash.bin']) fake.objects.delete(key(3, file));
  const { status, stdout, stderr } = await run('verify', '--store');
  assert.equal(status, 4);
  assert.match(stdout, new RegExp(`^MISSING  ${key(2, '')}: is missing: .* has told of it as complete there`, 'm'));
  assert.match(stderr.replaceAll(/\s+/g, ' '), /2 problems in 2 backups of the object store \(store-damaged\)/);
  const report = await verify();
  assert.deepEqual(report.missing.map((each) => each.id).sort(), [id(2), id(3)]);
  assert.equal(report.incomplete, 1);
  assert.equal((await verify('--dry-run')).status, 4, 'that costs no reading');
  assert.notEqual((await run('pull', '--scan')).status, 0);
  assert.deepEqual((await verify()).missing.map((each) => each.id).sort(), [id(2), id(3)], 'also when it is known');
  assert.equal((await verify('--repair')).status, 0);
  assert.deepEqual(backups(fake), before);
});

test('another sound backup under the name of one: its station has told of another manifest', async (t) => {
  const { fake, verify } = await filled(t);
  const manifest = Buffer.from(fake.text(key(1, 'manifest.json')).replace('espd 0.0.0-test', 'espd 0.0.1-test'));
  write(fake, key(1, 'manifest.json'), manifest);
  const sha256 = createHash('sha256').update(manifest).digest('hex');
  const sums = fake.text(key(1, 'SHA256SUMS')).replace(/[0-9a-f]{64}(?= {2}manifest)/, sha256);
  write(fake, key(1, 'SHA256SUMS'), Buffer.from(sums));
  const before = backups(fake);
  const report = await verify('--repair');
  assert.equal(report.status, 4);
  assert.match(report.damaged[0]?.problem ?? '', /^is another than .* has told of$/);
  assert.match(
    report.notRepaired[0]?.why ?? '',
    /neither its manifest nor its SHA256SUMS there is that of the copy here/,
  );
  assert.deepEqual(backups(fake), before, 'what may be another backup is not overwritten');
});

test('what is damaged here as well, is not here, or is announced to go, is left as it is', async (t) => {
  const { fake, bench, verify } = await filled(t);
  for (const day of [1, 2, 3]) rot(fake, key(day, 'flash.bin'), flip(7));
  await writeFile(join(bench.archivePath, FOLDER, id(1), 'flash.bin'), randomBytes(100_000));
  await rm(join(bench.archivePath, FOLDER, id(2)), { recursive: true });
  const note = {
    formatVersion: 1,
    folder: key(3, ''),
    checksums: fake.text(key(3, 'SHA256SUMS')),
    why: 'old',
    station: 'other',
    createdBy: 'espd',
    at: at(4),
    graceSeconds: 1e6,
  };
  write(fake, `removals/${FOLDER}/${id(3)}.json`, Buffer.from(JSON.stringify(note)));
  const before = backups(fake);
  const report = await verify('--repair');
  assert.equal(report.status, 4);
  const why = new Map(report.notRepaired.map((each) => [each.id, each.why]));
  assert.match(why.get(id(1)) ?? '', /the copy here is damaged as well/);
  assert.match(why.get(id(2)) ?? '', /no copy of it is here/);
  assert.match(why.get(id(3)) ?? '', /its removal from the object store is announced/);
  assert.deepEqual(backups(fake), before);
});

test('somebody who writes at the same moment is not overwritten', async (t) => {
  const { fake, verify } = await filled(t);
  rot(fake, key(1, 'flash.bin'), flip(7));
  fake.hold = ({ method, key: name }) => {
    if (method === 'PUT' && name === key(1, 'flash.bin')) write(fake, name, Buffer.from('of somebody else'));
    return undefined;
  };
  const report = await verify('--repair');
  assert.equal(report.status, 4);
  assert.match(report.notRepaired[0]?.why ?? '', /somebody else has changed it at the same moment/);
  assert.equal(fake.text(key(1, 'flash.bin')), 'of somebody else');
});

test('what retention has removed at another station is not missing, also if this one has not heard of it', async (t) => {
  const { fake, bench, verify } = await filled(t);
  const other = await Bench.open(t);
  const endpoint = (JSON.parse(await readFile(bench.configPath, 'utf8')) as { store: { endpoint: string } }).store
    .endpoint;
  const store = { endpoint, bucket: 'boards', encryption: 'none', retention: { keepLast: 1 }, grace: '1d' };
  await other.configure({ store, archive: { statePath: `${other.folder}/state` } });
  const env = { AWS_ACCESS_KEY_ID: 'writer', AWS_SECRET_ACCESS_KEY: 'writer-secret' };
  for (const args of [['pull'], ['prune', '--store', '--yes']])
    assert.equal((await other.run(args, { env })).status, 0);
  fake.quirks.aheadMs = 2 * 86_400_000;
  assert.equal((await other.run(['prune', '--store', '--yes'], { env })).status, 0);
  assert.ok(!fake.objects.has(key(2, 'SHA256SUMS')));
  const report = await verify();
  assert.equal(report.ok, true, JSON.stringify(report));
  assert.equal(report.checked, 3);
});

test('a run that breaks off goes on with what it has not reached, and what was damaged is told of again', async (t) => {
  const { fake, run, verify } = await filled(t);
  assert.equal((await run('verify', '--store', '--continue')).status, 2, 'nothing to go on with');
  rot(fake, key(1, 'flash.bin'), flip(7));
  fake.fault = ({ key: name }) =>
    name.startsWith('aa') || name === key(3, 'flash.bin') ? { status: 403, code: 'AccessDenied' } : undefined;
  const broken = await verify();
  assert.equal(broken.status, 4);
  assert.ok(broken.checked < 4);
  fake.fault = () => undefined;
  const rest = await verify('--continue');
  assert.equal(rest.of, 4);
  assert.ok(rest.planned < 4, JSON.stringify(rest));
  assert.deepEqual(
    rest.damaged.map((each) => each.id),
    [id(1)],
  );
  const again = await verify('--continue');
  assert.equal(again.status, 2, 'it was done');
});

test('interrupted in the middle: nothing is told as damaged, and the next one goes on', async (t) => {
  const { fake, bench, verify } = await filled(t);
  const env = { AWS_ACCESS_KEY_ID: 'writer', AWS_SECRET_ACCESS_KEY: 'writer-secret' };
  const stop = new AbortController();
  let begun = 0;
  fake.hold = ({ key: name }) => {
    // Three are read at a time, so one is done then.
    if (name.endsWith('manifest.json') && ++begun === 4) stop.abort();
    return undefined;
  };
  const { status, stdout } = await bench.run(['verify', '--store'], { env, signal: stop.signal });
  assert.notEqual(status, 0);
  assert.doesNotMatch(stdout, /DAMAGED|MISSING|verified(?! until it was interrupted$)/m);
  fake.hold = () => undefined;
  const rest = await verify('--continue');
  assert.equal(rest.ok, true, JSON.stringify(rest));
  assert.ok(rest.planned < 4 && rest.planned > 0, String(rest.planned));
});

test('a part: boards, the newest, a sample that takes what was read longest ago, and what it would be', async (t) => {
  const { fake, bench, run, verify } = await filled(t);
  const reads = async (...args: string[]) => {
    fake.seen.length = 0;
    const report = await verify(...args);
    assert.equal(report.ok, true, JSON.stringify(report));
    return [
      ...new Set(fake.seen.flatMap(({ key: name }) => (name.endsWith('flash.bin') ? [name.split('/')[1]] : []))),
    ].sort();
  };
  assert.deepEqual(await reads('--dry-run'), []);
  assert.deepEqual(await reads('--newest', MAC), [id(3)]);
  assert.deepEqual(await reads('--newest'), [id(1), id(3)]);
  assert.deepEqual(await reads('--mac', OTHER_MAC), [id(1)]);
  assert.equal((await run('label', MAC, 'kitchen')).status, 0);
  const first = await reads('--sample', '34%', 'kitchen');
  const second = await reads('--sample', '34%', 'kitchen');
  assert.equal(new Set([...first, ...second]).size, 3, 'two samples of two of three are all');
  assert.deepEqual(await readdir(bench.archivePath).then((names) => names.includes(FOLDER)), true);
  for (const args of [['--device'], ['--continue', '--newest'], ['--repair', '--dry-run'], ['--sample', '0%']]) {
    assert.equal((await run('verify', '--store', ...args)).status, 2, args.join());
  }
  for (const args of [['--newest'], ['--repair'], ['--continue'], [MAC]]) {
    assert.equal((await run('verify', ...args)).status, 2, args.join());
  }
});

for (const compression of ['none', 'gzip']) {
  test(`encrypted, compression ${compression}: judged by its content, repaired under the key it had, and named where the key is not here`, async (t) => {
    const bench = await Bench.open(t);
    const file = join(bench.folder, 'key');
    const old = '1'.repeat(64);
    await writeFile(file, `${old}\n`, { mode: 0o600 });
    const { fake, run, verify } = await filled(t, { store: { encryption: { file } }, compression });
    const before = backups(fake);
    await writeFile(file, `${'2'.repeat(64)}\n${old}\n`, { mode: 0o600 });
    assert.equal((await verify()).ok, true);
    const [name = ''] = [...before.keys()].filter((each) => each.includes(`${id(3)}/flash`));
    rot(fake, name, flip(-20));
    const damaged = await verify();
    assert.deepEqual(
      damaged.damaged.map((each) => `${each.folder}${each.file}`),
      [name],
      JSON.stringify(damaged),
    );
    assert.equal((await verify('--repair')).ok, true);
    assert.deepEqual(backups(fake), before);
    await writeFile(file, `${'3'.repeat(64)}\n`, { mode: 0o600 });
    const { status, stdout, stderr } = await run('verify', '--store');
    assert.notEqual(status, 0);
    assert.match(stdout, /^NOT READ  .*manifest\.json\.enc: cannot be judged here: .*key file/m);
    assert.match(stderr, /\(store-key\)/);
  });
}

test('objects that are none of espd are counted and no fault; hostile ones harm nobody', async (t) => {
  const { fake, verify } = await filled(t);
  const objects: [string, Stored][] = [
    ['index.html', { bytes: Buffer.from('hello'), etag: 'x' }],
    [`${FOLDER}/notes.txt`, { bytes: Buffer.from('hello'), etag: 'x' }],
    [`${FOLDER}/2020-10-09T10-00-00Z/flash.bin`, { bytes: Buffer.from('on its way'), etag: 'x' }],
    [`stations/evil-0123456789ab/${FOLDER}/${id(1)}/SHA256SUMS`, { bytes: Buffer.alloc(200_000, 'a'), etag: 'x' }],
  ];
  for (const [name, stored] of objects) fake.objects.set(name, stored);
  const report = await verify();
  assert.equal(report.foreignCount, 2);
  assert.equal(report.incomplete, 1);
  assert.equal(report.status, 4);
  assert.deepEqual(
    report.damaged.map((each) => each.folder),
    [`stations/evil-0123456789ab/${FOLDER}/${id(1)}/`],
  );
  assert.equal(report.damaged[0]?.station, null);
  const mended = await verify('--repair');
  assert.match(mended.notRepaired[0]?.why ?? '', /it lies in the folder of evil-0123456789ab: repair it there/);
});
