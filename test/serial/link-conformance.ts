/** The contract of `src/serial/link.ts` as tests: run over every implementation, with a fixture for each. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as realSleep } from 'node:timers/promises';
import { hasCode } from '../../src/errors.ts';
import type { ControlLines, Link } from '../../src/serial/link.ts';

/** An open link and the far end of it. */
export interface LinkFixture {
  readonly link: Link;
  /** The device sends; resolves when all of it is on its way. */
  send(data: Uint8Array): Promise<void>;
  /** The next `sizeBytes` that the device has received. */
  received(sizeBytes: number): Promise<Buffer>;
  /** The device goes away. */
  vanish(): Promise<void> | void;
  /** The device takes no more bytes, so that a large write stays pending. Left out where that cannot be. */
  stall?(): void;
  /** Lets `ms` pass on a virtual clock. Left out where the clock is the system's. */
  advance?(ms: number): Promise<void> | void;
  /** What the device has seen of the lines and the rate, oldest first. Left out where the link has none. */
  controlLines?(): readonly ControlLines[];
  baudRates?(): readonly number[];
  dispose(): Promise<void>;
}

/** Time for bytes to arrive that nobody reads yet, where nothing tells that they have. */
async function arrive(fixture: LinkFixture): Promise<void> {
  await fixture.advance?.(50);
  await realSleep(30);
}

/** Reads until `sizeBytes` have come; what comes beyond them is a failure. */
export async function readExactly(link: Link, sizeBytes: number, fixture?: LinkFixture): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  while (size < sizeBytes) {
    const pending = link.read(5000);
    await fixture?.advance?.(1);
    const chunk = await pending;
    assert.ok(chunk !== null, `only ${size} of ${sizeBytes} bytes came`);
    assert.ok(chunk.length > 0, 'a read gives at least one byte');
    chunks.push(Buffer.from(chunk));
    size += chunk.length;
  }
  assert.equal(size, sizeBytes);
  return Buffer.concat(chunks);
}

/** Every byte value, long runs of 0xff and 0xc0, and no period. */
export function testBytes(sizeBytes: number): Buffer {
  const bytes = Buffer.alloc(sizeBytes);
  let state = 12345;
  for (let at = 0; at < sizeBytes; at++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    bytes[at] = at % 1024 < 200 ? 0xff : at % 1024 < 230 ? 0xc0 : at % 1024 < 500 ? at & 0xff : state >>> 24;
  }
  return bytes;
}

const vanishes = (error: unknown) => hasCode(error, 'port-vanished');

export function describeLinkConformance(name: string, makeFixture: () => Promise<LinkFixture>): void {
  const check = (what: string, body: (fixture: LinkFixture) => Promise<void>): void => {
    test(what, { timeout: 20_000 }, async (t) => {
      const fixture = await makeFixture();
      // Also after a time-out: a server that is left would keep the process of the tests.
      t.after(async () => {
        await fixture.link.close();
        await fixture.dispose();
      });
      await body(fixture);
    });
  };

  describe(`${name} keeps the contract of Link`, () => {
    check('is open at first', async ({ link }) => {
      assert.equal(link.isOpen, true);
      assert.ok(link.baudRate > 0);
      assert.notEqual(link.address, '');
      await Promise.resolve();
    });

    check('carries every byte to the host, in order and once', async (fixture) => {
      const bytes = testBytes(50_000);
      const sent = (async () => {
        for (let at = 0; at < bytes.length; at += 777) await fixture.send(bytes.subarray(at, at + 777));
      })();
      assert.deepEqual(await readExactly(fixture.link, bytes.length, fixture), bytes);
      await sent;
      assert.equal(await fixture.link.read(0), null);
    });

    check('carries every byte to the device, in order and once', async (fixture) => {
      const bytes = testBytes(50_000);
      const received = fixture.received(bytes.length);
      const writes: Promise<void>[] = [];
      for (let at = 0; at < bytes.length; at += 1023) writes.push(fixture.link.write(bytes.subarray(at, at + 1023)));
      await Promise.all(writes);
      await fixture.advance?.(10_000);
      assert.deepEqual(await received, bytes);
    });

    check('takes one large write and an empty one', async (fixture) => {
      const bytes = testBytes(300_000);
      const received = fixture.received(bytes.length);
      await fixture.link.write(Buffer.alloc(0));
      const written = fixture.link.write(bytes);
      await fixture.advance?.(60_000);
      await written;
      assert.ok((await received).equals(bytes));
    });

    check('gives null when nothing comes in time, and at once for a timeout of 0', async (fixture) => {
      assert.equal(await fixture.link.read(0), null);
      const pending = fixture.link.read(15);
      await fixture.advance?.(15);
      assert.equal(await pending, null);
      await fixture.send(Buffer.from('x'));
      assert.equal((await readExactly(fixture.link, 1, fixture)).toString(), 'x');
    });

    check('wakes a waiting read', async (fixture) => {
      const pending = fixture.link.read(5000);
      await fixture.send(Buffer.from('hello'));
      await fixture.advance?.(10);
      const first = await pending;
      assert.ok(first !== null && first.length >= 1);
      const rest = first.length < 5 ? await readExactly(fixture.link, 5 - first.length, fixture) : Buffer.alloc(0);
      assert.equal(Buffer.concat([first, rest]).toString(), 'hello');
    });

    check('refuses a second read while one is pending, which goes on', async (fixture) => {
      const first = fixture.link.read(5000);
      await assert.rejects(fixture.link.read(5000));
      await fixture.send(Buffer.from('1'));
      await fixture.advance?.(10);
      assert.equal((await first)?.toString(), '1');
    });

    check('rejects an aborted read with the reason of the signal and loses nothing', async (fixture) => {
      const abort = new AbortController();
      const reason = new Error('enough');
      const pending = fixture.link.read(5000, abort.signal);
      abort.abort(reason);
      await assert.rejects(pending, (error) => error === reason);
      await fixture.send(Buffer.from('kept'));
      await arrive(fixture);
      await assert.rejects(fixture.link.read(5000, abort.signal), (error) => error === reason);
      assert.equal((await readExactly(fixture.link, 4, fixture)).toString(), 'kept');
    });

    check('purge forgets what has arrived and nothing that comes later', async (fixture) => {
      await fixture.send(testBytes(10_000));
      // A server in between, on a machine that has other things to do.
      for (let wait = 0; wait < 10; wait++) await arrive(fixture);
      await fixture.link.purge();
      assert.equal(await fixture.link.read(0), null);
      await fixture.send(Buffer.from('new'));
      assert.equal((await readExactly(fixture.link, 3, fixture)).toString(), 'new');
    });

    check('says port-flooded when nobody reads, and is well again after a purge', async (fixture) => {
      const mebibyte = testBytes(1024 * 1024);
      await fixture.send(mebibyte);
      await fixture.send(mebibyte);
      await fixture.send(Buffer.from('end'));
      // Two megabytes take their time on a machine that has other things to do.
      for (let wait = 0; wait < 10; wait++) await arrive(fixture);
      await assert.rejects(
        (async () => {
          for (;;) {
            const pending = fixture.link.read(200);
            await fixture.advance?.(200);
            if ((await pending) === null) return;
          }
        })(),
        (error) => hasCode(error, 'port-flooded'),
      );
      await fixture.link.purge();
      await fixture.send(Buffer.from('calm'));
      assert.equal((await readExactly(fixture.link, 4, fixture)).toString(), 'calm');
    });

    check('hands up what had arrived before the device vanished, then port-vanished', async (fixture) => {
      // Some systems drop what nobody had read at a hang-up: only what the link has surely taken is asked for.
      await fixture.send(Buffer.from('last words'));
      await arrive(fixture);
      await fixture.vanish();
      await arrive(fixture);
      assert.equal((await readExactly(fixture.link, 10, fixture)).toString(), 'last words');
      await assert.rejects(fixture.link.read(5000), vanishes);
      await assert.rejects(fixture.link.read(0), vanishes);
      assert.equal(fixture.link.isOpen, false);
    });

    check('rejects a waiting read when the device vanishes', async (fixture) => {
      const rejected = assert.rejects(fixture.link.read(60_000), vanishes);
      await fixture.vanish();
      await rejected;
      assert.equal(fixture.link.isOpen, false);
    });

    check('rejects writes once the device has vanished while idle', async (fixture) => {
      await fixture.vanish();
      await assert.rejects(async () => {
        for (let count = 0; count < 100; count++) {
          await fixture.link.write(testBytes(1000));
          await arrive(fixture);
        }
      }, vanishes);
    });

    check('rejects a pending write when the device vanishes', async (fixture) => {
      if (fixture.stall === undefined) return;
      fixture.stall();
      const rejected = assert.rejects(fixture.link.write(Buffer.alloc(64 * 1024 * 1024)), vanishes);
      await arrive(fixture);
      await fixture.vanish();
      await rejected;
      await assert.rejects(fixture.link.write(Buffer.from('x')), vanishes);
    });

    check('close rejects what is pending, may be called again, and leaves nothing usable', async (fixture) => {
      const pending = fixture.link.read(60_000);
      const rejected = assert.rejects(pending, vanishes);
      await Promise.all([fixture.link.close(), fixture.link.close()]);
      await rejected;
      await fixture.link.close();
      assert.equal(fixture.link.isOpen, false);
      await assert.rejects(fixture.link.write(Buffer.from('x')), vanishes);
      await assert.rejects(fixture.link.read(10), vanishes);
    });

    check('close after the device vanished is quiet', async (fixture) => {
      await fixture.vanish();
      await fixture.link.close();
      await fixture.link.close();
      assert.equal(fixture.link.isOpen, false);
    });

    check('close does not lose what was written before it', async (fixture) => {
      const received = fixture.received(2000);
      const bytes = testBytes(2000);
      await fixture.link.write(bytes);
      const closed = fixture.link.close();
      await fixture.advance?.(2000);
      await closed;
      assert.deepEqual(await received, bytes);
    });

    check('changes the baud rate where it can, and does nothing where it cannot', async (fixture) => {
      const before = fixture.link.baudRate;
      for (const baudRate of [74_880, 921_600, 1_500_000, 115_200]) {
        const changed = fixture.link.setBaudRate(baudRate);
        await fixture.advance?.(3000);
        await changed;
        assert.equal(fixture.link.baudRate, fixture.link.capabilities.baudRate ? baudRate : before);
        if (fixture.link.capabilities.baudRate && fixture.baudRates) {
          await fixture.link.write(Buffer.from('!'));
          await fixture.advance?.(10);
          await fixture.received(1);
          assert.equal(fixture.baudRates().at(-1), baudRate);
        }
      }
      await fixture.send(Buffer.from('still here'));
      assert.equal((await readExactly(fixture.link, 10, fixture)).toString(), 'still here');
    });

    check('sets both lines where it can, and does nothing where it cannot', async (fixture) => {
      const steps: ControlLines[] = [
        { dtr: false, rts: true },
        { dtr: true, rts: false },
        { dtr: true, rts: true },
        { dtr: false, rts: false },
      ];
      for (const lines of steps) await fixture.link.setControlLines(lines);
      // The link's own bytes behind the lines: when they are there, the lines are as well.
      await fixture.link.write(Buffer.from('!'));
      await fixture.advance?.(10);
      await fixture.received(1);
      if (fixture.link.capabilities.controlLines && fixture.controlLines) {
        // Between two steps a link of two commands may show one line changed before the other.
        const seen = fixture.controlLines();
        let at = 0;
        for (const lines of seen) if (lines.dtr === steps[at]?.dtr && lines.rts === steps[at]?.rts) at += 1;
        assert.equal(at, steps.length, `saw ${JSON.stringify(seen)}`);
      }
    });
  });
}
