import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { EspdError, hasCode } from '../../src/errors.ts';
import { preparePiece, writeFlash } from '../../src/esp/board-writer.ts';
import { Board } from '../../src/esp/board.ts';
import { chips } from '../../src/esp/chips/index.ts';
import { OPCODE } from '../../src/esp/protocol.ts';
import type { Link } from '../../src/serial/link.ts';
import type { BoardPort, Fault } from '../../src/simulator/index.ts';
import { createBoard, demoImage, memoryLink } from '../../src/simulator/index.ts';
import { KIB, MIB, NO_LINES, bench, enterDownloadByHand, overlay, readRegion } from '../support/bench.ts';

const sizes = [256 * KIB, 512 * KIB, MIB, 2 * MIB, 4 * MIB, 8 * MIB, 16 * MIB, 32 * MIB, 64 * MIB, 128 * MIB];

describe('a board', () => {
  for (const chip of chips) {
    it(`with an ${chip.title} tells its flash, from 256 KB to what the chip can address`, async () => {
      for (const flashSizeBytes of sizes) {
        const on = bench({ family: chip.family, flashSizeBytes, content: Buffer.alloc(0) });
        const board = await on.connect();
        if (flashSizeBytes > chip.maxFlashBytes) {
          await assert.rejects(board.openFlash(), (error) => hasCode(error, 'flash-unknown') && error.hint !== '');
          continue;
        }
        const [manufacturer, ...device] = on.board.flash.jedec.map((byte) => byte.toString(16).padStart(2, '0'));
        const facts = { manufacturer, device: device.join(''), sizeBytes: flashSizeBytes, sizeFrom: 'id' };
        assert.deepEqual(await board.openFlash(), facts);
        const end = flashSizeBytes - 4096;
        on.board.flash.load(end, Buffer.alloc(4096, 7));
        assert.ok((await readRegion(board, end, 4096)).equals(Buffer.alloc(4096, 7)));
        assert.equal(board.retries, 0);
      }
    });
  }

  it('as in the how-to: manufacturer 5e, device 4016, 4 MB', async () => {
    const on = bench({
      family: 'esp8266',
      flashSizeBytes: 4 * MIB,
      jedec: [0x5e, 0x40, 0x16],
      mac: '50:02:91:c3:37:a5',
    });
    const board = await on.connect();
    assert.deepEqual(await board.openFlash(), {
      manufacturer: '5e',
      device: '4016',
      sizeBytes: 4 * MIB,
      sizeFrom: 'id',
    });
    assert.equal(board.identity.mac, '50:02:91:c3:37:a5');
  });

  it('without a flash, or with one that nobody knows: flash-unknown, and the app runs again', async () => {
    for (const id of [
      [0, 0, 0],
      [0xff, 0xff, 0xff],
      [0xef, 0x40, 0x99],
    ] as const) {
      const on = bench({ faults: [{ kind: 'flash-id', id }] });
      const board = await on.connect();
      await assert.rejects(board.openFlash(), (error) => {
        assert.ok(hasCode(error, 'flash-unknown'), String(error));
        return error.hint !== '';
      });
      assert.equal(await board.leave(), 'app');
      assert.equal(on.board.mode, 'app');
    }
  });

  it('opens its flash by itself, once, whatever comes first; only what moves bytes needs the stub', async () => {
    for (const [kind, work] of [
      ['rom', (board: Board) => board.openFlash()],
      ['rom', (board: Board) => board.digest(0, 4096)],
      ['rom', (board: Board) => board.flashStatus()],
      ['rom', (board: Board) => board.checkIdentity()],
      ['stub', (board: Board) => board.prepareToMove()],
      ['stub', (board: Board) => readRegion(board, 0, 10)],
      ['stub', async (board: Board) => writeFlash(board, await preparePiece(0, Buffer.alloc(4096)))],
    ] as const) {
      const on = bench();
      const board = await on.connect();
      assert.equal(board.loaderKind, 'rom');
      await work(board);
      await work(board);
      assert.equal(board.loaderKind, kind);
      const count = (wanted: number) => on.board.commands.filter(({ opcode }) => opcode === wanted).length;
      assert.equal(count(OPCODE.MEM_END), kind === 'stub' ? 1 : 0);
      assert.equal(count(OPCODE.SPI_ATTACH) <= 2, true);
    }
  });

  it('answers digests of any region', async () => {
    for (const faults of [[], [{ kind: 'no-stub' }]] as const) {
      const on = bench({ faults: [...faults] as Fault[] });
      const board = await on.connect();
      for (const [offset, length] of [
        [0, MIB],
        [1, 1],
        [4095, 8193],
        [0, 4096],
      ] as const) {
        assert.equal(await board.digest(offset, length), on.board.flash.md5(offset, length).toString('hex'));
      }
    }
  });

  it('may take long over a digest', async () => {
    const on = bench({ flashSizeBytes: 4 * MIB, speeds: { digestBytesPerSecond: 200_000 }, line: {} });
    const board = await on.connect();
    assert.equal(await board.digest(0, 4 * MIB), on.board.flash.md5(0, 4 * MIB).toString('hex'));
    assert.equal(board.retries, 0);
  });

  it('does not wait a quarter of an hour for the digest of a chip that has died: 128 MiB', async () => {
    const on = bench({
      family: 'esp32s3',
      flashSizeBytes: 128 * MIB,
      speeds: { digestBytesPerSecond: 8 * MIB },
      line: {},
    });
    const board = await on.connect();
    // A small one tells how fast it hashes; it dies over the large one.
    on.board.addFault({ kind: 'mute', when: { opcode: OPCODE.SPI_FLASH_MD5, nth: 2 } });
    const started = on.clock.now();
    await assert.rejects(board.digest(0, 128 * MIB), (error) => hasCode(error, 'no-answer'));
    const tookMs = on.clock.now() - started;
    // Four times the 16 s that it needs, and some tries to connect again. It was 17 minutes.
    assert.ok(tookMs > 64_000 && tookMs < 120_000, `${tookMs} ms`);
  });

  it('waits for a slow chip that is at work over 32 MiB', async () => {
    const on = bench({
      family: 'esp32s3',
      flashSizeBytes: 32 * MIB,
      speeds: { digestBytesPerSecond: 400_000 },
      line: {},
    });
    const board = await on.connect();
    assert.equal(await board.digest(0, 32 * MIB), on.board.flash.md5(0, 32 * MIB).toString('hex'));
    assert.equal(board.retries, 0);
  });

  it('has its flash identified over a bad line: right or not at all', async () => {
    const clean = bench();
    const cleanBoard = await clean.connect();
    const from = { 'to-host': clean.board.wireBytes.toHost, 'to-board': clean.board.wireBytes.toBoard };
    const facts = await cleanBoard.openFlash();
    const bytes = {
      'to-host': clean.board.wireBytes.toHost - from['to-host'],
      'to-board': clean.board.wireBytes.toBoard - from['to-board'],
    };
    let failures = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('drop', 'flip', 'duplicate' as const),
        fc.constantFrom('to-host', 'to-board' as const),
        fc.nat(),
        async (kind, direction, at) => {
          const on = bench();
          const board = await on.connect();
          on.board.addFault({ kind, direction, byte: at % bytes[direction] });
          try {
            assert.deepEqual(await board.openFlash(), facts);
          } catch (error) {
            if (!(error instanceof EspdError)) throw error;
            failures++;
          }
        },
      ),
      { numRuns: 60 },
    );
    assert.ok(failures <= 2, `${failures} of 60 failed: one byte is to be survived`);
  });
});

describe('the baud rate', () => {
  it('is raised to what is wanted, as far as chip and bridge go', async () => {
    for (const [family, wanted, expected] of [
      ['esp32', 921600, 921600],
      ['esp32', 115200, 115200],
      ['esp32c3', 2_000_000, 2_000_000],
      ['esp8266', 460800, 460800],
      ['esp32c2', 3_000_000, 2_000_000],
      ['esp32', 9600, 115200],
    ] as const) {
      const on = bench({ family, line: {} });
      const board = await on.connect({ baudRate: wanted });
      await board.openFlash();
      assert.equal(board.baudRate, 115200, 'not before there is something to read');
      assert.ok((await readRegion(board, 0, MIB)).equals(on.board.flash.read(0, MIB)));
      assert.equal(board.baudRate, expected, family);
      assert.equal(board.retries, 0);
    }
  });

  it('of a ROM is raised, too, also with a crystal that the ROM does not know', async () => {
    for (const options of [
      { family: 'esp32c2', revision: { major: 0, minor: 0 }, crystalMHz: 26 },
      { family: 'esp32c2', revision: { major: 0, minor: 0 }, crystalMHz: 40 },
      { family: 'esp32c3', security: { secureBoot: true } },
      { family: 'esp32', faults: [{ kind: 'no-stub' }] },
    ] as const) {
      const on = bench({ ...options, line: {} });
      const board = await on.connect({ baudRate: 460800 });
      await board.openFlash();
      assert.equal(board.loaderKind, 'rom');
      assert.ok((await readRegion(board, 0, 20_000)).equals(on.board.flash.read(0, 20_000)));
      assert.equal(board.baudRate, 460800);
    }
  });

  it('falls back where the bridge does not hold it', async () => {
    for (const [holds, expected] of [
      [500_000, 460800],
      [240_000, 230400],
      [115_200, 115200],
    ] as const) {
      // Loses so much that not even SYNC comes through.
      const on = bench({ line: {}, faults: [{ kind: 'loses-above', baudRate: holds, every: 7 }] });
      const board = await on.connect();
      assert.ok((await readRegion(board, 0, 150_000)).equals(on.board.flash.read(0, 150_000)));
      assert.equal(board.baudRate, expected);
      assert.ok(board.retries > 0);
      assert.equal(await board.leave(), 'app');
    }
  });

  it('is changed although the answer is lost', async () => {
    let lost = 0;
    const through = (link: Link) =>
      overlay(link, {
        async read(timeoutMs, signal) {
          const bytes = await link.read(timeoutMs, signal);
          if (bytes?.indexOf(Buffer.of(0x01, OPCODE.CHANGE_BAUDRATE)) !== 1) return bytes;
          lost++;
          return Buffer.of(0xc0);
        },
      });
    const on = bench({ line: {}, through });
    const board = await on.connect();
    assert.ok((await readRegion(board, 0, 20_000)).equals(on.board.flash.read(0, 20_000)));
    assert.deepEqual([board.baudRate, lost, on.board.resets], [921600, 1, 1]);
  });

  it('stays as it is without reset lines', async () => {
    for (const capabilities of [NO_LINES, { controlLines: false, baudRate: true }]) {
      const on = bench({ capabilities });
      await enterDownloadByHand(on);
      const board = await on.connect();
      assert.ok((await readRegion(board, 0, 100_000)).equals(on.board.flash.read(0, 100_000)));
      assert.equal(board.baudRate, 115200);
      assert.deepEqual(on.board.baudRates, [115200]);
    }
  });
});

describe('connecting again', () => {
  it('brings the board back after a reset, with everything set up', async () => {
    for (const family of ['esp8266', 'esp32', 'esp32c3'] as const) {
      const on = bench({ family, line: {} });
      const board = await on.connect();
      await readRegion(board, 0, 100_000);
      assert.equal(board.baudRate, 921600);
      on.board.powerCycle();
      await board.reconnect();
      assert.equal(board.loaderKind, 'stub');
      assert.ok((await readRegion(board, 0, 100_000)).equals(on.board.flash.read(0, 100_000)));
      assert.equal(board.baudRate, 921600);
      assert.equal(await board.digest(0, MIB), on.board.flash.md5(0, MIB).toString('hex'));
      assert.ok(board.retries > 0);
    }
  });

  it('never goes on with another board: chip-changed, and that one is let go', async () => {
    for (const other of ['esp32c3', 'esp32'] as const) {
      const on = bench({ line: {} });
      const second = createBoard({
        family: other,
        mac: '24:0a:c4:00:00:99',
        clock: on.clock,
        content: demoImage({ family: other }),
      });
      const port = switched(on.board, second);
      const link = memoryLink(port, { clock: on.clock });
      const board = await Board.connect(link, on.context, { reset: 'auto', attempts: 7, baudRate: 921600, usb: null });
      await board.openFlash();
      port.change();
      const digest = board.digest(0, 4096);
      await assert.rejects(digest, (error) => {
        assert.ok(hasCode(error, 'chip-changed'), String(error));
        if (other === 'esp32c3') assert.match(error.message, /24:0a:c4:00:00:99/);
        return error.hint !== '';
      });
      await board.leave();
      await on.pass(100);
      assert.equal(second.mode, 'app');
    }
  });

  it('notices another board in its place although the conversation never broke off', async () => {
    const on = bench({ line: {} });
    const other = bench({ line: {}, mac: '24:0a:c4:00:00:99' });
    const port = switched(on.board, other.board);
    const link = memoryLink(port, { clock: on.clock });
    const board = await Board.connect(link, on.context, { reset: 'auto', attempts: 7, baudRate: 921600, usb: null });
    await board.openFlash();
    await board.checkIdentity();
    await (await other.connect()).openFlash();
    port.change();
    assert.equal(await board.digest(0, 4096), other.board.flash.md5(0, 4096).toString('hex'));
    await assert.rejects(board.checkIdentity(), (error) => hasCode(error, 'chip-changed') && error.hint !== '');
  });

  it('tells the ROM again how large the flash is', async () => {
    const on = bench({ family: 'esp32c2', revision: { major: 0, minor: 0 }, flashSizeBytes: 8 * MIB });
    const board = await on.connect();
    await board.openFlash();
    on.board.powerCycle();
    assert.equal(await board.digest(7 * MIB, 4096), on.board.flash.md5(7 * MIB, 4096).toString('hex'));
    assert.ok((await readRegion(board, 5 * MIB, 1000)).equals(on.board.flash.read(5 * MIB, 1000)));
  });

  it('gives up where nobody answers any more', async () => {
    const on = bench();
    const board = await on.connect();
    // What a flash has sent must not count as a flood.
    await readRegion(board, 0, 500 * KIB);
    on.board.addFault({ kind: 'mute' });
    const startedAt = on.clock.now();
    await assert.rejects(board.digest(0, 4096), (error) => hasCode(error, 'no-answer'));
    assert.ok(on.clock.now() - startedAt < 40_000, `${on.clock.now() - startedAt} ms`);
  });
});

/** One port, two boards: the second takes the place of the first in the middle of the work. */
function switched(first: BoardPort, second: BoardPort): BoardPort & { change(): void } {
  let current = first;
  const port: BoardPort & { change(): void } = {
    onTransmit: undefined,
    onVanish: undefined,
    receive: (data) => current.receive(data),
    setControlLines: (lines) => current.setControlLines(lines),
    setBaudRate: (baudRate) => current.setBaudRate(baudRate),
    change: () => {
      first.onTransmit = undefined;
      current = second;
      second.onTransmit = (data) => port.onTransmit?.(data);
    },
  };
  first.onTransmit = (data) => port.onTransmit?.(data);
  return port;
}
