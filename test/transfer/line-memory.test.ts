import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { LineFacts } from '../../src/esp/line-memory.ts';
import { silentLogger } from '../../src/log.ts';
import { VirtualClock } from '../../src/simulator/index.ts';
import { lineKey, lineMemories } from '../../src/transfer/line-memory.ts';
import type { CacheStore } from '../../src/transfer/remembered-document.ts';
import { type Session, fixedLink, withBoard } from '../../src/transfer/session.ts';
import { BRIDGE, KIB, MIB, bench } from '../support/bench.ts';

const FACTS: LineFacts = {
  bestBaudRate: 1_500_000,
  failedBaudRate: 2_000_000,
  failedAt: '2026-11-20T10:00:00.000Z',
  sessionsSince: 2,
  acknowledgeEarly: false,
};
const PLACE = { address: '/dev/ttyUSB0', usb: BRIDGE };

class Store implements CacheStore {
  readonly files = new Map<string, Buffer>();
  writes = 0;

  read(name: string): Promise<Buffer | undefined> {
    return Promise.resolve(this.files.get(name));
  }

  write(name: string, bytes: Buffer): Promise<void> {
    this.writes++;
    this.files.set(name, bytes);
    return Promise.resolve();
  }

  get document(): { version: number; lines: Record<string, unknown> } {
    const [bytes] = this.files.values();
    return JSON.parse(String(bytes)) as { version: number; lines: Record<string, unknown> };
  }
}

const memories = (store: CacheStore, clock = new VirtualClock()) => lineMemories(store, { clock, log: silentLogger });

async function remember(store: CacheStore, place: typeof PLACE, facts: LineFacts, clock?: VirtualClock): Promise<void> {
  const line = await memories(store, clock).open(place);
  line.remember(facts);
  await line.save();
}

const recall = async (store: CacheStore, place: Parameters<typeof lineKey>[0] = PLACE) =>
  (await memories(store).open(place)).recall();

describe('the memory of lines', () => {
  it('knows nothing at first, then what it was told', async () => {
    const store = new Store();
    assert.equal(await recall(store), null);
    await remember(store, PLACE, FACTS);
    assert.deepEqual(await recall(store), FACTS);
    assert.equal(await recall(store, { ...PLACE, usb: { ...BRIDGE, location: '1-2:1.0' } }), null);
  });

  it('writes nothing where nothing was learned', async () => {
    const store = new Store();
    await (await memories(store).open(PLACE)).save();
    assert.equal(store.writes, 0);
  });

  it('tells lines apart by slot and bridge, else by address', () => {
    const keys = [
      PLACE,
      { ...PLACE, usb: { ...BRIDGE, location: '1-2:1.0' } },
      { ...PLACE, usb: { ...BRIDGE, productId: 'ea70' } },
      { ...PLACE, usb: { ...BRIDGE, serialNumber: '0002' } },
      { address: 'rfc2217://host:4000', usb: null },
      { address: 'rfc2217://host:4001', usb: null },
    ].map(lineKey);
    assert.equal(new Set(keys).size, keys.length);
    assert.equal(lineKey({ ...PLACE, address: '/dev/ttyUSB7' }), keys[0], 'the name of the device may change');
    assert.ok(lineKey({ address: 'x'.repeat(10_000), usb: null }).length < 400);
  });

  it('lets go of the line that was used least recently when there are more than 500', async () => {
    const store = new Store();
    const clock = new VirtualClock();
    const lines = memories(store, clock);
    for (let port = 0; port < 503; port++) {
      const line = await lines.open({ address: `tty${port}`, usb: null });
      line.remember(FACTS);
      await line.save();
      await new Promise<void>((resolve) => clock.schedule(1000, resolve));
    }
    assert.equal(Object.keys(store.document.lines).length, 500);
    assert.equal(await recall(store, { address: 'tty2', usb: null }), null);
    assert.deepEqual(await recall(store, { address: 'tty3', usb: null }), FACTS);
  });

  it('keeps what sessions learn at the same time, the last one for each line', async () => {
    const store = new Store();
    const lines = memories(store);
    const open = await Promise.all([0, 1, 2, 2].map((port) => lines.open({ address: `tty${port}`, usb: null })));
    for (const [at, line] of open.entries()) line.remember({ ...FACTS, sessionsSince: at });
    await Promise.all(open.map((line) => line.save()));
    const counts = await Promise.all([0, 1, 2].map((port) => recall(store, { address: `tty${port}`, usb: null })));
    assert.deepEqual(
      counts.map((facts) => facts?.sessionsSince),
      [0, 1, 3],
    );
  });

  it('is empty where its file is broken or hostile, and is mended by the next write', async () => {
    const sound = JSON.stringify({ usedAt: '2026-11-20T10:00:00Z', facts: FACTS });
    for (const text of [
      '',
      '{',
      'null',
      '[]',
      '{"version":2,"lines":{}}',
      '{"version":1,"lines":[]}',
      `{"version":1,"lines":{"__proto__":${sound}}}`,
      'x'.repeat(2 * MIB),
      ...[
        { ...FACTS, bestBaudRate: '1500000' },
        { ...FACTS, failedBaudRate: 1e99 },
        { ...FACTS, failedAt: 'never' },
        { ...FACTS, sessionsSince: -1 },
        { ...FACTS, acknowledgeEarly: 1 },
        null,
      ].map((facts) =>
        JSON.stringify({ version: 1, lines: { [lineKey(PLACE)]: { usedAt: '2026-11-20T10:00:00Z', facts } } }),
      ),
    ]) {
      const store = new Store();
      store.files.set('lines.json', Buffer.from(text));
      assert.equal(await recall(store), null, text.slice(0, 200));
      await remember(store, PLACE, FACTS);
      assert.deepEqual(await recall(store), FACTS);
    }
  });

  it('never fails, whatever bytes are there', async () => {
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.json(), fc.string()), async (text) => {
        const store = new Store();
        store.files.set('lines.json', Buffer.from(text));
        await recall(store);
      }),
    );
  });

  it('never fails where its store does', async () => {
    const broken: CacheStore = {
      read: () => Promise.reject(new Error('EIO')),
      write: () => Promise.reject(new Error('ENOSPC')),
    };
    await remember(broken, PLACE, FACTS);
    assert.equal(await recall(broken), null);
  });
});

describe('a session with a memory of lines', () => {
  it('reads it before and writes it after, also when the session fails; bridge limits hold', async () => {
    const store = new Store();
    const ch340 = { address: 'x', usb: { ...BRIDGE, vendorId: '1a86', productId: '7523' } };
    const rates: number[][] = [];
    for (const fails of [true, false]) {
      const on = bench({ line: {}, content: Buffer.alloc(MIB, 0x11) });
      const options = {
        clock: on.clock,
        log: silentLogger,
        signal: new AbortController().signal,
        reset: 'auto' as const,
        connectAttempts: 1,
        baudRate: 3_000_000,
        lines: lineMemories(store, { clock: on.clock, log: silentLogger }),
      };
      const work = async ({ board }: Session) => {
        await board.read(0, 900 * KIB, () => undefined);
        if (fails) throw new Error('later');
      };
      const running = withBoard(ch340, options, work, fixedLink(on.link));
      if (fails) await assert.rejects(running, /later/);
      else await running;
      rates.push(on.board.baudRates.slice(1, 4));
    }
    assert.deepEqual(rates[0]?.slice(0, 2), [921600, 2_000_000]);
    // The stub goes up at no more than 921600.
    assert.deepEqual(rates[1]?.slice(0, 2), [921600, 2_000_000]);
    assert.equal(store.writes, 2);
  });
});
