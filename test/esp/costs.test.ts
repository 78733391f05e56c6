import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CostModel } from '../../src/esp/costs.ts';
import { KIB, MIB, bench, readRegion } from '../support/bench.ts';

const near = (actual: number, expected: number, share: number) =>
  assert.ok(Math.abs(actual / expected - 1) <= share, `${actual} instead of ${expected}`);

describe('the cost model', () => {
  it('has sensible ideas before anything is measured', () => {
    const model = new CostModel();
    near(model.digestMs(MIB, 1e9), 1059, 0.01);
    near(model.readMs(MIB, 92.16), MIB / 92.16, 0.01);
  });

  it('waits for a digest several times what the chip has shown that it needs, and never longer than 8 s a MiB', () => {
    const model = new CostModel();
    assert.equal(model.digestLimitMs(MIB), 11_000);
    // A sector says nothing: its time is that of the round trip.
    model.digest(4096, 500, 1e9);
    assert.deepEqual([model.knowsDigests, model.digestLimitMs(MIB)], [false, 11_000]);
    for (let digest = 0; digest < 200; digest++) model.digest(64 * KIB, 10 + (64 * KIB) / 8192, 1e9);
    assert.equal(model.knowsDigests, true);
    near(model.digestLimitMs(128 * MIB), 3000 + 4 * 16_000, 0.15);
    assert.ok(model.digestLimitMs(4096) >= 3000);
    const slow = new CostModel();
    slow.digest(MIB, 20_000, 1e9);
    assert.equal(slow.digestLimitMs(MIB), 11_000);
  });

  it('learns the round trip, smoothly', () => {
    const model = new CostModel();
    model.roundTrip(40);
    assert.equal(model.roundTripMs, 40);
    model.roundTrip(400);
    near(model.roundTripMs, 112, 0.1);
    for (let command = 0; command < 50; command++) model.roundTrip(20);
    near(model.roundTripMs, 20, 0.05);
  });

  it('learns the speed of digests, from small ones and from large ones', () => {
    for (const sizeBytes of [4 * KIB, 64 * KIB, 4 * MIB]) {
      const model = new CostModel();
      model.roundTrip(17);
      for (let digest = 0; digest < 200; digest++) model.digest(sizeBytes, 17 + sizeBytes / 8000, 1e9);
      near(model.digestMs(MIB, 1e9), 17 + MIB / 8000, 0.15);
    }
  });

  it('is not led astray by answers that come sooner than a round trip, nor by nothing', () => {
    const model = new CostModel();
    model.roundTrip(30);
    model.digest(4096, 1, 11);
    model.digest(0, 100, 11);
    model.read(0, 10, 10);
    model.read(4096, 1, 10);
    for (const ms of [model.digestMs(MIB, 11), model.readMs(MIB, 92)]) assert.ok(ms > 30 && ms < 1e6, `${ms}`);
  });

  it('follows a line that becomes slower', () => {
    const model = new CostModel();
    model.read(8 * MIB, (8 * MIB) / 92, 92);
    model.read(4 * MIB, (4 * MIB) / 46, 92);
    near(model.readMs(MIB, 92), MIB / 46, 0.15);
  });
});

describe('the costs of a board', () => {
  for (const latencyMs of [1, 8]) {
    it(`foretell what a digest and a read take, at ${latencyMs} ms each way`, async () => {
      const speeds = { digestBytesPerSecond: 5_000_000 };
      const on = bench({ family: 'esp32', flashSizeBytes: 4 * MIB, line: { latencyMs }, speeds });
      const board = await on.connect();
      await board.openFlash();
      // What it will be, not what the line does now.
      near(board.costs.readMs(MIB), MIB / 92.16, 0.05);
      const took = async (work: () => Promise<unknown>) => {
        const startedAt = on.clock.now();
        await work();
        return on.clock.now() - startedAt;
      };
      await board.digest(0, MIB);
      near(board.costs.digestMs(2 * MIB), await took(() => board.digest(0, 2 * MIB)), 0.1);
      near(board.costs.digestMs(4096), await took(() => board.digest(0, 4096)), 0.2);
      await readRegion(board, 0, 300 * KIB);
      near(board.costs.readMs(MIB), await took(() => readRegion(board, 0, MIB)), 0.05);
    });
  }

  it('know a remembered rate, native USB, and a link without a rate', async () => {
    const facts = {
      bestBaudRate: 2_000_000,
      failedBaudRate: null,
      failedAt: null,
      sessionsSince: 0,
      acknowledgeEarly: true,
    };
    const board = await bench({ line: {} }).connect({
      baudRate: 3_000_000,
      line: { recall: () => facts, remember: () => undefined },
    });
    near(board.costs.readMs(MIB), MIB / 200, 0.05);
    const usb = await bench({ usb: 'usb-serial-jtag', line: {} }).connect();
    near(usb.costs.readMs(MIB), MIB / 500, 0.05);
    await readRegion(usb, 0, MIB);
    near(usb.costs.readMs(MIB), MIB / 900, 0.1);
  });
});
