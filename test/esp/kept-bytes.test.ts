/** What of a failed read counts all the same: bytes that the chip's digests confirm, and no others. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { KeptBytes, type ProofCosts } from '../../src/esp/kept-bytes.ts';

const PART = 4096;
const START = 0x10000;
/** Hashing is a tenth of reading. */
const CHEAP: ProofCosts = {
  digestMs: (sizeBytes) => 1 + sizeBytes / 1000,
  readMs: (sizeBytes) => 10 + sizeBytes / 100,
};

const md5 = (bytes: Uint8Array) => createHash('md5').update(bytes).digest('hex');

/** Flash of noise from {@link START} on, and what came of it: wrong in the parts of `bad`. */
function sceneOf(sizeBytes: number, bad: readonly number[]) {
  const flash = Buffer.alloc(sizeBytes);
  for (let at = 0; at < sizeBytes; at++) flash[at] = (at * 7 + (at >> 8)) & 0xff;
  const came = Buffer.from(flash);
  for (const part of bad) {
    const at = Math.min(part * PART + 11, sizeBytes - 1);
    came[at] = came[at]! ^ 1;
  }
  const asked: [number, number][] = [];
  const ask = (offset: number, length: number) => {
    asked.push([offset - START, length]);
    return Promise.resolve(md5(flash.subarray(offset - START, offset - START + length)));
  };
  return { flash, came, ask, asked };
}

/** Gives a piece in packets to what holds it; into `sink`. */
async function give(kept: KeptBytes, came: Buffer, packet: number, wanted = came.length): Promise<Buffer> {
  const sink = Buffer.alloc(wanted);
  const hold = kept.hold((offset, bytes) => sink.set(bytes, offset - START), wanted);
  for (let at = 0; at < came.length; at += packet) await hold(START + at, came.subarray(at, at + packet));
  return sink;
}

/** Regions that are proven, as `provenFrom` and `gapFrom` tell them from the start on. */
function provenIn(kept: KeptBytes, sizeBytes: number): [number, number][] {
  const found: [number, number][] = [];
  for (let at = 0; at < sizeBytes;) {
    const proven = kept.provenFrom(START + at);
    if (proven > 0) found.push([at, proven]);
    at += proven > 0 ? proven : kept.gapFrom(START + at, sizeBytes - at);
  }
  return found;
}

describe('kept bytes', () => {
  it('pass everything on, and count what they hold', async () => {
    const { came } = sceneOf(3 * PART, []);
    const kept = new KeptBytes();
    const sink = await give(kept, came, 1000);
    assert.ok(sink.equals(came));
    assert.deepEqual([kept.heldBytes, kept.isWhole], [3 * PART, true]);
    kept.release();
    assert.deepEqual([kept.heldBytes, kept.isWhole], [0, false]);
    await give(kept, came.subarray(0, 5000), 1000, 3 * PART);
    assert.deepEqual([kept.heldBytes, kept.isWhole], [5000, false]);
    // A new piece forgets the last one.
    kept.hold(() => undefined, PART);
    assert.deepEqual([kept.heldBytes, kept.isWhole], [0, false]);
  });

  it('are all proven by one digest where nothing is wrong', async () => {
    const { came, ask, asked } = sceneOf(8 * PART, []);
    const kept = new KeptBytes();
    await give(kept, came, PART);
    assert.equal(await kept.prove(ask, CHEAP), 8 * PART);
    assert.deepEqual(asked, [[0, 8 * PART]]);
    assert.deepEqual([kept.provenFrom(START), kept.provenFrom(START + 5), kept.heldBytes], [8 * PART, 8 * PART - 5, 0]);
  });

  it('are proven but for the part that is wrong; its other half is not asked as a whole again', async () => {
    const { came, ask, asked } = sceneOf(4 * PART, [2]);
    const kept = new KeptBytes();
    await give(kept, came, 500);
    assert.equal(await kept.prove(ask, CHEAP), 3 * PART);
    assert.deepEqual(provenIn(kept, 4 * PART), [
      [0, 2 * PART],
      [3 * PART, PART],
    ]);
    // The whole is wrong, its first half right: so the second is wrong without being asked.
    assert.ok(!asked.some(([at, length]) => at === 2 * PART && length === 2 * PART));
    assert.equal(kept.gapFrom(START + 2 * PART, 10 * PART), PART);
    assert.equal(kept.gapFrom(START + 2 * PART, 100), 100);
    assert.equal(kept.gapFrom(START + 4 * PART, 9), 9);
  });

  it('are not proven where that costs more than to read them again', async () => {
    const { came, ask, asked } = sceneOf(4 * PART, []);
    const kept = new KeptBytes();
    await give(kept, came, PART);
    assert.equal(await kept.prove(ask, { digestMs: () => 5, readMs: () => 5 }), 0);
    assert.deepEqual([asked, kept.provenFrom(START)], [[], 0]);
  });

  it('are given up where too much is wrong', async () => {
    const parts = 64;
    const { came, ask, asked } = sceneOf(
      parts * PART,
      Array.from({ length: parts }, (_, index) => index),
    );
    const kept = new KeptBytes();
    await give(kept, came, PART);
    assert.equal(await kept.prove(ask, CHEAP), 0);
    assert.ok(asked.length < parts / 2, `${asked.length} digests`);
  });

  it('are forgotten where the chip does not answer, and nothing is asked for nothing', async () => {
    const { came } = sceneOf(PART, []);
    const kept = new KeptBytes();
    await give(kept, came, PART);
    const fault = new Error('the cable is out');
    await assert.rejects(
      kept.prove(() => Promise.reject(fault), CHEAP),
      fault,
    );
    assert.deepEqual([kept.heldBytes, kept.provenFrom(START)], [0, 0]);
    assert.equal(await kept.prove(() => assert.fail('nothing is held'), CHEAP), 0);
  });

  it('whatever came: what is proven is what the flash holds, and a few bad parts cost no more than themselves', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 20 * PART }),
        fc.array(fc.nat(19), { maxLength: 6 }),
        fc.integer({ min: 1, max: 3 * PART }),
        async (sizeBytes, wrong, packet) => {
          const bad = [...new Set(wrong)].filter((part) => part * PART < sizeBytes);
          const { flash, came, ask } = sceneOf(sizeBytes, bad);
          const kept = new KeptBytes();
          await give(kept, came, packet);
          const proven = await kept.prove(ask, CHEAP);
          const regions = provenIn(kept, sizeBytes);
          assert.equal(
            regions.reduce((sum, [, length]) => sum + length, 0),
            proven,
          );
          for (const [at, length] of regions) {
            assert.ok(came.subarray(at, at + length).equals(flash.subarray(at, at + length)));
          }
          assert.ok(proven >= sizeBytes - bad.length * PART);
        },
      ),
      { numRuns: 60 },
    );
  });
});
