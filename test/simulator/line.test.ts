import assert from 'node:assert/strict';
import { test } from 'node:test';

import fc from 'fast-check';

import { Line } from '../../src/simulator/line.ts';
import type { LineOptions } from '../../src/simulator/line.ts';
import { VirtualClock } from '../../src/simulator/virtual-clock.ts';

function wire(options: LineOptions | null) {
  const clock = new VirtualClock({ automatic: false });
  const chip: { data: Buffer; atMs: number }[] = [];
  const host: { data: Buffer; atMs: number }[] = [];
  const measured: number[] = [];
  const line = new Line(
    clock,
    options,
    {
      toChip: (data) => chip.push({ data: Buffer.from(data), atMs: clock.now() }),
      toHost: (data) => host.push({ data: Buffer.from(data), atMs: clock.now() }),
      rateMeasured: (baudRate) => measured.push(baudRate),
    },
    1,
  );
  const joined = (pieces: { data: Buffer }[]) => Buffer.concat(pieces.map(({ data }) => data));
  return { clock, line, chip, host, measured, joined };
}

const bytes = (length: number) => Buffer.from(Array.from({ length }, (_, index) => (index * 17) & 0xff));

test('no options: everything arrives at once', () => {
  const { line, chip, host } = wire(null);
  line.fromHost(bytes(10));
  line.fromChip(bytes(20), 115200);
  assert.equal(chip[0]!.data.length, 10);
  assert.equal(host[0]!.data.length, 20);
});

test('ten bits a byte at the rate, both ways, plus latency', async () => {
  const { line, clock, chip, host, joined } = wire({ latencyMs: 8 });
  line.fromHost(bytes(1152));
  line.fromChip(bytes(1152), 115200);
  await clock.advance(107.9);
  assert.ok(joined(chip).length < 1152);
  await clock.advance(0.2);
  assert.deepEqual(joined(chip), bytes(1152));
  assert.deepEqual(joined(host), bytes(1152));
  assert.ok(host[0]!.atMs >= 8);
});

test('every byte once and in order, whatever the rates, sizes and chunks', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ size: fc.integer({ min: 1, max: 3000 }), waitMs: fc.integer({ min: 0, max: 20 }) }), {
        maxLength: 10,
      }),
      fc.constantFrom(9600, 115200, 921600, 2_000_000),
      fc.integer({ min: 1, max: 4096 }),
      fc.constantFrom(0.1, 1, 16),
      async (sends, baudRate, chunkBytes, chunkMs) => {
        const { line, clock, chip, host, joined } = wire({ chunkBytes, chunkMs, latencyMs: 1 });
        line.hostBaudRate = baudRate;
        line.chipRate = baudRate;
        const all: Buffer[] = [];
        let sentAt = 0;
        for (const { size, waitMs } of sends) {
          const data = bytes(size);
          all.push(data);
          line.fromHost(data);
          line.fromChip(data, baudRate, (atMs) => (sentAt = atMs));
          await clock.advance(waitMs);
        }
        await clock.advance(40_000);
        const expected = Buffer.concat(all);
        assert.ok(joined(chip).equals(expected));
        assert.ok(joined(host).equals(expected));
        assert.ok(host.every(({ data }) => data.length <= chunkBytes && data.length > 0));
        assert.ok(sentAt * baudRate >= expected.length * 10_000 - 1);
        assert.equal(clock.pendingTimers, 0);
      },
    ),
    { numRuns: 15 },
  );
});

test('chunks, not single bytes', async () => {
  const { line, clock, host } = wire({});
  line.hostBaudRate = line.chipRate = 2_000_000;
  line.fromChip(bytes(200_000), 2_000_000);
  await clock.advance(1001);
  assert.ok(host.length <= 1002, `${host.length} chunks`);
});

test('at another rate a UART hears noise of about the same time', async () => {
  const { line, clock, chip, host, joined } = wire({});
  line.hostBaudRate = 460800;
  line.chipRate = 115200;
  line.fromHost(bytes(400));
  line.fromChip(bytes(100), 115200);
  await clock.advance(1000);
  assert.ok(Math.abs(joined(chip).length - 100) < 60);
  assert.ok(Math.abs(joined(host).length - 400) < 60);
  assert.notDeepEqual(joined(host).subarray(0, 100), bytes(100));
});

test('two percent off is understood, five is not', () => {
  const { line, chip } = wire(null);
  line.hostBaudRate = 115200 * 1.02;
  line.fromHost(bytes(50));
  assert.deepEqual(chip[0]!.data, bytes(50));
  line.hostBaudRate = 115200 * 1.05;
  line.fromHost(bytes(50));
  assert.notDeepEqual(chip[1]!.data, bytes(50));
});

test('a ROM that measures takes the rate of what comes', () => {
  const { line, chip, measured } = wire(null);
  line.chipRate = 'auto';
  line.hostBaudRate = 250000;
  line.fromHost(bytes(5));
  assert.deepEqual(measured, [250000]);
  assert.equal(line.chipRate, 250000);
  assert.deepEqual(chip[0]!.data, bytes(5));
});

test('native USB has no rate', async () => {
  const { line, clock, host, joined } = wire({ usbBytesPerSecond: 1_000_000 });
  line.chipRate = 'usb';
  line.hostBaudRate = 9600;
  line.fromChip(bytes(1000), 115200);
  await clock.advance(1.01);
  assert.deepEqual(joined(host), bytes(1000));
});

test('a reset loses what was not sent; what was sent arrives', async () => {
  const { line, clock, host, joined } = wire({ latencyMs: 5 });
  let sent = false;
  line.fromChip(bytes(1152), 115200, () => (sent = true));
  await clock.advance(50.01);
  line.chipReset();
  await clock.advance(1000);
  assert.equal(joined(host).length, 576);
  assert.equal(sent, false);
  line.fromChip(Buffer.from('next'), 115200);
  await clock.advance(10);
  assert.equal(joined(host).subarray(576).toString(), 'next');
});

test('unplugged, nothing arrives', async () => {
  const { line, clock, host, chip } = wire({ latencyMs: 5 });
  line.fromChip(bytes(100), 115200);
  line.fromHost(bytes(100));
  await clock.advance(2);
  line.unplugged();
  await clock.advance(1000);
  assert.equal(host.length + chip.length, 0);
  assert.equal(clock.pendingTimers, 0);
});

test('held back bytes come late and first', async () => {
  const { line, clock, host, joined } = wire({});
  line.fromChip(Buffer.from('later'), 115200);
  line.holdBack(Buffer.from('first '), 500);
  await clock.advance(499);
  assert.equal(host.length, 0);
  await clock.advance(2);
  assert.equal(joined(host).toString(), 'first later');
});

test('back to back: what could have begun earlier begins where the last one ended', async () => {
  const { line, clock, host } = wire({ chunkMs: 1000 });
  line.fromChip(bytes(115), 115200);
  await clock.advance(30);
  // 20 ms late (a slow timer), ready since 10 ms.
  line.fromChip(bytes(115), 115200, undefined, 10);
  await clock.advance(0.1);
  assert.equal(host.length, 2);
});
