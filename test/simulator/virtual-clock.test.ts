import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

import fc from 'fast-check';

import { sleep, withTimeout } from '../../src/clock.ts';
import { VirtualClock } from '../../src/simulator/virtual-clock.ts';

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

test('a day of sleep costs nothing', async () => {
  const clock = new VirtualClock();
  const started = performance.now();
  await sleep(clock, 24 * 3600 * 1000);
  assert.equal(clock.now(), 24 * 3600 * 1000);
  assert.equal(clock.date().toISOString(), '2026-11-24T10:00:00.000Z');
  assert.ok(performance.now() - started < 60_000);
});

test('time stands still while work goes on', async () => {
  const clock = new VirtualClock();
  let fired = false;
  clock.schedule(10_000, () => (fired = true));
  const work = (async () => {
    let steps = 0;
    for (; steps < 1000; steps++) await Promise.resolve();
    return steps;
  })();
  assert.equal(await withTimeout(clock, 1, work, () => new Error('too late')), 1000);
  assert.equal(fired, false);
});

test('timers run in order of time, then of scheduling, one at a time', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 40 }), async (delays) => {
      const clock = new VirtualClock({ automatic: false });
      const order: number[] = [];
      const times: number[] = [];
      delays.forEach((delayMs, index) =>
        clock.schedule(delayMs, () => {
          order.push(index);
          times.push(clock.now());
        }),
      );
      await clock.advance(20);
      const expected = delays.map((delayMs, index) => ({ delayMs, index }));
      expected.sort((a, b) => a.delayMs - b.delayMs || a.index - b.index);
      assert.deepEqual(
        order,
        expected.map(({ index }) => index),
      );
      assert.deepEqual(
        times,
        expected.map(({ delayMs }) => delayMs),
      );
    }),
    { numRuns: 25 },
  );
});

test('what a timer starts runs before the next timer', async () => {
  const clock = new VirtualClock();
  const seen: string[] = [];
  clock.schedule(5, () => {
    void (async () => {
      for (let step = 0; step < 20; step++) await Promise.resolve();
      seen.push('work of the first');
    })();
  });
  clock.schedule(5, () => seen.push('second'));
  await sleep(clock, 6);
  assert.deepEqual(seen, ['work of the first', 'second']);
});

test('a cancelled timer never runs, also when cancelled by another of the same time', async () => {
  const clock = new VirtualClock();
  let ran = 0;
  const cancel = clock.schedule(5, () => ran++);
  cancel();
  cancel();
  let cancelOther: () => void = () => undefined;
  clock.schedule(6, () => cancelOther());
  cancelOther = clock.schedule(6, () => ran++);
  await sleep(clock, 10);
  assert.equal(ran, 0);
  assert.equal(clock.pendingTimers, 0);
});

test('held time does not move; released it does; a second release changes nothing', async () => {
  const clock = new VirtualClock();
  const release = clock.hold();
  const other = clock.hold();
  let fired = false;
  clock.schedule(1, () => (fired = true));
  for (let turns = 0; turns < 50; turns++) await turn();
  release();
  release();
  for (let turns = 0; turns < 50; turns++) await turn();
  assert.equal(fired, false);
  assert.equal(clock.now(), 0);
  other();
  await sleep(clock, 2);
  assert.equal(fired, true);
});

test('holdDuring releases after failure too', async () => {
  const clock = new VirtualClock();
  await assert.rejects(clock.holdDuring(Promise.reject(new Error('no'))), /no/);
  await sleep(clock, 1000);
});

test('the file system is waited for: no timeout fires before the bytes are there', async () => {
  const clock = new VirtualClock();
  const folder = await mkdtemp(join(tmpdir(), 'espd-clock-'));
  try {
    const written = writeFile(join(folder, 'large'), Buffer.alloc(8 * 1024 * 1024, 1));
    await withTimeout(clock, 1, written, () => new Error('time ran ahead of the disk'));
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('does nothing when there is nothing to do', async () => {
  const clock = new VirtualClock();
  await sleep(clock, 1);
  let immediates = 0;
  const original = globalThis.setImmediate;
  globalThis.setImmediate = ((...args: Parameters<typeof setImmediate>) => {
    immediates++;
    return original(...args);
  }) as typeof setImmediate;
  try {
    await new Promise<void>((resolve) => setTimeout(resolve, 20));
  } finally {
    globalThis.setImmediate = original;
  }
  assert.equal(immediates, 0);
});

test('stepping by hand: only what falls due runs, and timers born on the way count', async () => {
  const clock = new VirtualClock({ automatic: false });
  const seen: number[] = [];
  const tick = () => {
    seen.push(clock.now());
    clock.schedule(10, tick);
  };
  clock.schedule(10, tick);
  for (let turns = 0; turns < 10; turns++) await turn();
  assert.deepEqual(seen, []);
  await clock.advance(35);
  assert.deepEqual(seen, [10, 20, 30]);
  assert.equal(clock.now(), 35);
  clock.clear();
  await clock.advance(100);
  assert.deepEqual(seen, [10, 20, 30]);
});

test('negative and fractional delays', async () => {
  const clock = new VirtualClock();
  const seen: number[] = [];
  clock.schedule(0.25, () => seen.push(clock.now()));
  clock.schedule(-5, () => seen.push(clock.now()));
  await sleep(clock, 1);
  assert.deepEqual(seen, [0, 0.25]);
});
