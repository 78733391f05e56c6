import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Bench, parseJson } from '../support/cli.ts';
import { EspdProcess } from './support.ts';

test('the demo runs from end to end, and every one of its steps is right', { timeout: 120_000 }, async (t) => {
  const bench = await Bench.open(t);
  // Whatever the config of the machine says: the demo brings its own.
  await bench.configure({ log: { level: 'error' }, watch: { existing: 'none' } });
  const demo = new EspdProcess(t, bench, ['demo', '--json']);
  assert.equal(await demo.status(), 0, demo.stderr + demo.stdout);
  const { ok, steps } = parseJson<{ ok: boolean; steps: { step: string; detail: string }[] }>(demo.stdout);
  assert.equal(ok, true);
  const names = steps.map(({ step }) => step);
  assert.equal(names.filter((name) => name === 'Backed up and verified').length, 4);
  assert.equal(names.filter((name) => name === 'Unchanged since its last backup').length, 1);
  for (const command of ['restored', 'espd list', 'espd verify']) assert.ok(names.includes(command), command);
  assert.equal(demo.stderr, '');
});
