/** When remotes are looked at again by the clock. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Rounds } from '../../src/daemon/rounds.ts';
import { EspdError } from '../../src/errors.ts';
import type { PortInfo } from '../../src/serial/ports.ts';
import { remotePorts } from '../../src/serial/remotes.ts';
import { VirtualClock } from '../../src/simulator/virtual-clock.ts';
import { Workshop, type BoardDevice } from './workshop.ts';

const HOUR_MS = 3_600_000;
const ADDRESS = 'rfc2217://pi:4001';
const [PORT] = remotePorts([{ name: 'desk', url: ADDRESS }]) as [PortInfo];

function roundsOf(everyMs: number | undefined) {
  const clock = new VirtualClock({ automatic: false });
  const state = { everyMs, due: [] as number[] };
  const rounds = new Rounds({
    clock,
    everyMs: () => state.everyMs,
    onDue: ({ address }) => {
      assert.equal(address, ADDRESS);
      state.due.push(clock.now() / HOUR_MS);
    },
  });
  return { clock, rounds, state };
}

describe('rounds', () => {
  it('come so long after the last job, and not at all where the config says nothing', async () => {
    for (const [everyMs, wanted] of [
      [undefined, []],
      [12 * HOUR_MS, [12, 24]],
    ] as const) {
      const { clock, rounds, state } = roundsOf(everyMs);
      rounds.onPortEvent({ kind: 'attached', port: PORT });
      for (const at of [12, 24]) {
        await clock.advance(at * HOUR_MS - clock.now());
        rounds.jobEnded(PORT, true);
      }
      await clock.advance(11 * HOUR_MS);
      assert.deepEqual(state.due, wanted);
      rounds.close();
      await clock.advance(1000 * HOUR_MS);
      assert.deepEqual(state.due, wanted);
    }
  });

  it('wait twice as long each time that no board is found, at most 16 times, until one is', async () => {
    const { clock, rounds, state } = roundsOf(HOUR_MS);
    rounds.onPortEvent({ kind: 'attached', port: PORT });
    for (let hour = 0; hour < 80; hour++) {
      const before = state.due.length;
      await clock.advance(HOUR_MS);
      if (state.due.length > before) rounds.jobEnded(PORT, false);
    }
    assert.deepEqual(state.due, [1, 3, 7, 15, 31, 47, 63, 79]);
    rounds.jobEnded(PORT, true);
    await clock.advance(HOUR_MS);
    assert.deepEqual(state.due.slice(8), [81]);
    rounds.close();
  });

  it('that begin no job, because a rule forbids it, go on by the clock', async () => {
    const { clock, rounds, state } = roundsOf(HOUR_MS);
    rounds.onPortEvent({ kind: 'attached', port: PORT });
    await clock.advance(8 * HOUR_MS);
    assert.deepEqual(state.due, [1, 3, 7]);
    rounds.close();
  });

  it('follow the config: another time, never, again; another name; gone', async () => {
    const { clock, rounds, state } = roundsOf(undefined);
    rounds.onPortEvent({ kind: 'attached', port: PORT });
    await clock.advance(10 * HOUR_MS);
    state.everyMs = 12 * HOUR_MS;
    rounds.applied();
    rounds.onPortEvent({ kind: 'renamed', port: { ...PORT, name: 'bench' } });
    await clock.advance(2 * HOUR_MS);
    assert.deepEqual(state.due, [12]);
    rounds.jobEnded(PORT, true);
    state.everyMs = undefined;
    rounds.applied();
    await clock.advance(100 * HOUR_MS);
    // Long over: at once.
    state.everyMs = HOUR_MS;
    rounds.applied();
    await clock.advance(1);
    assert.equal(state.due.length, 2);
    rounds.onPortEvent({ kind: 'detached', port: PORT });
    rounds.jobEnded(PORT, true);
    await clock.advance(100 * HOUR_MS);
    assert.equal(state.due.length, 2);
    rounds.close();
  });

  it('longer than a timer can count', async () => {
    const { clock, rounds, state } = roundsOf(366 * 24 * HOUR_MS);
    rounds.onPortEvent({ kind: 'attached', port: PORT });
    await clock.advance(365 * 24 * HOUR_MS);
    assert.deepEqual(state.due, []);
    await clock.advance(24 * HOUR_MS);
    assert.equal(state.due.length, 1);
    rounds.close();
  });

  it('are for remotes alone', async () => {
    const { clock, rounds, state } = roundsOf(HOUR_MS);
    const { name, ...other } = PORT;
    assert.equal(name, 'desk');
    rounds.onPortEvent({ kind: 'attached', port: other });
    await clock.advance(100 * HOUR_MS);
    assert.deepEqual(state.due, []);
  });
});

describe('rounds of the daemon', () => {
  const rounds = new Map([[ADDRESS, 12 * HOUR_MS]]);
  const remote = (shop: Workshop, more: Parameters<Workshop['board']>[0] = {}): BoardDevice => ({
    ...{ ...shop.board({ ...more, address: ADDRESS }), usb: null, name: 'desk' },
  });

  it('look at the board again, and find the one that was exchanged', async (t) => {
    const shop = await Workshop.started(t, { settings: { rounds } });
    const device = remote(shop);
    shop.plug(device);
    await shop.said('Backed up and verified', { mac: device.board.mac });
    await shop.idle();
    await shop.pass(12 * HOUR_MS);
    await shop.said('Looking again', { port: ADDRESS, name: 'desk' });
    await shop.said('Unchanged since its last backup');
    assert.deepEqual(
      shop.eventsOf('job-queued').map(({ cause }) => cause),
      ['plug-in', 'round'],
    );
    await shop.idle();
    const other = shop.board({ slot: 1, address: ADDRESS });
    // No plug-in that anybody sees.
    Object.assign(device, { board: other.board });
    await shop.pass(12 * HOUR_MS);
    await shop.said('Backed up and verified', { mac: other.board.mac });
    await shop.pass(HOUR_MS);
    assert.equal(shop.opensOf(ADDRESS), 3);
  });

  it('touch nothing that somebody holds or a rule denies; neither grace nor watch.due is for them', async (t) => {
    const timing = { graceMs: 600_000, quietHours: null, timezone: 'UTC', dueMs: 30 * 24 * HOUR_MS };
    const shop = await Workshop.started(t, { settings: { rounds, timing } });
    const device = remote(shop);
    shop.plug(device);
    await shop.pass(600_000);
    await shop.said('Backed up and verified');
    await shop.idle();
    shop.daemon.hold('desk', { by: 'Ada' });
    await shop.pass(13 * HOUR_MS);
    assert.equal(shop.opensOf(ADDRESS), 1);
    // No grace again.
    shop.daemon.release('desk');
    await shop.said('Unchanged since its last backup');
    await shop.idle();
    assert.ok(shop.clock.now() < 14 * HOUR_MS);
    const opens = shop.opensOf(ADDRESS);
    shop.apply({ rounds, rules: { allow: [], deny: [{ path: 'desk' }] } });
    await shop.pass(200 * HOUR_MS);
    assert.equal(shop.opensOf(ADDRESS), opens);
  });

  it('of a remote without a board become rare', async (t) => {
    const shop = await Workshop.started(t, { settings: { rounds } });
    const device = remote(shop, { faults: [{ kind: 'mute' }] });
    shop.plug(device);
    await shop.pass(HOUR_MS);
    const opens = shop.opensOf(ADDRESS);
    await shop.pass(30 * 24 * HOUR_MS);
    // After 12, 24, 48, 96, 192 hours, and then 192 again.
    assert.deepEqual(shop.eventsOf('job-queued').filter(({ cause }) => cause === 'round').length, 6);
    assert.equal(shop.opensOf(ADDRESS), opens + 6);
    assert.equal(shop.complaints.length, 1, JSON.stringify(shop.complaints));
  });

  it('find one that was away when its time came as soon as it is back', async (t) => {
    const shop = await Workshop.started(t, { settings: { rounds } });
    const device = remote(shop);
    shop.plug(device);
    await shop.said('Backed up and verified');
    await shop.idle();
    shop.beforeOpen = () => {
      throw new EspdError('port-missing', `${ADDRESS}: nothing listens there`);
    };
    await shop.pass(13 * HOUR_MS);
    assert.equal(shop.eventsOf('job-failed').at(-1)?.retryInMs, 600_000);
    shop.beforeOpen = () => undefined;
    await shop.pass(600_000);
    await shop.said('Unchanged since its last backup');
  });
});
