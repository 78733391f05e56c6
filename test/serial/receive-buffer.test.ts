import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { Clock } from '../../src/clock.ts';
import { EspdError, hasCode } from '../../src/errors.ts';
import { DEFAULT_LIMIT_BYTES, ReceiveBuffer } from '../../src/serial/receive-buffer.ts';

/** A clock that stands still until it is told. */
function manualClock(): Clock & { readonly timers: Set<() => void>; readonly delays: number[] } {
  const timers = new Set<() => void>();
  const delays: number[] = [];
  return {
    timers,
    delays,
    now: () => 0,
    date: () => new Date(0),
    schedule(delayMs, callback) {
      const fire = () => {
        timers.delete(fire);
        callback();
      };
      timers.add(fire);
      delays.push(delayMs);
      return () => timers.delete(fire);
    },
  };
}

const make = (limitBytes?: number) => {
  const clock = manualClock();
  return { clock, buffer: new ReceiveBuffer('port', clock, limitBytes) };
};

async function readAll(buffer: ReceiveBuffer): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for (let chunk = await buffer.read(0); chunk !== null; chunk = await buffer.read(0)) {
    assert.ok(chunk.length > 0);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

describe('the receive buffer', () => {
  test('gives everything once and in order, in whatever pieces it comes and is read', async () => {
    const step = fc.oneof(
      fc.uint8Array({ minLength: 0, maxLength: 400 }).map((bytes) => Buffer.from(bytes)),
      fc.constant('read' as const),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), fc.nat({ max: 700 }), async (steps, small) => {
        const { buffer } = make();
        const [pushed, got]: [Buffer[], Buffer[]] = [[], []];
        const all = [...Array.from({ length: small }, (_, at) => Buffer.of(at & 0xff)), ...steps];
        for (const item of all) {
          if (item === 'read') {
            const chunk = await buffer.read(0);
            if (chunk !== null) got.push(chunk);
          } else {
            buffer.push(item);
            pushed.push(item);
          }
        }
        got.push(await readAll(buffer));
        assert.deepEqual(Buffer.concat(got), Buffer.concat(pushed));
        assert.equal(buffer.sizeBytes, 0);
      }),
      { numRuns: 50 },
    );
  });

  test('hands a chunk to a waiting reader as it is, and leaves no timer behind', async () => {
    const { clock, buffer } = make();
    const pending = buffer.read(1000);
    const chunk = Buffer.from('chunk');
    buffer.push(Buffer.alloc(0));
    buffer.push(chunk);
    buffer.push(Buffer.from('next'));
    assert.equal(await pending, chunk);
    assert.equal(clock.timers.size, 0);
    assert.equal((await buffer.read(1000))?.toString(), 'next');
    assert.equal(clock.delays.length, 1, 'a read of what is there needs no timer');
  });

  test('gives null after the timeout, and the bytes that come later to the next read', async () => {
    const { clock, buffer } = make();
    const pending = buffer.read(Infinity);
    assert.deepEqual(clock.delays, [2 ** 31 - 1]);
    for (const fire of clock.timers) fire();
    assert.equal(await pending, null);
    buffer.push(Buffer.from('late'));
    assert.equal((await buffer.read(0))?.toString(), 'late');
  });

  test('takes exactly its limit, and is flooded by one byte more', async () => {
    for (const size of [1, 100, 64 * 1024, DEFAULT_LIMIT_BYTES]) {
      const { buffer } = make();
      const chunk = Buffer.alloc(size);
      for (let at = 0; at < DEFAULT_LIMIT_BYTES && size > 1; at += size) {
        if (at + size <= DEFAULT_LIMIT_BYTES) buffer.push(chunk);
      }
      if (size === 1) for (let at = 0; at < DEFAULT_LIMIT_BYTES; at++) buffer.push(chunk);
      const held = buffer.sizeBytes;
      assert.ok(held > DEFAULT_LIMIT_BYTES - size && held <= DEFAULT_LIMIT_BYTES);
      buffer.push(Buffer.alloc(DEFAULT_LIMIT_BYTES - held + 1));
      assert.equal(buffer.sizeBytes, 0, 'memory is given back');
      await assert.rejects(buffer.read(1000), (error) => hasCode(error, 'port-flooded'));
      await assert.rejects(buffer.read(0), (error) => hasCode(error, 'port-flooded'));
      buffer.clear();
      buffer.push(Buffer.from('ok'));
      assert.equal((await buffer.read(0))?.toString(), 'ok');
    }
  });

  test('a full buffer of single bytes is read in few and correct pieces', async () => {
    const { buffer } = make();
    const expected = Buffer.alloc(500_000);
    for (let at = 0; at < expected.length; at++) {
      expected[at] = at % 251;
      buffer.push(expected.subarray(at, at + 1));
    }
    let reads = 0;
    const got: Buffer[] = [];
    for (let chunk = await buffer.read(0); chunk !== null; chunk = await buffer.read(0)) {
      got.push(chunk);
      reads += 1;
    }
    assert.ok(Buffer.concat(got).equals(expected));
    assert.ok(reads < 20, `${reads} reads`);
  });

  test('is ended by the first error only, after what is left', async () => {
    const { clock, buffer } = make();
    const first = new EspdError('port-vanished', 'first');
    const pending = buffer.read(1000);
    buffer.end(first);
    buffer.end(new EspdError('port-vanished', 'second'));
    await assert.rejects(pending, (error) => error === first);
    await assert.rejects(buffer.read(1000), (error) => error === first);
    assert.throws(() => buffer.throwIfEnded(), /first/);
    assert.equal(clock.timers.size, 0);

    const other = make().buffer;
    other.push(Buffer.from('rest'));
    other.end(first);
    other.push(Buffer.from('ignored'));
    assert.equal((await readAllUntilEnd(other)).toString(), 'rest');
  });

  test('an abort leaves neither timer nor listener, and does not eat bytes', async () => {
    const { clock, buffer } = make();
    const abort = new AbortController();
    const reason = new Error('why');
    const pending = buffer.read(1000, abort.signal);
    abort.abort(reason);
    buffer.push(Buffer.from('safe'));
    await assert.rejects(pending, (error) => error === reason);
    assert.equal(clock.timers.size, 0);
    await assert.rejects(buffer.read(0, abort.signal), (error) => error === reason);
    assert.equal((await buffer.read(0))?.toString(), 'safe');
  });

  test('refuses a second reader', async () => {
    const { buffer } = make();
    const first = buffer.read(1000);
    await assert.rejects(buffer.read(0), (error) => hasCode(error, 'internal'));
    buffer.push(Buffer.from('1'));
    assert.equal((await first)?.toString(), '1');
  });
});

async function readAllUntilEnd(buffer: ReceiveBuffer): Promise<Buffer> {
  const chunks: Buffer[] = [];
  await assert.rejects(async () => {
    for (;;) chunks.push((await buffer.read(0)) ?? Buffer.alloc(0));
  });
  return Buffer.concat(chunks);
}

describe('a process that was not run for a while', () => {
  /** A wait of 200 ms whose timer comes so late. */
  function lateBy(lateMs: number) {
    const clock = { ...manualClock(), nowMs: 0, now: () => clock.nowMs };
    const buffer = new ReceiveBuffer('port', clock);
    const reading = buffer.read(200);
    const fire = (atMs: number) => {
      clock.nowMs = atMs;
      [...clock.timers][0]?.();
    };
    fire(200 + lateMs);
    return { clock, buffer, reading, fire };
  }

  test('goes on waiting once, as long as it was away: the bytes may have come meanwhile', async () => {
    const { clock, buffer, reading } = lateBy(150);
    assert.deepEqual(clock.delays, [200, 150]);
    buffer.push(Buffer.from('answer'));
    assert.equal((await reading)?.toString(), 'answer');
    assert.equal(clock.timers.size, 0);
  });

  test('gives up when nothing comes then, however late that timer is', async () => {
    const { reading, fire, clock } = lateBy(30_000);
    assert.deepEqual(clock.delays, [200, 200], 'no longer than it wanted to wait');
    fire(100_000);
    assert.equal(await reading, null);
  });

  test('a timer in time gives up at once', async () => {
    const { reading, clock } = lateBy(15);
    assert.deepEqual(clock.delays, [200]);
    assert.equal(await reading, null);
  });
});
