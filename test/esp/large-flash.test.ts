/** Flash above 16 MiB: a ROM's commands wrap there, so none of them may touch it, wherever a ROM could come in. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type EspdError, hasCode } from '../../src/errors.ts';
import type { Board } from '../../src/esp/board.ts';
import { preparePiece, writeFlash } from '../../src/esp/board-writer.ts';
import { FrameChannel } from '../../src/esp/channel.ts';
import { Loader } from '../../src/esp/loader.ts';
import { OPCODE, words } from '../../src/esp/protocol.ts';
import type { Link } from '../../src/serial/link.ts';
import {
  type Bench,
  type BenchOptions,
  MIB,
  NO_LINES,
  bench,
  enterDownloadByHand,
  overlay,
  readRegion,
} from '../support/bench.ts';

/** The chips whose stub reaches beyond 24 bits. */
const LARGE = ['esp32s3', 'esp32c5', 'esp32c61', 'esp32p4', 'esp32s31'] as const;
const UPPER = 16 * MIB + 0x1000;

function large(options: BenchOptions = {}): Bench {
  const on = bench({ family: 'esp32s3', flashSizeBytes: 32 * MIB, content: Buffer.alloc(64 * 1024, 0x11), ...options });
  on.board.flash.load(UPPER, Buffer.alloc(8192, 0x22));
  return on;
}

/** What a ROM was asked to do to the flash. (READ_FLASH_SLOW of nothing is how an S3 with secure boot is led into the stub.) */
function romFlashCommands({ board }: Bench): string[] {
  const flash: readonly number[] = [0x02, 0x03, 0x0e, 0x10, 0x11, 0x13];
  return board.commands
    .filter(
      ({ loader, opcode, payload }) => loader === 'rom' && flash.includes(opcode) && !payload.every((b) => b === 0),
    )
    .map(({ opcode }) => opcode.toString(16));
}

function isOutOfReach(error: unknown): error is EspdError {
  return hasCode(error, 'no-stub-read') && /16 MB/.test(`${error.message} ${error.hint}`) && error.hint.length > 20;
}

async function assertUntouched(on: Bench, board: Board, before: Buffer): Promise<void> {
  assert.deepEqual(romFlashCommands(on), []);
  assert.ok(on.board.flash.snapshot().equals(before), 'the flash is what it was');
  assert.equal(await board.leave(), 'app');
  assert.equal(on.board.mode, 'app');
}

describe('a ROM as loader', () => {
  const over: readonly (readonly [name: string, opcode: number, payload: Buffer])[] = [
    ['read', OPCODE.READ_FLASH_SLOW, words(UPPER, 64)],
    ['read over the end', OPCODE.READ_FLASH_SLOW, words(16 * MIB - 32, 64)],
    ['read whose end does not fit 32 bits', OPCODE.READ_FLASH_SLOW, words(0xffffffff, 64)],
    ['digest', OPCODE.SPI_FLASH_MD5, words(UPPER, 4096, 0, 0)],
    ['digest of the whole', OPCODE.SPI_FLASH_MD5, words(0, 32 * MIB, 0, 0)],
    ['write', OPCODE.FLASH_BEGIN, words(4096, 4, 1024, UPPER, 0)],
    ['compressed write', OPCODE.FLASH_DEFL_BEGIN, words(4096, 4, 1024, UPPER, 0)],
  ];
  const within: readonly (readonly [name: string, opcode: number, payload: Buffer])[] = [
    ['read of the last bytes', OPCODE.READ_FLASH_SLOW, words(16 * MIB - 64, 64)],
    ['digest of all of it', OPCODE.SPI_FLASH_MD5, words(0, 16 * MIB, 0, 0)],
    ['write of the last sector', OPCODE.FLASH_BEGIN, words(4096, 4, 1024, 16 * MIB - 4096, 0)],
    ['data', OPCODE.FLASH_DATA, words(0, 0, 0, 0)],
  ];

  async function sends(opcode: number, payload: Buffer, kind: 'rom' | 'stub', sizeBytes?: number): Promise<boolean> {
    const on = bench();
    let sent = false;
    const link = overlay(on.link, {
      write: () => {
        sent = true;
        return Promise.resolve();
      },
    });
    const loader = new Loader(new FrameChannel(link, on.clock), on.context, kind, 4);
    loader.flashSizeBytes = sizeBytes;
    await assert.rejects(loader.command(opcode, payload, { timeoutMs: 10 }), (error) =>
      hasCode(error, sent ? 'chip-timeout' : 'no-stub-read'),
    );
    return sent;
  }

  for (const [name, opcode, payload] of over) {
    it(`sends no ${name} above 16 MiB, whatever it knows of the flash; a stub does`, async () => {
      for (const sizeBytes of [undefined, 16 * MIB, 32 * MIB]) {
        assert.equal(await sends(opcode, payload, 'rom', sizeBytes), false);
        assert.equal(await sends(opcode, payload, 'stub', sizeBytes), true);
      }
    });
  }

  for (const [name, opcode, payload] of within) {
    it(`sends a ${name} up to 16 MiB, but none at all to a larger flash`, async () => {
      assert.equal(await sends(opcode, payload, 'rom'), true);
      assert.equal(await sends(opcode, payload, 'rom', 16 * MIB), true);
      assert.equal(await sends(opcode, payload, 'rom', 32 * MIB), false);
      assert.equal(await sends(opcode, payload, 'stub', 32 * MIB), true);
    });
  }
});

describe('a flash above 16 MiB', () => {
  for (const family of LARGE) {
    it(`is no-stub-read where no stub starts: ${family}`, async () => {
      const on = large({ family, faults: [{ kind: 'no-stub' }] });
      const before = on.board.flash.snapshot();
      const board = await on.connect();
      // Who the flash is, the ROM can say: no address is needed for that.
      assert.equal((await board.openFlash()).sizeBytes, 32 * MIB);
      await assert.rejects(board.prepareToMove(), isOutOfReach);
      await assert.rejects(board.digest(UPPER, 4096), isOutOfReach);
      await assert.rejects(readRegion(board, UPPER, 4096), isOutOfReach);
      await assert.rejects(writeFlash(board, await preparePiece(UPPER, Buffer.alloc(4096))), isOutOfReach);
      await assertUntouched(on, board, before);
    });

    it(`is read, hashed and written through the stub to its end: ${family}`, async () => {
      const on = large({ family, flashSizeBytes: 64 * MIB });
      on.board.flash.load(64 * MIB - 4096, Buffer.alloc(4096, 0x33));
      const board = await on.connect();
      assert.equal((await board.openFlash()).sizeBytes, 64 * MIB);
      assert.equal(await board.digest(UPPER, 8192), on.board.flash.md5(UPPER, 8192).toString('hex'));
      assert.deepEqual(await readRegion(board, 64 * MIB - 4096, 4096), Buffer.alloc(4096, 0x33));
      await writeFlash(board, await preparePiece(UPPER, Buffer.alloc(4096, 0x44)));
      assert.deepEqual(on.board.flash.read(UPPER, 4096), Buffer.alloc(4096, 0x44));
      assert.deepEqual(on.board.flash.read(0x1000, 4096), Buffer.alloc(4096, 0x11));
    });
  }

  it('is no-stub-read where secure boot keeps the stub out', async () => {
    // The simulated ROM does not call the pointer by which an S3 with secure boot is led into the stub.
    const on = large({ security: { secureBoot: true } });
    const before = on.board.flash.snapshot();
    const board = await on.connect();
    await assert.rejects(board.digest(0, 4096), isOutOfReach);
    await assertUntouched(on, board, before);
  });

  it('is no-stub-read when the stub dies in a read, a digest or a write and does not start again', async () => {
    const works: readonly (readonly [number, (board: Board) => Promise<unknown>])[] = [
      [OPCODE.READ_FLASH, (board) => readRegion(board, 16 * MIB - 65536, 256 * 1024)],
      [OPCODE.SPI_FLASH_MD5, (board) => board.digest(UPPER, 8192)],
      [
        OPCODE.FLASH_DEFL_BEGIN,
        async (board) => {
          const piece = await preparePiece(UPPER, Buffer.alloc(4096));
          await assert.rejects(writeFlash(board, piece), (error) => hasCode(error, 'chip-timeout', 'chip-error'));
          await board.reconnect();
        },
      ],
    ];
    for (const [opcode, work] of works) {
      const on = large({ line: {}, speeds: { digestBytesPerSecond: 1_000_000 } });
      const before = on.board.flash.snapshot();
      const board = await on.connect({ baudRate: 115200 });
      await board.prepareToMove();
      on.board.addFault({ kind: 'reset', when: { opcode } });
      on.board.addFault({ kind: 'no-stub' });
      await assert.rejects(work(board), isOutOfReach);
      await assertUntouched(on, board, before);
      // Nor does anything that comes after it go to the ROM.
      await assert.rejects(board.digest(UPPER, 4096), isOutOfReach);
      assert.deepEqual(romFlashCommands(on), []);
    }
  });

  it('is not read through the ROM where the stub answers and reads wrongly', async () => {
    const on = large({ line: {} });
    const before = on.board.flash.snapshot();
    const board = await on.connect({ baudRate: 115200 });
    await board.prepareToMove();
    const mend = on.board.addFault({ kind: 'long-frames', bytes: 600 });
    await assert.rejects(readRegion(board, UPPER, 4096), isOutOfReach);
    assert.equal(board.recovery.romReads, 0);
    assert.deepEqual(romFlashCommands(on), []);
    mend();
    assert.deepEqual(await readRegion(board, UPPER, 4096), Buffer.alloc(4096, 0x22));
    await assertUntouched(on, board, before);
  });

  it('of 16 MiB to the byte is still read through the ROM', async () => {
    for (const family of ['esp32', 'esp32s3', 'esp32c3'] as const) {
      const on = bench({
        family,
        flashSizeBytes: 16 * MIB,
        content: Buffer.alloc(4096),
        faults: [{ kind: 'no-stub' }],
      });
      const last = 16 * MIB - 4096;
      on.board.flash.load(last, Buffer.alloc(4096, 0x77));
      const board = await on.connect();
      assert.equal((await board.openFlash()).sizeBytes, 16 * MIB);
      assert.deepEqual(await readRegion(board, last, 4096), Buffer.alloc(4096, 0x77));
      assert.equal(await board.digest(0, 16 * MIB), on.board.flash.md5(0, 16 * MIB).toString('hex'));
      await writeFlash(board, await preparePiece(last, Buffer.alloc(4096, 0x55)));
      assert.deepEqual(on.board.flash.read(last, 4096), Buffer.alloc(4096, 0x55));
    }
  });
});

describe('a stub that somebody left running on a flash above 16 MiB', () => {
  async function foreign(options: BenchOptions): Promise<{ on: Bench; board: Board }> {
    const on = large({ capabilities: NO_LINES, ...options });
    await enterDownloadByHand(on);
    // Loaded in the first session, and still there in the second.
    await (await on.connect()).prepareToMove();
    const board = await on.connect();
    assert.equal(board.loaderKind, 'stub');
    return { on, board };
  }

  it('is used where it tells the halves apart', async () => {
    const { on, board } = await foreign({});
    assert.equal((await board.openFlash()).sizeBytes, 32 * MIB);
    assert.deepEqual(await readRegion(board, UPPER, 8192), on.board.flash.read(UPPER, 8192));
  });

  it('is refused where it wraps, also when a digest suffers on the line', async () => {
    for (const nth of [1, 2, 3, 4]) {
      let digests = 0;
      const flipping = (link: Link) =>
        overlay(link, {
          write: (data) => {
            // Bytes 9 to 24 of the answer are the digest.
            if (data[2] === OPCODE.SPI_FLASH_MD5 && ++digests === nth) {
              on.board.addFault({ kind: 'flip', direction: 'to-host', byte: 16 });
            }
            return link.write(data);
          },
        });
      const { on, board } = await foreign({ smallStub: true, through: flipping });
      await assert.rejects(board.openFlash(), (error) => hasCode(error, 'no-stub-read'));
      assert.ok(digests > nth, `${digests}`);
    }
  });

  it('is refused where it wraps, or where nothing tells that it does not', async () => {
    const cases: readonly BenchOptions[] = [{ smallStub: true }, { aliasedAtBytes: 16 * MIB }];
    for (const options of cases) {
      const { on, board } = await foreign(options);
      const before = on.board.flash.snapshot();
      for (const work of [
        () => board.openFlash(),
        () => board.digest(UPPER, 4096),
        () => readRegion(board, UPPER, 64),
      ]) {
        await assert.rejects(work(), (error) => hasCode(error, 'no-stub-read') && error.hint.includes('BOOT'));
      }
      assert.ok(on.board.flash.snapshot().equals(before));
    }
  });
});
