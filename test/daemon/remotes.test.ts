/** Remotes of the config at the daemon: when their boards are looked at, and when they are not. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { EspdError, type ErrorCode } from '../../src/errors.ts';
import { type BoardDevice, type Device, PACED, Workshop, macOf, reading } from './workshop.ts';

const ADDRESS = 'rfc2217://pi:4001';
const DAY_MS = 24 * 3_600_000;

function remote(shop: Workshop, more: Parameters<Workshop['board']>[0] = {}): BoardDevice {
  const device = shop.board({ ...more, address: ADDRESS });
  return { ...device, usb: null, name: 'desk' };
}

/** What opening fails with, as long as it is set. */
function failing(shop: Workshop, code: ErrorCode | undefined) {
  const trouble = { code };
  shop.beforeOpen = () => {
    if (trouble.code !== undefined) throw new EspdError(trouble.code, `${ADDRESS}: ${trouble.code}`);
  };
  return trouble;
}

const viewOf = (shop: Workshop) => shop.eventsOf('job-failed').at(-1);

describe('a remote', () => {
  it('that is there at the start is looked at once, and not opened again in a day', async (t) => {
    const shop = await Workshop.open(t);
    const device = remote(shop);
    shop.present.push(device);
    await shop.daemon.start();
    await shop.said('Looking at a remote', { port: ADDRESS, name: 'desk' });
    await shop.said('Backed up and verified', { port: ADDRESS });
    await shop.idle();
    await shop.archived(device.board);
    const resets = device.board.resets;
    await shop.pass(DAY_MS);
    assert.equal(shop.opensOf(ADDRESS), 1);
    assert.equal(device.board.resets, resets);
    assert.equal(shop.eventsOf('port-attached')[0]?.name, 'desk');
  });

  it('is left alone at the start where the config says that nothing is touched then', async (t) => {
    const shop = await Workshop.open(t, { settings: { existing: 'none' } });
    const device = remote(shop);
    shop.present.push(device);
    await shop.daemon.start();
    await shop.pass(DAY_MS);
    assert.equal(shop.opensOf(ADDRESS), 0);
    shop.apply({ existing: 'known' });
    await shop.said('Backed up and verified', { port: ADDRESS });
  });

  for (const code of ['port-missing', 'port-busy', 'port-failed'] as const) {
    it(`that cannot be opened (${code}) is tried again: soon, then rarely; told once; and looked at when it can`, async (t) => {
      const shop = await Workshop.started(t);
      const device = remote(shop);
      const trouble = failing(shop, code);
      shop.plug(device);
      await shop.pass(3_600_000);
      // 5, 15, 30, 60 s, then every 10 minutes.
      assert.equal(shop.opensOf(ADDRESS), 5 + 5);
      assert.equal(shop.complaints.length, 1, JSON.stringify(shop.complaints));
      assert.deepEqual([viewOf(shop)?.error.code, viewOf(shop)?.retryInMs], [code, 600_000]);
      assert.equal(device.board.resets, 0);
      trouble.code = undefined;
      await shop.said('Backed up and verified', { port: ADDRESS });
      await shop.idle();
      await shop.archived(device.board);
    });
  }

  it('whose server does not speak RFC 2217 is asked four times in all, and then only if somebody asks', async (t) => {
    const shop = await Workshop.started(t);
    const device = remote(shop);
    const trouble = failing(shop, 'no-rfc2217');
    shop.plug(device);
    await shop.pass(7 * DAY_MS);
    assert.equal(shop.opensOf(ADDRESS), 4);
    assert.equal(shop.complaints.length, 1);
    assert.equal(viewOf(shop)?.retryInMs, null);
    await shop.said('Left alone until somebody asks for it', { port: ADDRESS });
    trouble.code = undefined;
    shop.daemon.requestBackup({ port: 'desk' }, { full: false, allowHalfRestored: false });
    await shop.said('Backed up and verified', { port: ADDRESS });
  });

  it('with no ESP board behind it is reset a few times, and then left alone', async (t) => {
    const shop = await Workshop.started(t);
    const device = remote(shop, { faults: [{ kind: 'mute' }] });
    shop.plug(device);
    await shop.pass(60_000);
    const { resets } = device.board;
    const opens = shop.opensOf(ADDRESS);
    assert.ok(opens <= 1 + 2 * 2, `${opens} opens`);
    await shop.pass(30 * DAY_MS);
    assert.deepEqual([device.board.resets, shop.opensOf(ADDRESS)], [resets, opens]);
    await shop.said('Left alone until somebody asks for it', { port: ADDRESS });
  });

  it('that the config names no more in the middle of a job: the job ends as with a port that was pulled', async (t) => {
    const shop = await Workshop.started(t);
    const device = remote(shop, { line: PACED });
    shop.plug(device);
    await reading(shop, device);
    shop.detach(device);
    await shop.idle();
    const [complaint, ...more] = shop.complaints;
    assert.deepEqual(more, []);
    assert.match(complaint?.message ?? '', /^rfc2217:\/\/pi:4001 was taken out of the config, or of its folder/);
    assert.equal(complaint?.fields['code'], 'port-vanished');
    // Its link is sound: the board runs its app, and what was read is kept for the next backup.
    assert.equal(device.board.mode, 'app');
    assert.equal(await shop.partials(device.board), 1);
    const opens = shop.opensOf(ADDRESS);
    await shop.pass(DAY_MS);
    assert.equal(shop.opensOf(ADDRESS), opens);
  });

  it('that gets another name is not touched for it, and is held and asked for by that name', async (t) => {
    const shop = await Workshop.started(t);
    const device = remote(shop);
    shop.plug(device);
    await shop.said('Backed up and verified', { port: ADDRESS });
    await shop.idle();
    shop.rename(device, 'bench');
    await shop.pass(DAY_MS);
    assert.equal(shop.opensOf(ADDRESS), 1);
    assert.deepEqual(
      shop.eventsOf('port-renamed').map(({ port, name }) => [port, name]),
      [[ADDRESS, 'bench']],
    );
    assert.equal(shop.daemon.hold('bench', { by: 'Ada' }).port, ADDRESS);
    assert.throws(() => shop.daemon.requestBackup({ port: 'bench' }, { full: false, allowHalfRestored: false }), {
      code: 'port-busy',
    });
    assert.ok(shop.daemon.release('bench'));
    assert.throws(() => shop.daemon.requestBackup({ port: 'desk' }, { full: false, allowHalfRestored: false }), {
      code: 'port-missing',
      hint: /These are: bench/,
    });
    shop.daemon.requestBackup({ mac: macOf(device.board) }, { full: false, allowHalfRestored: false });
    await shop.said('Unchanged since its last backup', { port: ADDRESS });
  });

  it('that gets another name in the middle of a job goes on with it', async (t) => {
    const shop = await Workshop.started(t);
    const device = remote(shop, { line: PACED });
    shop.plug(device);
    await reading(shop, device);
    shop.rename(device, 'bench');
    await shop.said('Backed up and verified', { port: ADDRESS });
    await shop.idle();
    assert.deepEqual(shop.complaints, []);
    assert.equal(shop.opensOf(ADDRESS), 1);
  });

  it('that a rule denies by its name is left alone, until it has another', async (t) => {
    const shop = await Workshop.started(t, { settings: { rules: { allow: [], deny: [{ path: 'desk' }] } } });
    const device = remote(shop);
    shop.plug(device);
    await shop.said('Left alone', { port: ADDRESS, reason: 'denied by the config' });
    await shop.pass(DAY_MS);
    assert.equal(shop.opensOf(ADDRESS), 0);
    shop.rename(device, 'bench');
    await shop.said('Backed up and verified', { port: ADDRESS });
  });

  it('that is tried again is not, once its new name is denied', async (t) => {
    const shop = await Workshop.started(t, { settings: { rules: { allow: [], deny: [{ path: 'bench' }] } } });
    const device = remote(shop);
    failing(shop, 'port-missing');
    shop.plug(device);
    await shop.pass(60_000);
    const opens = shop.opensOf(ADDRESS);
    shop.rename(device, 'bench');
    await shop.pass(DAY_MS);
    assert.equal(shop.opensOf(ADDRESS), opens);
  });

  it('of which there are many that are away hold up no board that is here', async (t) => {
    const shop = await Workshop.started(t, { settings: { parallel: 2 } });
    const away: Device[] = Array.from({ length: 20 }, (_, index) => ({
      ...{ address: `rfc2217://pi:${5000 + index}`, usb: null, name: `away-${index}` },
    }));
    shop.beforeOpen = async (address) => {
      if (!address.startsWith('rfc2217://pi:5')) return;
      await shop.pass(5000);
      throw new EspdError('port-missing', `${address}: cannot be reached`);
    };
    for (const device of away) shop.plug(device);
    const here = shop.board({ slot: 3 });
    shop.plug(here);
    await shop.said('Backed up and verified', { port: here.address });
    // It waits until one of the two that were tried is given up, and for none of the others.
    assert.ok(shop.clock.now() < 8000, `${shop.clock.now()} ms`);
  });
});
