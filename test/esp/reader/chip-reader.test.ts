/** The whole way from the stub to the reader and back, on simulated boards that run the reader as it was built. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Board } from '../../../src/esp/board.ts';
import type { ReaderFacts } from '../../../src/esp/reader/memory.ts';
import type { ReaderMode } from '../../../src/esp/reader/trust.ts';
import type { Fault } from '../../../src/simulator/index.ts';
import { demoImage, seededRandom } from '../../../src/simulator/index.ts';
import { type Bench, type BenchOptions, KIB, MIB, NO_LINES, bench, readRegion } from '../../support/bench.ts';

const SPEEDS = { digestBytesPerSecond: 8 * MIB, packetBytesPerSecond: 4_000_000, readerCpuMHz: 160 };
const LINE = { latencyMs: 1 };
const REGION = { offset: 0x8000, sizeBytes: 64 * KIB };
const EFFECTS = ['wrong-crc', 'wrong-data', 'lost', 'garbage', 'cut', 'hang'] as const;

const image = demoImage({ family: 'esp32', sizeBytes: MIB, appBytes: 400 * KIB });

interface Course {
  readonly bench: Bench;
  readonly board: Board;
  readonly bytes: Buffer;
}

/** Reads a region of a board on a slow line, where loading the reader pays. */
async function readWith(
  faults: readonly Fault[] = [],
  wishes: BenchOptions & {
    mode?: ReaderMode;
    memory?: Map<string, ReaderFacts>;
    region?: typeof REGION;
    baudRate?: number;
  } = {},
): Promise<Course> {
  const {
    mode = 'always',
    memory = new Map<string, ReaderFacts>(),
    region = REGION,
    baudRate = 115200,
    ...options
  } = wishes;
  const family = options.family ?? 'esp32';
  const scene = bench({ family, content: image, line: LINE, speeds: SPEEDS, faults, ...options });
  const board = await scene.connect({
    baudRate,
    reader: {
      mode,
      memory: {
        recall: (mac, build) => memory.get(`${mac} ${build}`) ?? null,
        remember: (mac, build, facts) => void memory.set(`${mac} ${build}`, facts),
      },
    },
  });
  board.expect(512 * KIB);
  const bytes = await readRegion(board, region.offset, region.sizeBytes);
  return { bench: scene, board, bytes };
}

const wanted = ({ offset, sizeBytes } = REGION) => image.subarray(offset, offset + sizeBytes);

async function assertSound({ bench: scene, board, bytes }: Course, region = REGION): Promise<void> {
  assert.ok(bytes.equals(wanted(region)), 'what was read is not what the flash holds');
  assert.equal(await board.leave(), 'app');
  assert.ok(scene.board.flash.snapshot().equals(image), 'the flash was changed');
}

describe('reading through the reader', () => {
  for (const family of ['esp8266', 'esp32', 'esp32c3', 'esp32s3', 'esp32c6', 'esp32s2'] as const) {
    it(`gives the bytes of the flash, compressed, from an ${family}`, async () => {
      const course = await readWith([], { family });
      const report = course.board.readerReport;
      assert.equal(report?.fault, null);
      assert.equal(report.compressedBytes, REGION.sizeBytes);
      assert.ok(report.sentBytes < 0.85 * REGION.sizeBytes, `${report.sentBytes}`);
      assert.deepEqual(course.board.loaderBytes, { stub: 0, rom: 0 });
      assert.equal(course.bench.board.resets, 1);
      await assertSound(course);
    });
  }

  it('sends noise as it is, once that is known', async () => {
    const content = seededRandom(8).bytes(MIB);
    const scene = bench({ family: 'esp32', content, line: LINE, speeds: SPEEDS });
    const board = await scene.connect({ baudRate: 921600, reader: { mode: 'auto' } });
    assert.ok((await readRegion(board, 0, MIB)).equals(content));
    const { plainBytes = 0, compressedBytes = 0 } = board.readerReport ?? {};
    assert.ok(plainBytes > compressedBytes, `${plainBytes} plain, ${compressedBytes} compressed`);
    assert.equal(await board.leave(), 'app');
  });

  it('answers a table of the digests of all sectors', async () => {
    const scene = bench({ family: 'esp32c3', content: image, line: LINE, speeds: SPEEDS });
    const board = await scene.connect({ reader: { mode: 'auto' } });
    await board.prepareToMove();
    const table = await board.sectorDigests(0, MIB);
    assert.equal(table?.length, 8 * 256);
    for (let sector = 0; sector < 256; sector += 17) {
      const digest = scene.board.flash.md5(sector * 4096, 4096).subarray(0, 8);
      assert.ok(table.subarray(8 * sector, 8 * sector + 8).equals(digest));
    }
    assert.equal(await board.leave(), 'app');
  });

  it('is left alone where it does not pay', async () => {
    const scene = bench({ family: 'esp32', content: image, line: LINE, speeds: SPEEDS });
    const board = await scene.connect({ baudRate: 115200, reader: { mode: 'always' } });
    assert.ok((await readRegion(board, 0, 8 * KIB)).equals(image.subarray(0, 8 * KIB)));
    assert.equal(board.readerReport, null);
    assert.equal(await board.leave(), 'app');
  });

  const never: Record<string, Parameters<typeof readWith>[1]> = {
    'it is not wanted': { mode: 'never' },
    'nobody has tried it on the chip': { mode: 'auto', family: 'esp32s3' },
    'the board is on its own USB': { family: 'esp32s3', usb: 'usb-serial-jtag' },
    'the flash is encrypted': { security: { flashEncryption: true } },
  };
  for (const [reason, wishes] of Object.entries(never)) {
    it(`is never tried where ${reason}`, async () => {
      const course = await readWith([], wishes);
      assert.equal(course.board.readerReport, null);
      assert.ok(course.bench.board.commands.every(({ opcode }) => opcode < 0xe0));
      await assertSound(course);
    });
  }

  it('is never tried over a link without reset lines', async () => {
    const scene = bench({ family: 'esp32', content: image, line: LINE, speeds: SPEEDS, capabilities: NO_LINES });
    scene.board.pressBoot(true);
    scene.board.pressReset(10);
    await scene.pass(100);
    const board = await scene.connect({ baudRate: 115200, reader: { mode: 'always' } });
    board.expect(512 * KIB);
    assert.ok((await readRegion(board, REGION.offset, REGION.sizeBytes)).equals(wanted()));
    assert.equal(board.readerReport, null);
  });

  it('is not loaded beside a stub that it was not built for', async () => {
    const scene = bench({ family: 'esp32', content: image, line: LINE, speeds: SPEEDS });
    const program = () => Promise.resolve(undefined);
    const board = await scene.connect({ baudRate: 115200, reader: { mode: 'always', program } });
    board.expect(512 * KIB);
    assert.ok((await readRegion(board, REGION.offset, REGION.sizeBytes)).equals(wanted()));
    assert.equal(board.readerReport, null);
    assert.equal(await board.leave(), 'app');
  });
});

describe('a reader that fails', () => {
  /** Frames of a course without a fault: those of the tests, then those of the flash, each with a last one. */
  const frames = async () => {
    const { board } = await readWith();
    const { sentBytes = 0 } = board.readerReport ?? {};
    return Math.ceil(sentBytes / 1024) + 1;
  };

  it('at any frame costs one reset, and the stub reads the same', async () => {
    // The self-test takes some frames more, so that some of these faults come in the middle of it.
    const last = (await frames()) + 8;
    let faults = 0;
    for (let frame = 0; frame <= last; frame++) {
      const effect = EFFECTS[frame % EFFECTS.length] ?? 'lost';
      const memory = new Map<string, ReaderFacts>();
      const course = await readWith([{ kind: 'reader', effect, frame }], { memory });
      const fault = course.board.readerReport?.fault ?? null;
      if (fault !== null) {
        faults++;
        assert.equal(course.bench.board.resets, 2, `${effect} of frame ${frame}: ${fault}`);
      }
      await assertSound(course);
      // Told when the board is let go: until then the line may show that it was to blame.
      assert.equal(memory.size, fault === null ? 0 : 1);
    }
    // Beyond the last frame nothing happens.
    assert.ok(faults >= last - 6, `${faults} of ${last}`);
  });

  it('in any way is found out', async () => {
    const cases: Fault[] = [
      ...EFFECTS.map((effect) => ({ kind: 'reader', effect, frame: 20 }) as const),
      { kind: 'reader', effect: 'self-test' },
      { kind: 'reader', effect: 'wrong-digest' },
      { kind: 'reader', effect: 'flash-error' },
    ];
    for (const fault of cases) {
      const course = await readWith([fault]);
      assert.notEqual(course.board.readerReport?.fault ?? null, null, JSON.stringify(fault));
      assert.equal(course.bench.board.resets, 2, JSON.stringify(fault));
      await assertSound(course);
    }
  });

  it('loses nothing that it has read: the chip confirms it, and only the rest is read again', async () => {
    const late = (await frames()) + 4;
    const course = await readWith([{ kind: 'reader', effect: 'wrong-crc', frame: late }]);
    assert.notEqual(course.board.readerReport?.fault, null);
    assert.ok(course.board.loaderBytes.stub < REGION.sizeBytes / 2, `${course.board.loaderBytes.stub} read again`);
    await assertSound(course);
  });

  it('because the chip was reset, or the line lost bytes, wherever that was', async () => {
    const { bench: scene } = await readWith();
    const { toHost, toBoard } = scene.board.wireBytes;
    const cases: Fault[] = [];
    for (let byte = 9000; byte < toHost; byte += 4799) {
      cases.push({ kind: 'reset', when: { direction: 'to-host', byte } });
      cases.push({ kind: 'drop', direction: 'to-host', byte: byte + 1601 });
      cases.push({ kind: 'flip', direction: 'to-host', byte: byte + 3203 });
    }
    for (let byte = 7500; byte < toBoard; byte += 1777) cases.push({ kind: 'flip', direction: 'to-board', byte });
    for (let byte = toBoard - 60; byte < toBoard; byte += 9) cases.push({ kind: 'drop', direction: 'to-board', byte });
    for (const fault of cases) await assertSound(await readWith([fault]));
  });

  it('is not used again in this job, nor on this chip until it is due', async () => {
    const memory = new Map<string, ReaderFacts>();
    const first = await readWith([{ kind: 'reader', effect: 'hang', frame: 12 }], { memory });
    assert.ok((await readRegion(first.board, 0, 64 * KIB)).equals(image.subarray(0, 64 * KIB)));
    assert.equal(first.board.readerReport?.compressedBytes, 0);
    await assertSound(first);
    const [[key, facts]] = [...memory] as [[string, ReaderFacts]];
    assert.equal(facts.failures, 1);

    const second = await readWith([], { memory });
    assert.equal(second.board.readerReport, null);
    await assertSound(second);

    memory.set(key, { ...facts, failedAt: '2026-01-01T00:00:00.000Z' });
    const third = await readWith([], { memory });
    assert.equal(third.board.readerReport?.compressedBytes, REGION.sizeBytes);
    await assertSound(third);
  });

  it('is left by an abort: the board runs its app', async () => {
    const scene = bench({ family: 'esp32', content: image, line: LINE, speeds: SPEEDS });
    const board = await scene.connect({ baudRate: 115200, reader: { mode: 'always' } });
    board.expect(512 * KIB);
    const reading = readRegion(board, 0, 512 * KIB);
    const outcome = assert.rejects(reading, /stop/);
    // Loaded, tested, and in the middle of a stream.
    await scene.pass(6000);
    assert.ok(scene.board.commands.some(({ opcode }) => opcode === 0xe2));
    scene.abort.abort(new Error('stop'));
    await outcome;
    assert.equal(await board.leave(), 'app');
  });
});
