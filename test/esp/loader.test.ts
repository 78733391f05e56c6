import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { hasCode } from '../../src/errors.ts';
import { FrameChannel } from '../../src/esp/channel.ts';
import { connect } from '../../src/esp/connect.ts';
import { ChipRefusal, type Loader, agreedAnswer } from '../../src/esp/loader.ts';
import { OPCODE, dataChecksum, decodeResponse, words } from '../../src/esp/protocol.ts';
import { chipByFamily } from '../../src/esp/chips/index.ts';
import { agreeingRegisters } from '../../src/esp/registers.ts';
import { readJedecId } from '../../src/esp/spi-flash.ts';
import { loadStubImage, startStub } from '../../src/esp/stub.ts';
import { type Bench, type BenchOptions, bench } from '../support/bench.ts';

const MAGIC = 0x40001000;
const MAGIC_OF_C3 = 0x1b31506f;
/** Two registers with a content of their own: the words of the MAC. */
const [MAC_LOW, MAC_HIGH] = [0x60008844, 0x60008848];

async function connected(options: BenchOptions = {}): Promise<{ on: Bench; loader: Loader }> {
  const on = bench({ mac: '24:0a:c4:12:34:56', ...options });
  const channel = new FrameChannel(on.link, on.clock);
  return { on, loader: await connect(channel, on.context, { reset: 'auto', attempts: 7, usb: null }) };
}

async function withStub(options: BenchOptions = {}): Promise<{ on: Bench; loader: Loader }> {
  const { on, loader } = await connected(options);
  const image = await loadStubImage('esp32c3');
  return { on, loader: await startStub(loader, image, { start: { kind: 'entry' }, blockBytes: 0x1800 }) };
}

async function refusal(work: Promise<unknown>): Promise<ChipRefusal> {
  const error: unknown = await work.then(
    () => assert.fail('not refused'),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof ChipRefusal, String(error));
  return error;
}

describe('commands', () => {
  it('are asked again when the answer does not come, and give up in bounded time', async () => {
    const { on, loader } = await connected();
    on.board.addFault({ kind: 'mute' });
    const startedAt = on.clock.now();
    await assert.rejects(loader.readRegister(MAGIC), (error) => hasCode(error, 'chip-timeout') && error.hint !== '');
    assert.ok(on.clock.now() - startedAt < 5000);
    assert.equal(loader.retries, 2);
    await assert.rejects(loader.command(OPCODE.MEM_BEGIN, words(0, 0, 0, 0)), (error) =>
      hasCode(error, 'chip-timeout'),
    );
    assert.equal(loader.retries, 2);
  });

  it('survive any one byte lost, doubled or changed, in either direction: right words or none', async () => {
    for (const kindOf of [connected, withStub]) {
      const { on, loader } = await kindOf();
      for (const direction of ['to-host', 'to-board'] as const) {
        for (const kind of ['drop', 'flip', 'duplicate'] as const) {
          for (let byte = 0; byte < 32; byte++) {
            const registers = agreeingRegisters(loader);
            const mend = on.board.addFault({ kind, direction, byte });
            const where = `${loader.kind}: ${kind} ${direction} ${byte}`;
            assert.equal(await registers.read(MAC_LOW), 0xc4123456, where);
            assert.equal((await registers.read(MAC_HIGH)) & 0xffff, 0x240a, where);
            mend();
          }
        }
      }
    }
  });

  it('survive bursts of damage: right words or an error', async () => {
    const { on, loader } = await connected();
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('drop', 'flip', 'duplicate' as const),
        fc.constantFrom('to-host', 'to-board' as const),
        fc.nat(60),
        fc.integer({ min: 1, max: 20 }),
        async (kind, direction, byte, count) => {
          const mend = on.board.addFault({ kind, direction, byte, count });
          try {
            const registers = agreeingRegisters(loader);
            assert.equal(await registers.read(MAC_LOW), 0xc4123456);
            assert.equal((await registers.read(MAC_HIGH)) & 0xffff, 0x240a);
          } catch (error) {
            if (!hasCode(error, 'chip-timeout', 'chip-error')) throw error;
          } finally {
            mend();
          }
        },
      ),
      { numRuns: 80 },
    );
  });

  for (const durationMs of [900, 1100, 1600, 2300, 2900]) {
    it(`never take a late answer for that to the next command: ${durationMs} ms of silence`, async () => {
      for (const kindOf of [connected, withStub]) {
        const { on, loader } = await kindOf({ line: { latencyMs: 4 } });
        const registers = agreeingRegisters(loader);
        on.board.addFault({ kind: 'stall', durationMs, when: { opcode: OPCODE.READ_REG } });
        assert.equal(await registers.read(MAGIC), MAGIC_OF_C3);
        assert.equal(await registers.read(MAC_LOW), 0xc4123456);
        assert.equal((await registers.read(MAC_HIGH)) & 0xffff, 0x240a);
      }
    });
  }

  it('refused by a ROM in the name of the last valid command, eight times after SYNC', async () => {
    const { on, loader } = await connected({ family: 'esp32' });
    const error = await refusal(loader.command(OPCODE.GET_SECURITY_INFO, Buffer.alloc(0), { repeatable: true }));
    assert.deepEqual([error.reason, error.isUnsupported, error.opcode], [0x05, true, OPCODE.GET_SECURITY_INFO]);
    assert.match(error.message, /GET_SECURITY_INFO/);
    assert.equal(loader.retries, 0);
    // Nothing of the sixteen frames is left over.
    assert.equal(await loader.readRegister(MAGIC), 0x00f01d83);
    const later = await refusal(loader.command(OPCODE.GET_SECURITY_INFO, Buffer.alloc(0)));
    assert.equal(later.reason, 0x05);
    assert.equal(await loader.readRegister(MAGIC), 0x00f01d83);
    assert.equal(on.board.mode, 'download');
  });

  it('refused by a stub in their own name', async () => {
    const { loader } = await withStub();
    const error = await refusal(loader.command(0x77, Buffer.alloc(0)));
    assert.deepEqual([error.reason, error.isUnsupported], [0xff, true]);
    assert.match(error.message, /command 0x77/);
  });

  it('are not refused by one bit: a status that flips is asked again', async () => {
    const { on, loader } = await connected();
    // Frame: C0, 8 bytes of header, then the status.
    for (const byte of [9, 10, 11, 12]) {
      const mend = on.board.addFault({ kind: 'flip', direction: 'to-host', byte });
      assert.equal(await loader.readRegister(MAGIC), MAGIC_OF_C3);
      mend();
    }
  });

  it('that change something are sent once', async () => {
    const { on, loader } = await connected();
    on.board.addFault({ kind: 'drop', direction: 'to-host', byte: 5 });
    await assert.rejects(loader.command(OPCODE.MEM_BEGIN, words(4, 1, 4, 0x40380000)), (error) =>
      hasCode(error, 'chip-timeout'),
    );
    assert.equal(on.board.commands.filter(({ opcode }) => opcode === OPCODE.MEM_BEGIN).length, 1);
  });

  it('end at once when aborted, with the reason', async () => {
    const { on, loader } = await connected();
    on.board.addFault({ kind: 'mute' });
    const reason = new Error('enough');
    const startedAt = on.clock.now();
    on.clock.schedule(300, () => on.abort.abort(reason));
    await assert.rejects(loader.readRegister(MAGIC), reason);
    assert.ok(on.clock.now() - startedAt <= 301);
  });

  it('end with the port', async () => {
    const { on, loader } = await connected();
    on.board.addFault({ kind: 'vanish', when: { opcode: OPCODE.READ_REG } });
    await assert.rejects(loader.readRegister(MAGIC), (error) => hasCode(error, 'port-vanished'));
  });
});

describe('responses', () => {
  it('a byte too long or too short are none: no word is made of shifted bytes', () => {
    const frame = Buffer.from('010a0400112233440000ffff', 'hex');
    assert.equal(decodeResponse(frame, 4)?.value, 0x44332211);
    for (let byte = 0; byte < frame.length; byte++) {
      const [head, tail] = [frame.subarray(0, byte), frame.subarray(byte)];
      assert.equal(decodeResponse(Buffer.concat([head, tail.subarray(1)]), 4), null, `without byte ${byte}`);
      assert.equal(decodeResponse(Buffer.concat([head, tail.subarray(0, 1), tail]), 4), null, `twice byte ${byte}`);
    }
  });
});

describe('a stub', () => {
  it('that reports a write gone wrong on a later command is alive all the same', async () => {
    const { loader } = await withStub();
    const rubbish = Buffer.from('this is no zlib stream');
    await loader.command(OPCODE.FLASH_DEFL_BEGIN, words(4096, 1, 0x4000, 0x10000, 0));
    await loader.command(OPCODE.FLASH_DEFL_DATA, Buffer.concat([words(rubbish.length, 0, 0, 0), rubbish]), {
      checksum: dataChecksum(rubbish),
    });
    assert.equal(await loader.isAlive(), true);
    assert.equal(await loader.readRegister(MAGIC), MAGIC_OF_C3);
  });

  it('gives the id of the flash, whatever byte is lost, changed or doubled', async () => {
    const { on, loader } = await withStub();
    const USER = 0x60002018;
    const user = await loader.readRegister(USER);
    for (const kind of ['flip', 'drop', 'duplicate'] as const) {
      for (let byte = 0; byte < 180; byte++) {
        const mend = on.board.addFault({ kind, direction: 'to-host', byte });
        assert.deepEqual(await readJedecId(loader, chipByFamily('esp32c3')), { manufacturer: 'ef', device: '4014' });
        mend();
        assert.equal(await loader.readRegister(USER), user, `put back, after ${kind} ${byte}`);
      }
    }
  });

  it('that is gone is not alive', async () => {
    const { on, loader } = await withStub();
    assert.equal(await loader.isAlive(), true);
    on.board.pressReset();
    await on.pass(300);
    const startedAt = on.clock.now();
    assert.equal(await loader.isAlive(), false);
    assert.ok(on.clock.now() - startedAt < 5000);
    assert.equal(await loader.isAlive({ attempts: 1, timeoutMs: 300 }), false);
  });
});

describe('answers asked for until two agree', () => {
  const answersOf = (answers: number[]) => agreedAnswer(() => Promise.resolve(answers.shift() ?? assert.fail()));

  it('are those two', async () => {
    assert.equal(await answersOf([7, 7]), 7);
    assert.equal(await answersOf([1, 7, 7]), 7);
    assert.equal(await answersOf([1, 7, 1, 7, 7]), 7);
    assert.equal(await answersOf([1, 2, 3, 4, 5]), undefined);
  });

  it('are compared as the caller says', async () => {
    const bytes = () => Promise.resolve(Buffer.from('abc'));
    assert.equal(await agreedAnswer(bytes), undefined);
    assert.deepEqual(await agreedAnswer(bytes, (one, other) => one.equals(other)), Buffer.from('abc'));
  });
});
