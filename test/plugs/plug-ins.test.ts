/** Which plug-ins a waiting command gets: each once, and none that its own resets made. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { PlugIns } from '../../src/plugs/plug-ins.ts';
import { parseMac } from '../../src/mac.ts';
import type { PortInfo } from '../../src/serial/ports.ts';
import { VirtualClock } from '../../src/simulator/index.ts';

const bridge = { vendorId: '10c4', productId: 'ea60', serialNumber: null, manufacturer: null, product: null };
const native = { ...bridge, vendorId: '303a', productId: '1001' };

function port(name: string, plug: number, usb: typeof bridge = bridge): PortInfo {
  return { address: `/dev/${name}`, key: `${name} ${plug}`, fromFolder: false, usb: { ...usb, location: `1-${name}` } };
}

function bench() {
  const clock = new VirtualClock();
  const abort = new AbortController();
  let ports: readonly PortInfo[] = [];
  const plugIns = new PlugIns({
    list: () => Promise.resolve(ports),
    rules: { allow: [], deny: [{ path: '/dev/denied' }] },
    clock,
    signal: abort.signal,
    cooldownMs: 8000,
  });
  /** What comes within a second. */
  const next = async (...now: PortInfo[]) => {
    ports = now;
    const seen: string[] = [];
    for await (const { port: found, inDownloadMode } of plugIns.next(clock.now() + 1000)) {
      seen.push(`${found.key}${inDownloadMode ? ' in download mode' : ''}`);
    }
    return seen;
  };
  return { clock, abort, plugIns, next, set: (...now: PortInfo[]) => (ports = now) };
}

describe('plug-ins', () => {
  test('come once each, and again when plugged in anew; those that were there, and those denied, never', async () => {
    const { plugIns, next, set } = bench();
    set(port('a', 1));
    await plugIns.ignorePresent();
    assert.deepEqual(await next(port('a', 1)), []);
    assert.deepEqual(await next(port('a', 1), port('b', 1), port('denied', 1)), ['b 1']);
    assert.deepEqual(await next(port('a', 1), port('b', 1)), []);
    assert.deepEqual(await next(port('a', 2), port('b', 1)), ['a 2']);
    assert.deepEqual(await next(port('b', 1)), []);
    assert.deepEqual(await next(port('b', 2)), ['b 2']);
  });

  test('do not come from our own resets of a board on its own USB', async () => {
    const { clock, plugIns, next } = bench();
    const mac = parseMac('7c:df:a1:00:00:01')!;
    assert.deepEqual(await next(port('c', 1, native)), ['c 1']);
    plugIns.slots.started(port('c', 1, native));
    plugIns.slots.released(port('c', 1, native), clock.now(), 'download-mode');
    assert.deepEqual(await next(), []);
    assert.deepEqual(await next(port('c', 2, native)), ['c 2 in download mode']);
    plugIns.slots.started(port('c', 2, native));
    plugIns.slots.identified(port('c', 2, native), mac);
    plugIns.slots.leaving(port('c', 2, native));
    plugIns.slots.released(port('c', 2, native), clock.now(), 'app');
    assert.deepEqual(await next(), []);
    assert.deepEqual(await next(port('c', 3, native)), []);
  });

  test('end when the signal says so', async () => {
    const { abort, plugIns } = bench();
    const waiting = plugIns.next(Infinity).next();
    abort.abort();
    await assert.rejects(waiting, { name: 'AbortError' });
  });
});
