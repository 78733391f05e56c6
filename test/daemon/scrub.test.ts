/** The scrub: its share of the time, boards first, and what it goes on with. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Archive } from '../../src/archive/types.ts';
import { Scrub } from '../../src/daemon/scrub.ts';
import { FleetView } from '../../src/daemon/fleet-view.ts';
import { silentLogger } from '../../src/log.ts';
import { VirtualClock } from '../../src/simulator/virtual-clock.ts';

const REPORT = { checked: 3, damaged: [], unreadable: [], foreign: [] };

function setUp(sharePercent: number, tookMs: number) {
  const clock = new VirtualClock();
  const state = { busyUntilMs: 0, unfinished: null as number | null, passes: 0, atMs: [] as number[] };
  const archive: Pick<Archive, 'verify' | 'unfinishedPass'> = {
    unfinishedPass: () => Promise.resolve(state.unfinished),
    verify: async ({ pass, between }) => {
      assert.equal(pass, true);
      state.passes++;
      for (let backup = 0; backup < 3; backup++) {
        state.atMs.push(clock.now());
        await new Promise<void>((resolve) => clock.schedule(tookMs, resolve));
        await between?.(tookMs);
      }
      return REPORT;
    },
  };
  const isBusy = () => clock.now() < state.busyUntilMs;
  const scrub = new Scrub({
    ...{ archive, clock, log: silentLogger, emit: () => undefined, isBusy },
    sharePercent: () => sharePercent,
  });
  return { clock, state, scrub, signal: new AbortController().signal };
}

test('it takes its share of the time and no more', async () => {
  const { state, scrub, signal, clock } = setUp(25, 1000);
  const startMs = clock.now();
  await scrub.run(signal);
  assert.deepEqual(
    state.atMs.map((ms) => ms - startMs),
    [0, 4000, 8000],
  );
  const whole = setUp(100, 1000);
  await whole.scrub.run(whole.signal);
  assert.equal((whole.state.atMs[2] ?? 0) - (whole.state.atMs[0] ?? 0), 2000);
});

test('boards go first, but not for ever', async () => {
  const { state, scrub, signal, clock } = setUp(100, 1000);
  const startMs = clock.now();
  state.busyUntilMs = startMs + 12_000;
  await scrub.run(signal);
  assert.deepEqual(
    state.atMs.map((ms) => ms - startMs),
    [15_000, 16_000, 17_000],
  );
  const always = setUp(100, 1000);
  always.state.busyUntilMs = Infinity;
  await always.scrub.run(always.signal);
  assert.equal((always.state.atMs[1] ?? 0) - (always.state.atMs[0] ?? 0), 601_000);
});

test('one pass at a time, and only one that was broken off is resumed', async () => {
  const { state, scrub, signal } = setUp(50, 10);
  await scrub.resume(signal);
  assert.equal(state.passes, 0);
  state.unfinished = 5;
  await Promise.all([scrub.resume(signal), scrub.run(signal), scrub.run(signal)]);
  assert.equal(state.passes, 1);
  await scrub.run(signal);
  assert.equal(state.passes, 2);
});

test('an end comes at once, in a rest too', async () => {
  const { scrub } = setUp(1, 1000);
  const stop = new AbortController();
  const work = scrub.run(stop.signal);
  stop.abort(new Error('stopped'));
  await assert.rejects(work, /stopped/);
});

test('the archive is looked around in at the start and now and then, and a disk that hangs holds up no stop', async () => {
  const clock = new VirtualClock({ automatic: false });
  let looks = 0;
  const archive = { lookAround: () => (++looks < 3 ? Promise.resolve() : new Promise<void>(() => undefined)) };
  const view = new FleetView({ archive, clock, log: silentLogger });
  view.start();
  for (let period = 0; period < 3; period++) {
    await new Promise((resolve) => setImmediate(resolve));
    await clock.advance(15 * 60 * 1000);
  }
  assert.equal(looks, 3);
  view.stop();
  await new Promise((resolve) => setImmediate(resolve));
  await clock.advance(60 * 60 * 1000);
  assert.equal(looks, 3);
});
