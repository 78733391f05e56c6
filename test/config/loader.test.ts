import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import fc from 'fast-check';
import { EspdError, type ErrorCode } from '../../src/errors.ts';
import { loadConfig, type LoadOptions } from '../../src/config/loader.ts';
import { parseConfig } from '../../src/config/parse.ts';
import { configSchema } from '../../src/config/schema.ts';

/** The error that parsing `source` ends with; its message without the file's name. */
function problems(source: string | Uint8Array): string[] {
  try {
    parseConfig(typeof source === 'string' ? Buffer.from(source) : source, 'c.yaml');
  } catch (error) {
    assert.ok(error instanceof EspdError, String(error));
    assert.equal(error.code, 'config-invalid');
    assert.notEqual(error.hint, '');
    return error.message.split('\n').map((line) => line.replace(/^c\.yaml:/, ''));
  }
  return [];
}

const parse = (source: string) => parseConfig(Buffer.from(source), 'c.yaml');
const DEFAULTS = configSchema.parse({});

test('an empty file, and one of comments, are the defaults', () => {
  for (const source of [
    '',
    '\n',
    '# nothing\n',
    '---\n',
    '---\n...\n',
    '\ufeff',
    '\ufeff# x\n',
    '{}',
    'null\n',
    'log:\n',
  ]) {
    assert.deepEqual(parse(source), DEFAULTS, JSON.stringify(source));
  }
});

test('a section whose keys are all commented out is its defaults', () => {
  assert.deepEqual(parse('archive:\n  # path: /x\nlog:\n  level: debug\n').log.level, 'debug');
});

test('line ends of Windows and a byte order mark', () => {
  assert.equal(parse('\ufefflog:\r\n  level: warn\r\n').log.level, 'warn');
  assert.deepEqual(problems('\ufefflog:\r\n  level: wart\r\n')[0]?.slice(0, 4), '2:10');
});

test('unknown keys are named with place and suggestion', () => {
  assert.deepEqual(problems('serial:\n  baudrate: 9600\n'), [
    '2:3: unknown key "baudrate" in serial; did you mean baudRate?',
  ]);
  assert.deepEqual(problems('seriel:\n  baudRate: 115200\n'), ['1:1: unknown key "seriel"; did you mean serial?']);
  assert.deepEqual(problems('log: {level: info}\nbaudRate: 115200\n'), [
    '2:1: unknown key "baudRate"; it belongs under serial',
  ]);
  assert.deepEqual(problems('log:\n  parallel: 2\n'), ['2:3: unknown key "parallel" in log; it belongs under jobs']);
  assert.deepEqual(problems('zzzzzz: 1\n'), ['1:1: unknown key "zzzzzz"']);
  assert.deepEqual(problems('watch:\n  allow:\n    - vendorId: "10c4"\n      vendorid: "10c4"\n'), [
    '4:7: unknown key "vendorid" in watch.allow.0; did you mean vendorId?',
  ]);
  assert.deepEqual(problems('? [a, b]\n: 1\n'), ['1:3: a key is one word or text, not a list, a section or an alias']);
  for (const key of ['__proto__', 'constructor', 'toString', '<<']) {
    assert.match(problems(`${key}: {x: 1}\n`)[0] ?? '', /^1:1: unknown key/, key);
  }
  assert.equal(({} as Record<string, unknown>)['x'], undefined);
});

test('wrong values say what was wanted and what was found', () => {
  for (const [source, message] of [
    [
      'log:\n  level: debgu\n',
      '2:10: log.level wants one of error, warn, info, debug, found the text "debgu"; did you mean debug?',
    ],
    ['log:\n  level:\n', /^2:\d+: log\.level wants one of .*, found nothing$/],
    ['log: info\n', '1:6: log wants a section of keys, found the text "info"'],
    ['log: [a]\n', '1:6: log wants a section of keys, found a list'],
    ['jobs:\n  parallel: many\n', '2:13: jobs.parallel wants a whole number, found the text "many"'],
    ['jobs:\n  parallel: 2.5\n', '2:13: jobs.parallel wants a whole number, found the number 2.5'],
    ['jobs:\n  parallel: 0\n', '2:13: jobs.parallel wants at least 1, found the number 0'],
    ['jobs: {parallel: 65}\n', '1:18: jobs.parallel wants at most 64, found the number 65'],
    ['jobs: {parallel: .inf}\n', /^1:18: jobs\.parallel wants .* found the number \.inf$/],
    ['transfer:\n  full: yes\n', '2:9: transfer.full wants true or false, found the text "yes"'],
    [
      'archive:\n  directoryMode: 0700\n',
      '2:18: archive.directoryMode wants text, found the number 0700; write it in quotes',
    ],
    ['archive:\n  path: ""\n', '2:9: archive.path wants text that is not empty, found the text ""'],
    ['archive:\n  path: true\n', '2:9: archive.path wants text, found true'],
    ['watch:\n  folders: /dev\n', '2:12: watch.folders wants a list, found the text "/dev"'],
    [
      'watch:\n  folders:\n    - a\n    - 3\n',
      '4:7: watch.folders.1 wants text, found the number 3; write it in quotes',
    ],
    ['watch:\n  deny:\n    - {}\n', /^3:7: watch\.deny\.0 wants at least one of vendorId.*found a section of keys$/],
    [
      'watch:\n  deny:\n    - vendorId: 0403\n',
      '3:17: watch.deny.0.vendorId wants text, found the number 0403; write it in quotes',
    ],
    [
      'watch:\n  deny:\n    - vendorId: 10e4\n',
      '3:17: watch.deny.0.vendorId wants text, found the number 10e4; write it in quotes',
    ],
    [
      'watch:\n  deny:\n    - vendorId: xyz\n',
      /^3:17: .* wants four hex digits in quotes, such as '10c4', found the text "xyz"$/,
    ],
    [
      'schedule:\n  verify: 0 25 * * *\n',
      '2:11: schedule.verify wants a cron expression or off: "25" is no hour (0 to 23), found the text "0 25 * * *"',
    ],
    ['a string\n', '1:1: the file wants a section of keys, found the text "a string"'],
    ['- a\n- b\n', '1:1: the file wants a section of keys, found a list'],
  ] as const) {
    const [found] = problems(source);
    if (typeof message === 'string') assert.equal(found, message);
    else assert.match(found ?? '', message);
  }
});

test('values from the file cannot bring control characters into the message', () => {
  assert.match(problems('log:\n  level: "\\x1b[31m\\n"\n')[0] ?? '', /found the text "\\u001b\[31m\\n"$/);
  assert.match(problems('"\\x1b[2J\\n": 1\n')[0] ?? '', /unknown key "\\u001b\[2J\\n"$/);
});

test('broken YAML says where', () => {
  for (const [source, message] of [
    ['log:\n  level: info\n  level: warn\n', '3:3: this key stands here twice'],
    ['log:\n\tlevel: info\n', '2:1: a tab indents this line; YAML wants spaces'],
    ['log: {}\n---\nlog: {}\n', /^2:1: a second document begins here/],
    ['log: {level: info\n', /^2:1: not YAML: /],
    ['log:\n  level: "info\n', /not YAML: /],
    ['a: b: c\n', /^1:4: not YAML: /],
    ['log:\n  level: !!js/function x\n', /^2:10: not YAML: Unresolved tag/],
    ['log:\n  level: *missing\n', /^2:9: Unresolved alias/],
    ['log: @x\n', /^1:6: not YAML: /],
  ] as const) {
    const [found] = problems(source);
    if (typeof message === 'string') assert.equal(found, message);
    else assert.match(found ?? '', message);
  }
});

test('anchors work, bombs do not', () => {
  const config = parse("watch:\n  allow: &both\n    - &one { vendorId: '10c4' }\n    - *one\n  deny: *both\n");
  assert.equal(config.watch.deny.length, 2);
  assert.match(
    problems('watch:\n  allow: &a\n    - vendorId: xyz\n  deny: *a\n').join('\n'),
    /^3:17: watch\.allow\.0\.vendorId .*\n3:17: watch\.deny\.0\.vendorId /,
  );
  let bomb = 'l0: &l0 [x,x,x,x,x,x,x,x,x,x]\n';
  for (let level = 1; level < 10; level += 1) {
    bomb += `l${level}: &l${level} [${Array(10)
      .fill(`*l${level - 1}`)
      .join(',')}]\n`;
  }
  assert.match(problems(bomb)[0] ?? '', /^2:\d+: Excessive alias count/);
  assert.match(problems('log: &l\n  level: *l\n')[0] ?? '', /log\.level wants one of .* found a section of keys/);
});

test('files that would exhaust the parser are refused before it', () => {
  for (const [what, source] of [
    ['open brackets', '['.repeat(500_000)],
    ['closed brackets', `${'['.repeat(5000)}${']'.repeat(5000)}`],
    ['open braces', '{a: '.repeat(200_000)],
    ['lists in lists', '- '.repeat(300_000)],
    ['keys in keys', '? '.repeat(300_000)],
    ['indentation', Array.from({ length: 1000 }, (_, index) => `${' '.repeat(index)}a:\n`).join('')],
    ['keys', Array.from({ length: 90_000 }, (_, index) => `k${index}: 1\n`).join('')],
    ['entries', `[${'1,'.repeat(500_000)}]`],
  ] as const) {
    assert.match(problems(source)[0] ?? '', /nested too deeply|too many entries/, what);
  }
  assert.match(problems(`# ${'x'.repeat(1024 * 1024)}`)[0] ?? '', /larger than 1 MiB/);
  assert.deepEqual(problems(`#${'x'.repeat(1024 * 1024 - 1)}`), []);
  assert.match(problems(`a:\n\n  b: ${'['.repeat(100)}`)[0] ?? '', /^3:1: /);
});

test('keys that are no scalars are refused before anybody makes text of them', () => {
  const deep = (levels: number, open: string, close: string) => `${open.repeat(levels)}a${close.repeat(levels)}`;
  for (const [what, source, position] of [
    ['62 bytes of keys in keys', '? '.repeat(31), '1:3'],
    ['keys in keys, line by line', Array.from({ length: 60 }, (_, at) => `${' '.repeat(at)}?`).join('\n'), '2:2'],
    ['sections as keys', deep(60, '{', '}: 1'), '1:1'],
    ['lists as keys', `${deep(60, '[', ']')}: 1`, '1:1'],
    ['in a known section', 'log:\n  level: info\n  ? [a]\n  : 1\n', '3:5'],
    ['an alias', 'log: &a {}\n*a : 1\n', '2:1'],
  ] as const) {
    const [first] = problems(source);
    assert.match(first ?? '', /a key is one word or text, not a list, a section or an alias$/, what);
    assert.ok(first?.startsWith(`${position}:`), `${what}: ${first}`);
  }
  assert.deepEqual(parse('? log\n: { level: debug }\n').log.level, 'debug');
});

test('law: indicators in any order are read within the limit of time', () => {
  const piece = fc.constantFrom(
    '? ',
    ': ',
    '- ',
    '{',
    '}',
    '[',
    ']',
    ', ',
    '&a ',
    '*a ',
    '!t ',
    '\n',
    '  ',
    'a',
    '"',
    '|\n',
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 120 }), (pieces) => {
      for (const problem of problems(pieces.join(''))) assert.doesNotMatch(problem, /took longer than/);
    }),
    { numRuns: 300 },
  );
});

test('a file that takes longer than the limit is refused with the limit; the limit of a start is a long one', () => {
  const worst = Array.from({ length: 2800 }, (_, index) => `k${index}: 1\n`).join('');
  assert.throws(
    () => parseConfig(Buffer.from(worst), 'c.yaml', 1),
    (error) =>
      error instanceof EspdError &&
      error.code === 'config-invalid' &&
      /c\.yaml:1:1: took longer than 0\.001 s/.test(error.message),
  );
  const [first] = problems(worst);
  assert.equal(first, '1:1: unknown key "k0"');
});

test('not UTF-8: the line is named', () => {
  assert.deepEqual(problems(Buffer.from([0x23, 0x0a, 0x23, 0xff, 0x0a])), ['2:1: the file is not UTF-8 text']);
  assert.deepEqual(problems(Buffer.from('log: {}\n', 'utf16le').fill(0xff, 0, 1)), ['1:1: the file is not UTF-8 text']);
  assert.deepEqual(problems(Buffer.from('# Gr\xfc\xdfe\n', 'latin1')), ['1:1: the file is not UTF-8 text']);
  assert.deepEqual(problems(Buffer.from([0x23, 0xe2, 0x82])), ['1:1: the file is not UTF-8 text']);
});

test('at most ten problems are listed, the rest counted', () => {
  const source = Array.from({ length: 13 }, (_, index) => `unknown${index}: 1\n`).join('');
  const found = problems(source);
  assert.equal(found.length, 11);
  assert.equal(found[0], '1:1: unknown key "unknown0"');
  assert.equal(found[9], '10:1: unknown key "unknown9"');
  assert.equal(found[10], 'and 3 more');
});

test('law: whatever the bytes, the outcome is a config or config-invalid with a position', () => {
  const word = fc.constantFrom(
    'log',
    'level',
    ':',
    ' ',
    '\n',
    '  ',
    '- ',
    '[',
    ']',
    '{',
    '}',
    '"',
    "'",
    '#',
    '&a',
    '*a',
    '!',
    '|',
    '\t',
    '---',
    '1',
    ',',
    '?',
  );
  const source = fc.oneof(
    fc.array(word, { maxLength: 40 }).map((words) => Buffer.from(words.join(''))),
    fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
    fc.json().map((json) => Buffer.from(json)),
  );
  fc.assert(
    fc.property(source, (bytes) => {
      for (const line of problems(bytes)) assert.match(line, /^\d+:\d+: |^and \d+ more$/);
    }),
    { numRuns: 2000 },
  );
});

// From here on: the search for the file, and what is resolved.

async function folder(context: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'espd-config-'));
  context.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

/** A machine with nothing in it: no home config, no system config, an ordinary user. */
function machine(root: string, more: Partial<LoadOptions> = {}): LoadOptions {
  return {
    uid: 1000,
    cwd: join(root, 'work'),
    systemConfigPath: join(root, 'etc/espd/config.yaml'),
    ...more,
    env: { HOME: join(root, 'home'), ...more.env },
  };
}

async function write(path: string, source: string): Promise<void> {
  await mkdir(join(path, '..'), { recursive: true });
  await writeFile(path, source);
}

async function rejectsWith(promise: Promise<unknown>, code: ErrorCode, message: RegExp): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(error instanceof EspdError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, message);
    assert.notEqual(error.hint, '');
    return true;
  });
}

const level = (name: string) => `log:\n  level: ${name}\n`;

test('the first file of the search order is taken', async (context) => {
  const root = await folder(context);
  const none = await loadConfig(machine(root));
  assert.equal(none.path, null);
  assert.equal(none.config.log.level, 'info');

  const system = join(root, 'etc/espd/config.yaml');
  await write(system, level('error'));
  const fromSystem = await loadConfig(machine(root));
  assert.deepEqual([fromSystem.path, fromSystem.config.log.level], [system, 'error']);

  await write(join(root, 'home/.config/espd/config.yaml'), level('warn'));
  assert.equal((await loadConfig(machine(root))).config.log.level, 'warn');

  await write(join(root, 'xdg/espd/config.yaml'), level('debug'));
  const xdg = { XDG_CONFIG_HOME: join(root, 'xdg') };
  assert.equal((await loadConfig(machine(root, { env: xdg }))).config.log.level, 'debug');
  assert.equal((await loadConfig(machine(root, { env: { XDG_CONFIG_HOME: 'xdg' } }))).config.log.level, 'warn');

  await write(join(root, 'work/mine.yaml'), level('info'));
  const named = await loadConfig(machine(root, { env: { ...xdg, ESPD_CONFIG: 'mine.yaml' } }));
  assert.deepEqual([named.path, named.config.log.level], [join(root, 'work/mine.yaml'), 'info']);
  assert.equal((await loadConfig(machine(root, { env: { ESPD_CONFIG: '' } }))).config.log.level, 'warn');

  const byOption = await loadConfig(machine(root, { path: system, env: { ESPD_CONFIG: 'mine.yaml' } }));
  assert.equal(byOption.config.log.level, 'error');
  const byHome = await loadConfig(machine(root, { path: '~/.config/espd/config.yaml' }));
  assert.equal(byHome.config.log.level, 'warn');
});

test('files that are named must be there', async (context) => {
  const root = await folder(context);
  await rejectsWith(loadConfig(machine(root, { path: 'no.yaml' })), 'config-unreadable', /no\.yaml does not exist/);
  await rejectsWith(
    loadConfig(machine(root, { env: { ESPD_CONFIG: '/nowhere/x.yaml' } })),
    'config-unreadable',
    /\/nowhere\/x\.yaml does not exist/,
  );
  await rejectsWith(loadConfig(machine(root, { path: root })), 'config-unreadable', /is a folder/);
});

test('a file of the search that cannot be read is an error, not skipped', async (context) => {
  const root = await folder(context);
  const home = join(root, 'home/.config/espd/config.yaml');
  await mkdir(join(root, 'home/.config/espd'), { recursive: true });
  await symlink('config.yaml', home);
  await rejectsWith(loadConfig(machine(root)), 'config-unreadable', /cannot be read \(ELOOP\)/);
  await rm(home);
  await mkdir(home);
  await rejectsWith(loadConfig(machine(root)), 'config-unreadable', /is a folder/);
  await rm(home, { recursive: true });
  // A file where a folder of the search would be is as good as none.
  await rm(join(root, 'home/.config/espd'), { recursive: true });
  await writeFile(join(root, 'home/.config/espd'), '');
  assert.equal((await loadConfig(machine(root))).path, null);
});

test('no permission is an error that says so', async (context) => {
  const root = await folder(context);
  const path = join(root, 'secret.yaml');
  await write(path, level('warn'));
  await chmod(path, 0o000);
  const isRoot = process.geteuid?.() === 0;
  if (isRoot) await chmod(root, 0o755);
  if (isRoot) process.seteuid?.(65_534);
  try {
    await rejectsWith(loadConfig(machine(root, { path })), 'config-unreadable', /may not be read by this user/);
  } finally {
    if (isRoot) process.seteuid?.(0);
  }
});

test('a broken file is not passed over for the next one', async (context) => {
  const root = await folder(context);
  await write(join(root, 'etc/espd/config.yaml'), level('warn'));
  await write(join(root, 'home/.config/espd/config.yaml'), level('loud'));
  await rejectsWith(loadConfig(machine(root)), 'config-invalid', /config\.yaml:2:10: log\.level wants one of/);
});

test('an endless file is read no further than the limit', { skip: process.platform === 'win32' }, async (context) => {
  const root = await folder(context);
  await rejectsWith(loadConfig(machine(root, { path: '/dev/zero' })), 'config-invalid', /larger than 1 MiB/);
});

test('where the archive is by default', async (context) => {
  const root = await folder(context);
  const at = async (more: Partial<LoadOptions>) => (await loadConfig(machine(root, more))).config.archive.path;
  assert.equal(await at({}), join(root, 'home/.local/share/espd'));
  assert.equal(await at({ env: { XDG_DATA_HOME: '/data' } }), '/data/espd');
  assert.equal(await at({ env: { XDG_DATA_HOME: 'data' } }), join(root, 'home/.local/share/espd'));
  assert.equal(await at({ uid: 0 }), '/var/lib/espd');
  assert.equal(await at({ env: { STATE_DIRECTORY: '/var/lib/other:/var/lib/second' } }), '/var/lib/other');
  const system = join(root, 'etc/espd/config.yaml');
  await write(system, 'archive:\n  path: null\n');
  assert.equal(await at({}), '/var/lib/espd');
  assert.equal(await at({ path: '../etc/espd/config.yaml' }), '/var/lib/espd');
  assert.equal(await at({ env: { STATE_DIRECTORY: '' } }), '/var/lib/espd');
});

test('one installation has one state, whoever asks: queue, name of the station, password of the page', async (context) => {
  const root = await folder(context);
  const at = async (more: Partial<LoadOptions>) => (await loadConfig(machine(root, more))).config.archive.statePath;
  const STATE = join(root, 'home/.local/state/espd');
  assert.equal(await at({}), STATE, 'a daemon of one person');
  assert.equal(await at({ uid: 0 }), '/var/lib/espd');
  assert.equal(await at({ env: { STATE_DIRECTORY: '/var/lib/espd' } }), '/var/lib/espd', 'the service itself');
  assert.equal(await at({ env: { XDG_STATE_HOME: '/state' } }), '/state/espd');
  assert.equal(await at({ env: { XDG_STATE_HOME: 'state' } }), STATE, 'a relative one is ignored');
  const own = join(root, 'own.yaml');
  await write(own, 'archive: { path: /srv/boards }\n');
  assert.equal(await at({ uid: 0, path: own }), STATE, "root's own archive is another installation");
  const overrides = { archive: { path: '/var/lib/espd' } };
  assert.equal(await at({ uid: 0, path: own, overrides }), '/var/lib/espd', "the service's archive by its name");
  assert.equal(await at({ overrides }), '/var/lib/espd', 'whoever names it');
  const system = join(root, 'etc/espd/config.yaml');
  await write(system, 'archive: { path: /srv/boards }\n');
  for (const more of [
    {},
    { uid: 0 },
    { path: system },
    { env: { ESPD_CONFIG: system, XDG_STATE_HOME: '/state' } },
    { overrides: { archive: { path: '/mnt/copy' } } },
    { env: { STATE_DIRECTORY: '/var/lib/espd' } },
  ]) {
    assert.equal(await at(more), '/var/lib/espd', 'of its config');
  }
  await write(system, 'archive: { statePath: /srv/state }\n');
  for (const more of [{}, { uid: 0 }, { env: { STATE_DIRECTORY: '/var/lib/espd' } }]) {
    assert.equal(await at(more), '/srv/state', 'named');
  }
});

test('relative paths are relative to the file, ~/ is the home folder, nothing else is expanded', async (context) => {
  const root = await folder(context);
  const path = join(root, 'work/sub/c.yaml');
  await write(path, 'archive: {path: ../store}\nwatch: {folders: [ports, ~/ports, $HOME/x, /dev/x, "~"]}\n');
  const { config } = await loadConfig(machine(root, { path: 'sub/c.yaml' }));
  assert.equal(config.archive.path, join(root, 'work/store'));
  assert.deepEqual(config.watch.folders, [
    join(root, 'work/sub/ports'),
    join(root, 'home/ports'),
    join(root, 'work/sub/$HOME/x'),
    '/dev/x',
    join(root, 'work/sub/~'),
  ]);
});

test('the command line is stronger than the file, key by key', async (context) => {
  const root = await folder(context);
  const path = join(root, 'work/sub/c.yaml');
  await write(path, 'archive: {path: store, compression: gzip}\nlog: {level: warn, format: json}\n');
  const { config } = await loadConfig(
    machine(root, {
      path,
      overrides: { archive: { path: 'here' }, log: { level: 'debug' }, transfer: { full: true } },
    }),
  );
  assert.equal(config.archive.path, join(root, 'work/here'));
  assert.equal(config.archive.compression, 'gzip');
  assert.deepEqual(config.log, { level: 'debug', format: 'json' });
  assert.equal(config.transfer.full, true);
  const kept = await loadConfig(machine(root, { path, overrides: { archive: {} } }));
  assert.equal(kept.config.archive.path, join(root, 'work/sub/store'));
  await rejectsWith(
    loadConfig(machine(root, { path, overrides: { jobs: { parallel: 0 } } })),
    'usage',
    /jobs\.parallel wants at least 1, found the number 0/,
  );
});

test('schedule.verify: off is null', async (context) => {
  const root = await folder(context);
  const path = join(root, 'c.yaml');
  for (const off of ['off', 'null', '"off"']) {
    await write(path, `schedule: {verify: ${off}}\n`);
    assert.equal((await loadConfig(machine(root, { path }))).config.schedule.verify, null);
  }
});
