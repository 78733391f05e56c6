/** How good the line at each socket is, and what speaks for cable, socket or board. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Mac, parseMac } from '../../src/mac.ts';
import {
  type LineResult,
  type LineResults,
  MOST_RESULTS,
  addResult,
  readLineResults,
  scoreOf,
  scoreText,
  socketText,
  writeLineResults,
} from '../../src/transfer/line-scores.ts';

const [A, B] = [parseMac('24:0a:c4:00:00:01')!, parseMac('24:0a:c4:00:00:02')!];
const good = (mac: Mac | null = A): LineResult => ({ mac, retries: 0, isLost: false });
const lost = (mac: Mac | null = A): LineResult => ({ mac, retries: 0, isLost: true });
const slow = (retries: number): LineResult => ({ mac: A, retries, isLost: false });
const at = (sockets: Record<string, LineResult[]>): LineResults => new Map(Object.entries(sockets));

test('a score is that of the last jobs', () => {
  const cases: [LineResult[], number, boolean][] = [
    [[good()], 100, false],
    [[lost(), lost()], 0, false],
    [[lost(), lost(), lost()], 0, true],
    [[good(), good(), lost()], 67, false],
    [[good(), lost(), lost()], 33, true],
    [[slow(1), slow(3), slow(2)], 50, true],
    [[slow(4), good(), good(), good(), good()], 80, false],
  ];
  for (const [list, score, isBad] of cases) {
    const told = scoreOf(at({ s: list }), 's');
    assert.deepEqual([told?.score, told?.isBad], [score, isBad], JSON.stringify(list));
  }
  assert.equal(scoreOf(at({}), 's'), undefined);
});

test('who is to blame is said by what else is known', () => {
  const bad = [lost(), lost(), lost()];
  const blame = (sockets: Record<string, LineResult[]>) => scoreOf(at(sockets), 'one')?.blame;
  assert.equal(blame({ one: bad }), 'unknown');
  assert.equal(blame({ one: bad, two: [good(B)] }), 'unknown');
  assert.equal(blame({ one: bad, two: [good(A)] }), 'socket');
  assert.equal(blame({ one: [...bad, lost(B)] }), 'socket');
  assert.equal(blame({ one: bad, two: [lost(A)] }), 'board');
  assert.equal(blame({ one: [lost(null), lost(null), lost(null)] }), 'unknown');
});

test('it is said in words', () => {
  const text = (list: LineResult[]) => scoreText(scoreOf(at({ 'usb 1-1.4:1.0': list }), 'usb 1-1.4:1.0')!);
  assert.equal(
    text([lost(), slow(1)]),
    'The line at USB 1-1.4 was lost 1 time and needed 1 retry in its last 2 jobs: score 25 of 100',
  );
  assert.equal(text([slow(2)]), 'The line at USB 1-1.4 needed 2 retries in its last 1 jobs: score 50 of 100');
  assert.equal(socketText('usb 1-2'), 'USB 1-2');
});

test('law: a score is within its bounds, and what was long ago counts no more', () => {
  const result = fc.record({ mac: fc.constantFrom(A, B, null), retries: fc.nat(20), isLost: fc.boolean() });
  fc.assert(
    fc.property(fc.array(result, { maxLength: 40 }), (list) => {
      let results: LineResults = new Map();
      for (const one of list) results = addResult(results, 's', one);
      const score = scoreOf(results, 's')?.score ?? 100;
      assert.ok(score >= 0 && score <= 100);
      for (let times = 0; times < MOST_RESULTS; times++) results = addResult(results, 's', good());
      assert.equal(scoreOf(results, 's')?.score, 100);
    }),
  );
});

test('what is kept comes back; what is no such document is nothing', async () => {
  const files = new Map<string, Buffer>();
  const store = {
    read: (name: string) => Promise.resolve(files.get(name)),
    write: (name: string, bytes: Buffer) => Promise.resolve(void files.set(name, bytes)),
  };
  const results = at({ 'usb 1-1.4:1.0': [good(), lost(null), slow(2)], 'usb 1-2': [] });
  await writeLineResults(store, results);
  assert.deepEqual(await readLineResults(store), results);
  const [name = ''] = files.keys();
  for (const text of [
    '',
    '{',
    'null',
    '[]',
    '{"version":1}',
    '{"version":2,"sockets":{}}',
    '{"version":1,"sockets":[1]}',
  ]) {
    files.set(name, Buffer.from(text));
    assert.equal((await readLineResults(store)).size, 0, text);
  }
  const hostile = {
    'usb 1-1': [{ mac: 'x', retries: 1, isLost: true }, { retries: -1 }, null, 5],
    '../x': [],
    'usb \u001b': [],
  };
  files.set(name, Buffer.from(JSON.stringify({ version: 1, sockets: hostile })));
  assert.deepEqual(await readLineResults(store), new Map([['usb 1-1', []]]));
  assert.deepEqual(await readLineResults({ read: () => Promise.reject(new Error('EIO')) }), new Map());
});
