/** Lines that hold a rate for a while, or one way only: whether the rate is blamed for it, or the reader on the chip. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { LineFacts } from '../../src/esp/line-memory.ts';
import type { ReaderFacts } from '../../src/esp/reader/memory.ts';
import type { Link } from '../../src/serial/link.ts';
import { type Fault, demoImage, seededRandom } from '../../src/simulator/index.ts';
import { KIB, MIB, bench, overlay, readRegion } from '../support/bench.ts';

const SPEEDS = { digestBytesPerSecond: 8 * MIB, packetBytesPerSecond: 4_000_000, readerCpuMHz: 160 };
const SIZE_BYTES = 1216 * KIB;
const image = demoImage({ family: 'esp32', sizeBytes: 2 * MIB, appBytes: SIZE_BYTES });

interface Bad {
  /** Bytes are lost above this rate. */
  readonly holds: number;
  /** One of so many. */
  readonly every: number;
  readonly direction?: 'to-host' | 'to-board' | 'both';
  readonly seed: number;
}

/** Loses bytes at random. */
function lossy(link: Link, { holds, every, direction = 'to-host', seed }: Bad): Link {
  const random = seededRandom(seed);
  const lose = (data: Uint8Array) =>
    Buffer.from(data.filter(() => link.baudRate <= holds || random.below(every) !== 0));
  return overlay(link, {
    read: async (timeoutMs: number, signal?: AbortSignal) => {
      const data = await link.read(timeoutMs, signal);
      return data === null || direction === 'to-board' ? data : lose(data);
    },
    write: (data: Uint8Array) => link.write(direction === 'to-host' ? data : lose(data)),
  });
}

/** A port and a board, over many jobs. */
class Port {
  line: LineFacts | null = null;
  readonly readers = new Map<string, ReaderFacts>();

  async job(through?: (link: Link) => Link, faults: readonly Fault[] = []) {
    const scene = bench({
      ...{ family: 'esp32' as const, content: image, flashSizeBytes: 2 * MIB, line: { latencyMs: 8 }, speeds: SPEEDS },
      faults,
      through,
    });
    const board = await scene.connect({
      baudRate: 3_000_000,
      line: { recall: () => this.line, remember: (facts) => void (this.line = facts) },
      reader: {
        mode: 'auto',
        memory: {
          recall: (mac, build) => this.readers.get(`${mac} ${build}`) ?? null,
          remember: (mac, build, facts) => void this.readers.set(`${mac} ${build}`, facts),
        },
      },
    });
    const startedAt = scene.clock.now();
    const bytes = await readRegion(board, 0, SIZE_BYTES);
    const ms = scene.clock.now() - startedAt;
    assert.ok(bytes.equals(image.subarray(0, SIZE_BYTES)), 'what was read is not what the flash holds');
    assert.equal(await board.leave(), 'app');
    // One to connect, one to leave.
    const resets = scene.board.resets - 2;
    return { resets, ms, wire: scene.board.wireBytes.toHost, rates: scene.board.baudRates, report: board.readerReport };
  }
}

const LOSES_ONE_IN = [10_000, 50_000, 200_000, 1_000_000];

describe('a line that holds 1500000 baud and not 2000000', () => {
  it('settles there: one failed trial, then 1500000, and no other rate until a week has passed', async () => {
    const port = new Port();
    const through = (link: Link) => lossy(link, { holds: 1_600_000, every: 500, seed: 1 });
    const jobs = [];
    for (let job = 0; job < 4; job++) jobs.push(await port.job(through));
    assert.ok((jobs[0]?.resets ?? 9) <= 1, `${jobs[0]?.resets} resets`);
    assert.ok(!jobs[0]?.rates.includes(1_500_000), 'one failed trial a job');
    for (const { rates, resets } of jobs.slice(1)) {
      assert.ok(rates.includes(1_500_000) && !rates.some((rate) => rate > 1_500_000), rates.join(' '));
      assert.equal(resets, 0);
    }
    assert.deepEqual([port.line?.bestBaudRate, port.line?.failedBaudRate], [1_500_000, 2_000_000]);
    assert.equal(port.readers.size, 0);
  });
});

describe('a line that holds 921600 baud and no more', () => {
  it('pays for two failed trials in two jobs, and for none after that', async () => {
    const port = new Port();
    const through = (link: Link) => lossy(link, { holds: 1_000_000, every: 500, seed: 2 });
    const tried: number[] = [];
    for (let job = 0; job < 4; job++) {
      const { rates, resets } = await port.job(through);
      assert.ok(resets <= 1, `${resets} resets`);
      tried.push(Math.max(...rates));
    }
    assert.deepEqual(tried, [2_000_000, 1_500_000, 921600, 921600]);
    assert.equal(port.readers.size, 0);
  });
});

describe('a rate that loses a byte now and then', () => {
  for (const every of LOSES_ONE_IN) {
    it(`is to blame, and not the reader: one byte of ${every}, above 1600000 baud`, async () => {
      for (const seed of [1, 2]) {
        const port = new Port();
        for (let job = 0; job < 3; job++) {
          const { resets } = await port.job((link) => lossy(link, { holds: 1_600_000, every, seed: 10 * seed + job }));
          assert.ok(resets <= 1, `seed ${seed}, job ${job}: ${resets} resets`);
        }
        assert.equal(port.readers.size, 0, `seed ${seed}: the reader was blamed`);
        assert.ok((port.line?.bestBaudRate ?? 0) >= 921600);
      }
    });
  }

  it('on the way to the chip is to blame for a reader that does not arrive', async () => {
    const port = new Port();
    for (let job = 0; job < 3; job++) {
      await port.job((link) => lossy(link, { holds: 1_600_000, every: 2000, direction: 'to-board', seed: job }));
    }
    assert.equal(port.readers.size, 0, 'the reader was blamed');
    assert.deepEqual([port.line?.bestBaudRate, port.line?.failedBaudRate], [1_500_000, 2_000_000]);
  });
});

describe('a reader that fails', () => {
  for (const effect of ['lost', 'hang', 'wrong-crc', 'wrong-data', 'self-test'] as const) {
    it(`is to blame where the stub reads on without an error, and the rate is kept: ${effect}`, async () => {
      const port = new Port();
      const { resets } = await port.job(undefined, [{ kind: 'reader', effect, frame: 30 }]);
      assert.equal(resets, 1);
      assert.equal(port.readers.size, 1);
      assert.deepEqual([port.line?.bestBaudRate, port.line?.failedBaudRate], [3_000_000, null]);
    });
  }
});
