/** The documents on docs/json.md, compared with those that espd prints. */

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { demoImage } from '../../src/simulator/index.ts';
import { Bench, KIB } from '../support/cli.ts';
import { readPage } from './pages.ts';

/** The board of all commands on the page, and the file that `import` has there. */
const MAC = '50:02:91:c3:37:a5';
const DUMP = '500291c337a6_2024-01-02.bin';

/** `$ espd COMMAND` and below it the document. */
function documents(markdown: string): { command: string; shown: unknown }[] {
  return [...markdown.matchAll(/^```\n\$ espd (.*)\n([^]*?)^```$/gm)].map(([, command = '', text = '']) => ({
    command,
    shown: JSON.parse(text) as unknown,
  }));
}

/**
 * Paths of all that `shown` has and `real` has not, or has as another type. An empty list or null on one side says nothing
 * about what could stand there.
 */
function missing(shown: unknown, real: unknown, path: string): string[] {
  if (shown === null || real === null) return [];
  if (Array.isArray(shown) && Array.isArray(real)) {
    return shown.length === 0 || real.length === 0 ? [] : missing(shown[0], real[0], `${path}[0]`);
  }
  if (typeof shown !== typeof real || Array.isArray(shown) !== Array.isArray(real)) return [path];
  if (typeof shown !== 'object') return [];
  const fields = real as Readonly<Record<string, unknown>>;
  return Object.entries(shown).flatMap(([key, value]) =>
    key in fields ? missing(value, fields[key], `${path}.${key}`) : [`${path}.${key}`],
  );
}

/** As a shell takes them apart: blanks count, but between double quotes. */
function wordsOf(command: string): string[] {
  return [...command.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, word]) => quoted ?? word ?? '');
}

test('what docs/json.md shows of each command is in its real document, as the same type', async (t) => {
  const bench = await Bench.open(t);
  const { board, address } = await bench.addBoard({ family: 'esp8266' });
  await bench.run(['backup', '--port', address]);
  // A second backup, so that the document has a transfer that read something.
  board.flash.erase(0x70000, 0x1000);
  board.flash.program(0x70000, Buffer.alloc(0x1000, 'changed '));
  const commands = documents(readPage('docs/json.md'));
  assert.deepEqual(
    commands.map(({ command }) => command.split(' ')[0]),
    [
      ...['identify', 'backup', 'list', 'contents', 'verify', 'verify'],
      ...['label', 'pin', 'prune', 'diff', 'export', 'import'],
    ],
  );
  await writeFile(join(bench.folder, DUMP), demoImage({ family: 'esp32', sizeBytes: 1024 * KIB, appBytes: 100 * KIB }));
  for (const { command, shown } of commands) {
    const args = wordsOf(command.replace(/--(port|mac) \S+/, '')).map((word) =>
      word.endsWith('.bin') ? join(bench.folder, word) : word.replace(MAC, board.mac),
    );
    const { json } = await bench.runJson<object>(args.filter((argument) => argument !== '--json'));
    assert.deepEqual(missing(shown, json, command), []);
  }
});

test('fields that espd does not print are found', () => {
  const shown = { a: [{ b: 1, c: 'x', d: {} }], e: null };
  assert.deepEqual(missing(shown, { a: [{ b: 2, c: 'y', d: {}, more: 1 }], e: 1 }, 'x'), []);
  assert.deepEqual(missing(shown, { a: [{ b: '2', c: 'y' }] }, 'x'), ['x.a[0].b', 'x.a[0].d', 'x.e']);
  assert.deepEqual(missing(shown, { a: {}, e: 1 }, 'x'), ['x.a']);
});
