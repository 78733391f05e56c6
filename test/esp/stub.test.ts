import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hasCode } from '../../src/errors.ts';
import { chips } from '../../src/esp/chips/index.ts';
import type { ChipDescription } from '../../src/esp/chips/chip.ts';
import { OPCODE, encodeRequest, words } from '../../src/esp/protocol.ts';
import { encodeFrame } from '../../src/esp/slip.ts';
import { MEM_BLOCK_BYTES, loadStubImage, parseStubImage } from '../../src/esp/stub.ts';
import type { Link } from '../../src/serial/link.ts';
import { type Bench, KIB, NO_LINES, bench, enterDownloadByHand, overlay, readRegion } from '../support/bench.ts';

const count = (on: Bench, opcode: number, loader?: 'rom' | 'stub') =>
  on.board.commands.filter((command) => command.opcode === opcode && (loader ?? command.loader) === command.loader)
    .length;

describe('the images of the package', () => {
  const described = (major: number): ChipDescription => ({ name: '', revision: { major, minor: 0 }, features: [] });

  for (const chip of chips) {
    it(`hold one for the ${chip.title}, with its entry inside`, async () => {
      for (const major of [0, 1, 3]) {
        const { entry, segments } = await loadStubImage(chip.stubImage(described(major)));
        assert.ok(segments.length >= 1);
        for (const { bytes } of segments) assert.ok(bytes.length > 0);
        assert.ok(segments.some(({ address, bytes }) => entry >= address && entry < address + bytes.length));
      }
    });
  }

  it('hold none of any other name', async () => {
    for (const name of ['esp9999', '../../../package', '']) {
      await assert.rejects(loadStubImage(name), (error) => hasCode(error, 'stub-failed') && error.hint !== '');
    }
  });

  it('are refused when they are something else', () => {
    const good = { entry: 1, text: 'AAAA', text_start: 0, data: '', data_start: 0 };
    assert.equal(parseStubImage(good).segments.length, 1);
    for (const bad of [
      {},
      { ...good, entry: '1' },
      { ...good, text: 1 },
      { ...good, text_start: -1 },
      { ...good, entry: 1.5 },
    ]) {
      assert.throws(() => parseStubImage(bad), TypeError);
    }
  });
});

describe('the stub', () => {
  it('is loaded in blocks that the ROM takes, or that USB-OTG takes', async () => {
    for (const [options, limit] of [
      [{ family: 'esp32s3' }, MEM_BLOCK_BYTES],
      [{ family: 'esp32s3', usb: 'usb-otg' }, 0x800],
      [{ family: 'esp32s2', usb: 'usb-otg' }, 0x800],
    ] as const) {
      const on = bench(options);
      const board = await on.connect();
      await board.prepareToMove();
      assert.equal(board.loaderKind, 'stub');
      const begins = on.board.commands.filter(({ opcode }) => opcode === OPCODE.MEM_BEGIN);
      assert.ok(begins.every(({ payload }) => payload.readUInt32LE(8) <= limit));
      const blocks = on.board.commands.filter(({ opcode }) => opcode === OPCODE.MEM_DATA);
      assert.ok(blocks.length > 0 && blocks.every(({ payload }) => payload.readUInt32LE(0) <= limit));
    }
  });

  it('that still runs from before is not loaded again, and on a link without lines stays', async () => {
    const on = bench({ capabilities: NO_LINES });
    await enterDownloadByHand(on);
    const first = await on.connect();
    await first.prepareToMove();
    assert.equal(await first.leave(), 'untouched');
    const uploads = count(on, OPCODE.MEM_BEGIN);
    const second = await on.connect();
    assert.deepEqual(await second.openFlash(), await first.openFlash());
    assert.deepEqual(await readRegion(second, 0x10000, 5000), on.board.flash.read(0x10000, 5000));
    assert.equal(await second.leave(), 'untouched');
    assert.equal(count(on, OPCODE.MEM_BEGIN), uploads);
    assert.equal(on.board.mode, 'stub');
    assert.equal(on.board.resets, 1);
    assert.deepEqual(on.board.lineHistory, []);
  });

  it('that still runs from before is replaced where the board can be reset', async () => {
    const on = bench();
    await (await on.connect()).prepareToMove();
    const again = await on.connect();
    assert.equal(again.loaderKind, 'rom');
    await again.prepareToMove();
    assert.equal(again.loaderKind, 'stub');
  });

  it('that does not start: the ROM reads, slowly', async () => {
    for (const family of ['esp32', 'esp32s3', 'esp32c3'] as const) {
      const on = bench({ family, flashSizeBytes: 256 * KIB, faults: [{ kind: 'no-stub' }] });
      const board = await on.connect();
      assert.equal((await board.openFlash()).sizeBytes, 256 * KIB);
      assert.equal(board.loaderKind, 'rom');
      assert.deepEqual(await readRegion(board, 0, 256 * KIB), on.board.flash.snapshot());
      assert.equal(await board.digest(0, 256 * KIB), on.board.flash.md5(0, 256 * KIB).toString('hex'));
      assert.equal(await board.leave(), 'app');
      assert.equal(on.board.mode, 'app');
    }
  });

  it('that does not start on an ESP8266: no-stub-read, and the app runs again', async () => {
    const on = bench({ family: 'esp8266', faults: [{ kind: 'no-stub' }] });
    const board = await on.connect();
    await assert.rejects(board.openFlash(), (error) => hasCode(error, 'no-stub-read') && error.hint !== '');
    assert.equal(await board.leave(), 'app');
    assert.equal(on.board.mode, 'app');
  });

  it('that loses a byte on its way is sent again, and not given up', async () => {
    for (const family of ['esp32c3', 'esp8266'] as const) {
      for (const kind of ['drop', 'flip', 'duplicate'] as const) {
        for (const byte of [5, 700, 3000, 7000]) {
          const on = bench({ family });
          const board = await on.connect();
          on.board.addFault({ kind, direction: 'to-board', byte });
          await board.prepareToMove();
          assert.equal(board.loaderKind, 'stub', `${family}: ${kind} ${byte}`);
          assert.equal(await board.digest(0, 4096), on.board.flash.md5(0, 4096).toString('hex'));
        }
      }
    }
  });

  it('of an ESP32-S3 with secure boot is led in through the pointer, which is put back', async () => {
    const POINTER = 0x3fcef688;
    const FUNCTION = 0x40000a20;
    const { entry } = await loadStubImage('esp32s3');
    // The simulated ROM calls no pointer: what would make it call is turned into the jump that the pointer leads to.
    const call = encodeFrame(encodeRequest(OPCODE.READ_FLASH_SLOW, words(0, 0)));
    const jump = encodeFrame(encodeRequest(OPCODE.MEM_END, words(0, entry)));
    const pointerOf = (data: Buffer) =>
      data[2] === OPCODE.WRITE_REG && data.readUInt32LE(9) === POINTER ? [data.readUInt32LE(13)] : [];
    const pointer: number[] = [];
    const through = (link: Link): Link =>
      overlay(link, {
        write(data) {
          const frame = Buffer.from(data);
          pointer.push(...pointerOf(frame));
          if (frame.equals(call)) assert.equal(pointer.at(-1), entry, 'the call comes after the pointer');
          return link.write(frame.equals(call) ? jump : frame);
        },
      });
    const on = bench({
      family: 'esp32s3',
      security: { secureBoot: true },
      registerPresets: new Map([[POINTER, FUNCTION]]),
      through,
    });
    const board = await on.connect();
    const clean = on.board.commands.length;
    await board.prepareToMove();
    assert.equal(board.loaderKind, 'stub');
    assert.deepEqual(pointer, [entry, FUNCTION]);
    const ends = on.board.commands.slice(clean).filter(({ opcode }) => opcode === OPCODE.MEM_END);
    assert.equal(ends[0]?.payload.readUInt32LE(0), 1, 'no jump is asked for');
    assert.equal(await board.leave(), 'app');
  });

  for (const [name, options] of [
    ['ESP32-C2 v0.0', { family: 'esp32c2', revision: { major: 0, minor: 0 } }],
    ['ESP32-C3 with secure boot', { family: 'esp32c3', security: { secureBoot: true } }],
  ] as const) {
    it(`is not loaded on an ${name}, which is read through the ROM`, async () => {
      const on = bench({ ...options, flashSizeBytes: 256 * KIB, line: { paced: false } });
      const board = await on.connect();
      await board.prepareToMove();
      assert.equal(board.loaderKind, 'rom');
      assert.equal(count(on, OPCODE.MEM_BEGIN), 0);
      assert.deepEqual(await readRegion(board, 100, 3000), on.board.flash.read(100, 3000));
      assert.equal(await board.leave(), 'app');
    });
  }
});
