import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import fc from 'fast-check';
import { validate } from 'node-cron';
import { parseDocument } from 'yaml';
import { cronProblem } from '../../src/config/cron.ts';
import { parseConfig } from '../../src/config/parse.ts';
import { configJsonSchema, configSchema, modeBits } from '../../src/config/schema.ts';
import { storeSchema } from '../../src/config/store.ts';

const EXAMPLE = new URL('../../config.example.yaml', import.meta.url);

interface JsonSchema {
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly items?: JsonSchema;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | JsonSchema;
  readonly description?: string;
  readonly type?: string;
}

/** Every schema node with its dotted name. */
function* nodes(schema: JsonSchema, name = ''): Generator<[string, JsonSchema]> {
  yield [name, schema];
  for (const [key, child] of Object.entries(schema.properties ?? {})) {
    yield* nodes(child, name === '' ? key : `${name}.${key}`);
  }
  if (schema.items !== undefined) yield* nodes(schema.items, `${name}[]`);
  if (typeof schema.additionalProperties === 'object') yield* nodes(schema.additionalProperties, `${name}[]`);
}

test('config.example.yaml holds exactly the defaults', async () => {
  const bytes = await readFile(EXAMPLE);
  assert.deepEqual(parseConfig(bytes, 'config.example.yaml'), configSchema.parse({}));
  assert.ok(bytes.toString().startsWith('# yaml-language-server: $schema=./schema/config.schema.json\n'));
});

test('config.example.yaml names every key of the schema, and no other', async () => {
  const source = await readFile(EXAMPLE, 'utf8');
  const example = parseDocument(source).toJS() as Record<string, Record<string, unknown> | null>;
  const written = Object.entries(example).flatMap(([section, keys]) => [
    section,
    ...Object.keys(keys ?? {}).map((key) => `${section}.${key}`),
  ]);
  const names = [...nodes(configJsonSchema() as JsonSchema)].map(([name]) => name);
  const known = names.filter((name) => name !== '' && !name.includes('[]'));
  assert.deepEqual(written.sort(), known.sort());

  // A section that is null by default is shown in its comments, and what they show is one that espd takes.
  const [, comments = ''] = /((?:^#.*\n)+)store: null$/m.exec(source) ?? [];
  const lines = [...comments.matchAll(/^#( {3}(?: {2})*\w+:.*)$/gm)].map(([, line = '']) => line);
  const { store } = parseConfig(Buffer.from(`store:\n${lines.join('\n')}\n`), 'x');
  assert.deepEqual(Object.keys(store ?? {}).sort(), Object.keys(storeSchema.shape).sort());
  for (const key of Object.keys(storeSchema.shape)) assert.ok(comments.includes(`#   ${key}:`), `store.${key}`);

  const matcherKeys = names.flatMap((name) => /^watch\.allow\[\]\.(\w+)$/.exec(name)?.[1] ?? []);
  assert.equal(matcherKeys.length, 7);
  const shown = [...source.matchAll(/^ {2}# {3}[- ] (\w+): '/gm)].map((match) => match[1]);
  assert.deepEqual(shown.sort(), matcherKeys.sort());
  // The matcher shown in the comments is one that espd takes.
  const matcher = [...source.matchAll(/^ {2}# {3}([- ] \w+: '[^']*')/gm)].map((match) => `    ${match[1] ?? ''}`);
  const config = parseConfig(Buffer.from(`watch:\n  allow:\n${matcher.join('\n')}\n`), 'x');
  assert.equal(config.watch.allow[0]?.productId, 'ea60');
});

test('the JSON Schema requires nothing outside of lists, describes every key and forbids unknown ones', () => {
  let objects = 0;
  for (const [name, node] of nodes(configJsonSchema())) {
    if (!name.includes('[]')) assert.equal(node.required, undefined, name);
    assert.ok((node.description ?? '').length > 0, `${name} has no description`);
    if (node.type === 'object') {
      objects += 1;
      // A section whose keys are a person's own names says what stands behind them.
      const isOpen = ['retention.boards', 'retention.groups'].includes(name);
      assert.equal(
        isOpen ? typeof node.additionalProperties : node.additionalProperties,
        isOpen ? 'object' : false,
        name,
      );
    }
  }
  // Sections that are null by default are null or an object.
  const sections = Object.values(configSchema.parse({})).filter((section) => section !== null);
  // Two kinds of rules, remotes, and four of who is told.
  assert.equal(objects, 1 + sections.length + 2 + 1 + 4);
});

test('defaults are made anew each time', () => {
  const first = configSchema.parse({});
  first.watch.folders.push('/x');
  first.log.level = 'debug';
  assert.deepEqual(configSchema.parse({}).watch.folders, []);
  assert.equal(configSchema.parse({}).log.level, 'info');
});

const accepts = (value: unknown) => configSchema.safeParse(value).success;

test('numbers are whole and within their bounds', () => {
  for (const [section, key, min, max] of [
    ['jobs', 'parallel', 1, 64],
    ['jobs', 'connectAttempts', 1, 20],
    ['jobs', 'cooldownMs', 0, 600_000],
    ['serial', 'baudRate', 115_200, 3_000_000],
  ] as const) {
    for (const good of [min, min + 1, max]) assert.ok(accepts({ [section]: { [key]: good } }), `${key} ${good}`);
    for (const bad of [min - 1, max + 1, min + 0.5, Infinity, Number.NaN, String(min), null]) {
      assert.ok(!accepts({ [section]: { [key]: bad } }), `${key} ${String(bad)}`);
    }
  }
});

test('modes keep the owner in and strangers from writing', () => {
  for (const good of ['0700', '700', '0750', '0755', '0770', '0775']) {
    assert.ok(accepts({ archive: { directoryMode: good } }), good);
  }
  for (const bad of ['0777', '0702', '0600', '07000', '1700', '0800', 'rwx', '', '0o700', 448, '0700 ', '07\n00']) {
    assert.ok(!accepts({ archive: { directoryMode: bad } }), String(bad));
  }
  for (const good of ['0600', '600', '0640', '0644', '0660', '0664'])
    assert.ok(accepts({ archive: { fileMode: good } }));
  for (const bad of ['0700', '0666', '0602', '0601', '0400', '0000', 384]) {
    assert.ok(!accepts({ archive: { fileMode: bad } }), String(bad));
  }
  assert.equal(modeBits('0700'), 0o700);
  assert.equal(modeBits('640'), 0o640);
});

test('a matcher names something, and its ids are four hex digits in lower case', () => {
  const parsed = configSchema.parse({ watch: { deny: [{ vendorId: '10C4', product: 'Sonoff Zigbee*' }] } });
  assert.deepEqual(parsed.watch.deny, [{ vendorId: '10c4', product: 'Sonoff Zigbee*' }]);
  for (const bad of [{}, { vendorId: 0x10c4 }, { vendorId: '10c' }, { vendorId: '10c45' }, { vendorId: '10c*' }]) {
    assert.ok(!accepts({ watch: { allow: [bad] } }), JSON.stringify(bad));
  }
  for (const bad of [{ product: '' }, { product: 'x'.repeat(257) }, { port: '/dev/ttyUSB0' }, 'x', null, []]) {
    assert.ok(!accepts({ watch: { allow: [bad] } }), JSON.stringify(bad));
  }
});

test('reset sequences are in the notation of esptool', () => {
  for (const good of ['D0|R1|W0.1|D1|R0|W0.05|D0', 'U1,0', 'W10', 'R0', null]) {
    assert.ok(accepts({ serial: { resetSequence: good } }), String(good));
  }
  for (const bad of [
    '',
    'D2',
    'D0|',
    '|D0',
    'D0 R1',
    'W11',
    'W-1',
    'W',
    'U1',
    'X1',
    'D0\nR1',
    'd0',
    Array(40).join('D0|'),
  ]) {
    assert.ok(!accepts({ serial: { resetSequence: bad } }), bad);
  }
});

test('time zones are those that the machine knows', () => {
  for (const good of ['Europe/Berlin', 'UTC', null]) assert.ok(accepts({ schedule: { timezone: good } }));
  for (const bad of ['Mars/Phobos', '', 'Europe/Berlin; x']) assert.ok(!accepts({ schedule: { timezone: bad } }), bad);
});

test('cron expressions: boundaries', () => {
  for (const good of [
    '30 3 * * 0',
    '* * * * *',
    '0 0 1 jan sun',
    '*/5 0-23/2 1,15,31 * MON-fri',
    '  59   23 31 12 7 ',
    '0 0 29 2 *',
    '0 0 30 feb,apr *',
  ]) {
    assert.equal(cronProblem(good), null, good);
    assert.ok(validate(good), good);
    assert.ok(accepts({ schedule: { verify: good } }));
  }
  for (const bad of [
    ['', /five fields/],
    ['* * * *', /five fields/],
    ['* * * * * *', /five fields/],
    ['@weekly', /five fields/],
    ['60 * * * *', /"60" is no minute \(0 to 59\)/],
    ['* 24 * * *', /hour/],
    ['* * 0 * *', /day of month/],
    ['* * 32 * *', /day of month/],
    ['* * * 13 *', /month/],
    ['* * * * 8', /day of week/],
    ['* * * sun *', /"sun" is no month/],
    ['*/0 * * * *', /step/],
    ['*/60 * * * *', /step/],
    ['5/2 * * * *', /step but no range/],
    ['9-5 * * * *', /backwards/],
    ['1,,2 * * * *', /"" is no minute/],
    ['-1 * * * *', /minute/],
    ['1- * * * *', /minute/],
    ['0 0 30 2 *', /no month/],
    ['0 0 31 4,6,9,11 *', /no month/],
    ['0 0 L * *', /day of month/],
    ['0 0 ? * *', /day of month/],
  ] as const) {
    assert.match(cronProblem(bad[0]) ?? '', bad[1], bad[0]);
    assert.ok(!accepts({ schedule: { verify: bad[0] } }), bad[0]);
  }
  assert.ok(accepts({ schedule: { verify: 'off' } }));
  assert.ok(accepts({ schedule: { verify: null } }));
});

test('law: what cron.ts takes, node-cron takes', () => {
  const number = fc.integer({ min: -1, max: 62 }).map(String);
  const name = fc.constantFrom('jan', 'DEC', 'sun', 'Sat', 'x', '*');
  const item = fc
    .tuple(fc.oneof(number, name), fc.option(number), fc.option(number))
    .map(([from, to, step]) => `${from}${to === null ? '' : `-${to}`}${step === null ? '' : `/${step}`}`);
  const field = fc.oneof(
    { weight: 2, arbitrary: fc.constant('*') },
    { weight: 3, arbitrary: fc.integer({ min: 0, max: 12 }).map(String) },
    { weight: 2, arbitrary: fc.array(item, { minLength: 1, maxLength: 3 }).map((items) => items.join(',')) },
  );
  let taken = 0;
  fc.assert(
    fc.property(fc.array(field, { minLength: 5, maxLength: 5 }), (fields) => {
      const expression = fields.join(' ');
      if (cronProblem(expression) !== null) return;
      taken += 1;
      assert.ok(validate(expression), expression);
    }),
    { numRuns: 3000 },
  );
  assert.ok(taken > 100, `only ${taken} expressions were valid`);
});

test('law: cron.ts never throws', () => {
  fc.assert(fc.property(fc.string(), (text) => void cronProblem(text)));
});

test('remotes: a name and a server each, and none twice', () => {
  const remote = (name: unknown, url: unknown) => ({ watch: { remotes: [{ name, url }] } });
  assert.ok(accepts(remote('bench-1', 'rfc2217://pi:4001')));
  assert.deepEqual(configSchema.parse({}).watch.remotes, []);
  for (const [name, url] of [
    ['ttyUSB0', 'rfc2217://pi:4001'],
    ['50:02:91:c3:37:a5', 'rfc2217://pi:4001'],
    ['500291c337a5', 'rfc2217://pi:4001'],
    ['a b', 'rfc2217://pi:4001'],
    ['', 'rfc2217://pi:4001'],
    ['desk', 'socket://pi:4001'],
    ['desk', 'rfc2217://pi'],
    ['desk', null],
    [null, 'rfc2217://pi:4001'],
    [1, 'rfc2217://pi:4001'],
  ]) {
    assert.ok(!accepts(remote(name, url)), JSON.stringify([name, url]));
  }
  for (const bad of [{}, { name: 'x' }, { url: 'rfc2217://pi:1' }, 'desk', null]) {
    assert.ok(!accepts({ watch: { remotes: [bad] } }), JSON.stringify(bad));
  }
  for (const [every, isGood] of [
    ...([
      ['10m', true],
      ['12h', true],
      ['7d', true],
      ['366d', true],
      [null, true],
      ['9m', false],
      ['367d', false],
    ] as const),
    ...([
      ['', false],
      ['12', false],
      ['30s', false],
      ['1w', false],
      ['-1h', false],
      [12, false],
    ] as const),
  ]) {
    const value = { watch: { remotes: [{ name: 'desk', url: 'rfc2217://pi:4001', every }] } };
    assert.equal(accepts(value), isGood, String(every));
  }
  const faultsOf = (...remotes: object[]) =>
    configSchema.safeParse({ watch: { remotes } }).error?.issues.map(({ path, message }) => [path.join('.'), message]);
  const desk = { name: 'desk', url: 'rfc2217://pi:4001' };
  assert.equal(faultsOf(desk, { name: 'shelf', url: 'rfc2217://pi:4002' }), undefined);
  assert.deepEqual(faultsOf(desk, { name: 'DESK', url: 'rfc2217://pi:4002' }), [
    ['watch.remotes.1.name', 'wants a name that no other remote has: number 1 of the list has it'],
  ]);
  assert.deepEqual(faultsOf(desk, { name: 'shelf', url: 'rfc2217://PI:4001/?logging' }), [
    ['watch.remotes.1.url', 'wants a server and port that no other remote has: number 1 of the list has it'],
  ]);
});

test('store.prefix is a folder of the bucket: no dots that a URL folds away', () => {
  const { prefix } = storeSchema.shape;
  for (const good of ['', 'berlin', 'espd/berlin', 'berlin/', '.hidden', '...', 'a..b', 'a/..b/c..', 'v1.2/x.']) {
    assert.ok(prefix.safeParse(good).success, good);
  }
  for (const bad of [
    '.',
    '..',
    './x',
    '../other',
    'a/..',
    'a/../b',
    'a/./b',
    'a/.',
    '../',
    './',
    'a/../',
    'a//b',
    '/a',
  ]) {
    assert.ok(!prefix.safeParse(bad).success, bad);
  }
});
