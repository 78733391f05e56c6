/** Options, and everything that is wrong before any board or archive is touched. */

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { Bench, parseJson } from '../support/cli.ts';
import { MAC, archiveAt, backUp, image } from '../archive/support.ts';

test('wrong usage: status 2, one sentence, a hint', async (t) => {
  const bench = await Bench.open(t);
  const cases: [string[], RegExp][] = [
    [[], /No command given/],
    [['frobnicate'], /unknown command 'frobnicate'/],
    [['lst'], /unknown command 'lst'[^]*Did you mean list/],
    [['list', '--frobnicate'], /unknown option '--frobnicate'/],
    [['list', 'extra'], /too many arguments/],
    [['show'], /missing required argument 'board'/],
    [['restore'], /Name a board/],
    [['restore', '--mac'], /argument missing/],
    [['backup', '--mac', 'c337a5'], /A MAC looks like 50:02:91:c3:37:a5/],
    [['backup', '--mac', '-'], /A MAC looks like/],
    [['list', '--firmware', '<13'], /No firmware is named/],
    [['list', '--firmware', 'Tasmota <new'], /"new" is no version[^]*'Tasmota <13'/],
    [['list', '--firmware', 'Tasmota 13'], /"13" looks like a version/],
    [['list', '--not-seen-for', '30'], /A span of time looks like 12h, 30d/],
    [['list', '--not-seen-for', '0d'], /A span of time looks like/],
    [['list', '--not-seen-for', '30m'], /A span of time looks like/],
    [['list', '--sort', 'color'], /Allowed choices are mac, label/],
    [['label'], /missing required argument 'board'/],
    [['label', 'kitchen'], /Nothing is to be changed/],
    [['label', 'kitchen', '--note'], /argument missing/],
    [['backup', '--mac', '50:02:91:c3:37'], /A MAC looks like/],
    [['restore', '--mac', MAC, '--to', '50:02:91:c3:37:a'], /A MAC looks like/],
    [['verify', '--port', '/dev/ttyUSB0'], /--port goes together with --device/],
    [['--log-level', 'loud', 'list'], /Allowed choices are error, warn, info, debug/],
    [['--archive', '', 'list'], /archive/],
    [['identify', '--port', ''], /port has no name/],
    [['identify', '--port', 'rfc2217://nowhere'], /port number is missing|not a valid network address/],
    [['identify', '--port', 'rfc2217://127.0.0.1:99999'], /not a valid network address/],
    [['identify', '--port', 'http://127.0.0.1:80'], /unknown scheme http/],
  ];
  for (const [args, message] of cases) {
    const people = await bench.run(args);
    assert.equal(people.status, 2, `${args.join(' ')}: ${people.stderr}`);
    assert.equal(people.stdout, '');
    assert.match(people.stderr, message);
    assert.match(people.stderr, /\(usage\)\n +\S/, args.join(' '));
    const error = await bench.fails(args, 'usage');
    assert.match(`${error.message} ${error.hint}`, message);
  }
});

test('common options stand before or behind the name of the command', async (t) => {
  const bench = await Bench.open(t);
  const archive = join(bench.folder, 'elsewhere');
  await backUp(archiveAt(archive), image(4096));
  const orders = [
    ['--archive', archive, '--json', 'list'],
    ['list', '--archive', archive, '--json'],
    ['--archive', archive, 'list', '--json'],
    ['--json', `--archive=${archive}`, 'list', '--no-color', '--log-level', 'debug'],
    ['--log-level=error', '--no-color', '--json', 'list', '--archive', archive],
  ];
  for (const args of orders) {
    const { status, stdout } = await bench.run(args);
    assert.equal(status, 0);
    assert.equal(parseJson<{ boards: unknown[] }>(stdout).boards.length, 1, args.join(' '));
  }
});

test('the config comes from --config before $ESPD_CONFIG before the home folder, the archive from --archive first', async (t) => {
  const bench = await Bench.open(t);
  const write = async (name: string) => {
    const path = join(bench.folder, `${name}.yaml`);
    await mkdir(join(path, '..'), { recursive: true });
    await writeFile(path, `archive: { path: ./archive-of-${name.replaceAll('/', '-')} }\n`);
    return path;
  };
  const [option, variable] = [await write('option'), await write('variable')];
  await write('.config/espd/config');
  const emptyIn = async (args: string[], env: NodeJS.ProcessEnv) => {
    const { status, stderr } = await bench.run(['list', ...args], { env });
    assert.equal(status, 3);
    return /There is no archive at (\S+) /.exec(stderr)?.[1];
  };
  const at = (name: string) => join(bench.folder, name);
  assert.equal(await emptyIn(['--config', option], { ESPD_CONFIG: variable }), at('archive-of-option'));
  assert.equal(await emptyIn([], { ESPD_CONFIG: variable }), at('archive-of-variable'));
  assert.equal(await emptyIn([], { ESPD_CONFIG: '' }), at('.config/espd/archive-of-.config-espd-config'));
  assert.equal(await emptyIn(['--archive', at('x')], { ESPD_CONFIG: variable }), at('x'));
});

test('a config that is missing, broken or wrong: status 2, with line and column', async (t) => {
  const bench = await Bench.open(t);
  await bench.fails(['list', '--config', join(bench.folder, 'none.yaml')], 'config-unreadable');
  await bench.fails(['list', '--config', bench.folder], 'config-unreadable');
  const cases: [string, RegExp][] = [
    ['archive: { path: /tmp/x }\nwatcch: {}\n', /:2:1: .*watcch.*watch/],
    ['jobs:\n  parallel: many\n', /:2:13: .*jobs\.parallel/],
    ['jobs:\n  parallel: 0\n', /:2:13: /],
    ['jobs: [1\n', /:\d+:\d+: not YAML/],
    ['jobs:\n\tparallel: 1\n', /:2:1: a tab/],
    ['serial: { resetSequence: "D0|X1" }\n', /:1:26: /],
    ['a: 1\nb: 2\n', /:1:1: [^]*:2:1: /],
  ];
  const path = join(bench.folder, 'broken.yaml');
  for (const [text, message] of cases) {
    await writeFile(path, text);
    const people = await bench.run(['list', '--config', path]);
    assert.equal(people.status, 2);
    assert.match(people.stderr, message);
    assert.match(people.stderr, /\(config-invalid\)\n +Every key/);
    const error = await bench.fails(['list', '--config', path], 'config-invalid');
    assert.match(error.message, message);
    assert.ok(error.message.includes(path));
  }
});

test('a config that may not be read', { skip: process.getuid?.() === 0 && 'root may read everything' }, async (t) => {
  const bench = await Bench.open(t);
  await chmod(bench.configPath, 0);
  await bench.fails(['list'], 'config-unreadable');
});

test('commands that only look make nothing', async (t) => {
  const bench = await Bench.open(t);
  for (const args of [['list'], ['verify'], ['show', MAC], ['identify']]) await bench.run(args);
  assert.equal(existsSync(bench.archivePath), false);
});
