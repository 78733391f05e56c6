/** What `--help` says: for every command the exit statuses, and nothing that espd does not have. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EXIT } from '../../src/errors.ts';
import { VERSION } from '../../src/version.ts';
import { Bench, assertPlain } from '../support/cli.ts';

const COMMANDS = [
  ...['daemon', 'identify', 'backup', 'restore', 'undo', 'list', 'label', 'show', 'diff', 'verify'],
  ...[
    'export',
    'import',
    'prune',
    'pin',
    'unpin',
    'doctor',
    'demo',
    'hold',
    'release',
    'wait',
    'run',
    'web',
    'contents',
  ],
];
const NOT_THERE = /\b(mqtt|dashboard|bucket|S3)\b/i;

test('the help of the program names every command and every common option', async (t) => {
  const bench = await Bench.open(t);
  const { status, stdout, stderr } = await bench.run(['--help']);
  assert.equal(status, 0);
  assert.equal(stderr, '');
  for (const command of COMMANDS) assert.match(stdout, new RegExp(`^  ${command}\\b`, 'm'));
  for (const option of ['--config', '--archive', '--json', '--log-level', '--no-color', '--version']) {
    assert.ok(stdout.includes(option), option);
  }
});

for (const args of [[], ...COMMANDS.map((command) => [command]), ['flash-id']]) {
  test(`"espd ${[...args, '--help'].join(' ')}" lists the exit statuses and promises nothing that is not there`, async (t) => {
    const bench = await Bench.open(t);
    const { status, stdout, stderr } = await bench.run([...args, '--help']);
    assert.equal(status, 0, stderr);
    for (const line of stdout.split('\n')) assert.ok(line.length <= 80, `wraps at 80 columns: ${line}`);
    assert.deepEqual(exitStatuses(stdout), [...Object.values(EXIT)]);
    // "Exit status" is a heading.
    const promises = stdout.replaceAll('Exit status:', '');
    assert.doesNotMatch(promises, NOT_THERE);
    assertPlain(stdout);
    for (const line of stdout.split('\n')) assert.ok(line.length <= 120, line);
  });
}

test('help also comes as a command', async (t) => {
  const bench = await Bench.open(t);
  const { stdout } = await bench.run(['restore', '--help']);
  const asCommand = await bench.run(['help', 'restore']);
  assert.deepEqual([asCommand.status, asCommand.stdout, asCommand.stderr], [0, stdout, '']);
  for (const option of ['--mac', '--at', '--port', '--to', '--dry-run', '--yes']) assert.ok(stdout.includes(option));
});

test('the version is that of the package', async (t) => {
  const bench = await Bench.open(t);
  for (const option of ['--version', '-V']) {
    const { status, stdout, stderr } = await bench.run([option]);
    assert.deepEqual([status, stdout, stderr], [0, `${VERSION}\n`, '']);
  }
});

function exitStatuses(help: string): number[] {
  const list = /Exit status:\n((?: +\d+ +\S.*\n)+)/.exec(help)?.[1] ?? '';
  return [...list.matchAll(/^ +(\d+) /gm)].map(([, status]) => Number(status));
}
