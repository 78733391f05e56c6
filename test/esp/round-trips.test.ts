import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { EfuseWords } from '../../src/esp/identity.ts';
import { OPCODE } from '../../src/esp/protocol.ts';
import type { Link } from '../../src/serial/link.ts';
import { BRIDGE, MIB, NO_LINES, bench, enterDownloadByHand } from '../support/bench.ts';

const families = ['esp8266', 'esp32', 'esp32s3', 'esp32c3'] as const;

describe('a job on an unchanged board of 4 MB', () => {
  for (const family of families) {
    it(`takes less than 3 s at 8 ms each way: ${family}`, async () => {
      const on = bench({
        family,
        flashSizeBytes: 4 * MIB,
        line: { latencyMs: 8 },
        speeds: { digestBytesPerSecond: 8 * MIB },
      });
      const startedAt = on.clock.now();
      const board = await on.connect();
      await board.openFlash();
      await board.digest(0, 4 * MIB);
      await board.checkIdentity();
      assert.equal(await board.leave(), 'app');
      const seconds = (on.clock.now() - startedAt) / 1000;
      assert.ok(seconds < 2.8, `${seconds} s`);
      assert.equal(board.retries, 0);
    });
  }
});

describe('what identifies a board', () => {
  for (const family of [...families, 'esp32s2', 'esp32c6', 'esp32p4'] as const) {
    it(`is asked twice, each word, and no more: ${family}`, async () => {
      const on = bench({ family });
      await on.connect();
      const asked = new Map<number, number>();
      for (const { opcode, payload } of on.board.commands) {
        if (opcode !== OPCODE.READ_REG) continue;
        const address = payload.readUInt32LE(0);
        asked.set(address, (asked.get(address) ?? 0) + 1);
      }
      assert.ok(asked.size >= 4);
      for (const [address, times] of asked) assert.equal(times, 2, `0x${address.toString(16)}`);
    });
  }

  it('is not asked again to identify the flash and to start the stub', async () => {
    const on = bench({ family: 'esp32' });
    const board = await on.connect();
    const asked = (since: number) =>
      on.board.commands
        .slice(since)
        .filter(({ loader, opcode }) => loader === 'rom' && opcode === OPCODE.READ_REG)
        .map(({ payload }) => payload.readUInt32LE(0));
    const known = new Set(asked(0));
    const before = on.board.commands.length;
    await board.prepareToMove();
    assert.equal(board.loaderKind, 'stub');
    const again = asked(before);
    // The SPI peripheral's, for the id of the flash.
    assert.ok(again.length > 0);
    assert.deepEqual(
      again.filter((address) => known.has(address)),
      [],
    );
  });

  it('is checked by one answer a word when it is what was agreed on', async () => {
    const on = bench({ family: 'esp32', line: {} });
    const board = await on.connect();
    await board.openFlash();
    const before = on.board.commands.length;
    await board.checkIdentity();
    assert.equal(on.board.commands.length, before + 2);
    // A flipped bit is asked after, and is no other board.
    for (let byte = 0; byte < 40; byte++) {
      const mend = on.board.addFault({ kind: 'flip', direction: 'to-host', byte });
      await board.checkIdentity();
      mend();
    }
  });
});

describe('questions at once', () => {
  /** What a chip gets of each write: its first frames; and the most bytes that were ever under way. */
  const taking = (frames: number) => {
    const seen = { mostBytes: 0, mostFrames: 0 };
    const through = (link: Link): Link =>
      new Proxy(link, {
        get(target, name) {
          const value: unknown = Reflect.get(target, name);
          if (name !== 'write') return typeof value === 'function' ? (value.bind(target) as unknown) : value;
          return (data: Buffer) => {
            const ends = [...data.entries()].filter(([, byte]) => byte === 0xc0).map(([at]) => at + 1);
            seen.mostBytes = Math.max(seen.mostBytes, ends.length > 2 ? data.length : 0);
            seen.mostFrames = Math.max(seen.mostFrames, ends.length / 2);
            return target.write(data.subarray(0, ends[2 * frames - 1] ?? data.length));
          };
        },
      });
    return { seen, through };
  };

  for (const family of ['esp8266', 'esp32', 'esp32c3', 'esp32p4'] as const) {
    it(`never fill the FIFO of the UART, and save most of the waits: ${family}`, async () => {
      const { seen, through } = taking(Infinity);
      const on = bench({ family, line: { latencyMs: 8 }, through });
      const board = await on.connect({ usb: BRIDGE });
      await board.openFlash();
      assert.ok(seen.mostFrames >= 4 && seen.mostFrames <= 8, String(seen.mostFrames));
      assert.ok(seen.mostBytes <= 112, String(seen.mostBytes));
      assert.equal(board.retries, 0);
    });

    it(`are asked one by one of a ROM that drops what comes while it is busy: ${family}`, async () => {
      const job = async (frames: number) => {
        const on = bench({ family, line: { latencyMs: 1 }, through: taking(frames).through });
        const board = await on.connect({ usb: BRIDGE });
        assert.equal(board.identity.mac, on.board.mac);
        const flash = await board.openFlash();
        assert.equal(await board.leave(), 'app');
        return { flash, ms: on.clock.now() };
      };
      const alone = await job(Infinity);
      for (const frames of [1, 2, 3]) {
        const { flash, ms } = await job(frames);
        assert.deepEqual(flash, alone.flash);
        // Found out once, and not again.
        assert.ok(ms - alone.ms < 700, `${ms - alone.ms} ms more`);
      }
    });
  }

  it('do not go to a stub', async () => {
    const { seen, through } = taking(Infinity);
    const on = bench({ family: 'esp32', through });
    const board = await on.connect();
    await board.prepareToMove();
    assert.equal(board.loaderKind, 'stub');
    seen.mostFrames = 0;
    await board.readEfuses();
    assert.equal(seen.mostFrames, 1);
  });
});

describe('the eFuses', () => {
  for (const family of [...families, 'esp32c2', 'esp32p4'] as const) {
    it(`are read when somebody asks for them: ${family}`, async () => {
      const on = bench({ family });
      const board = await on.connect();
      const throughRom = await board.readEfuses();
      const blocks = Object.values(throughRom);
      assert.ok(blocks.length > 0 && blocks.every((words) => words.every((word) => /^[0-9a-f]{8}$/.test(word))));
      // The MAC's last byte stands in one of the words kept.
      assert.ok(JSON.stringify(throughRom).includes(board.identity.mac.slice(-2)));
      const later = await on.connect();
      await later.openFlash();
      assert.deepEqual(await later.readEfuses(), throughRom);
    });
  }

  it('are asked for once where an earlier session has read the same, and twice where it has not', async () => {
    const questionsFor = async (before?: EfuseWords) => {
      const on = bench();
      const board = await on.connect();
      const asked = () => on.board.commands.filter(({ opcode }) => opcode === OPCODE.READ_REG).length;
      const start = asked();
      return { efuses: await board.readEfuses(before), questions: asked() - start };
    };
    const { efuses, questions } = await questionsFor();
    const again = await questionsFor(efuses);
    assert.deepEqual(again.efuses, efuses);
    assert.equal(again.questions, questions / 2);
    const [block = ''] = Object.keys(efuses).slice(-1);
    const words = [...(efuses[block] ?? [])];
    words[words.length - 1] = '0badcafe';
    for (const [before, more] of [
      [{ ...efuses, [block]: words }, 2],
      [{ ...efuses, [block]: words.map(() => 'none') }, 2 * words.length],
      [{ OTHER: ['00000000'] }, questions / 2],
    ] as const) {
      const changed = await questionsFor(before);
      assert.deepEqual(changed.efuses, efuses);
      assert.equal(changed.questions, questions / 2 + more);
    }
  });

  it('are right whatever byte is lost, changed or doubled, and survive a reset', async () => {
    const expected = await (await bench().connect()).readEfuses();
    for (const kind of ['flip', 'drop', 'duplicate'] as const) {
      for (let byte = 0; byte < 900; byte += 37) {
        const on = bench();
        const board = await on.connect();
        if (byte % 2 === 0) await board.openFlash();
        on.board.addFault({ kind, direction: 'to-host', byte });
        const before = byte % 3 === 0 ? expected : undefined;
        assert.deepEqual(await board.readEfuses(before), expected, `${kind} ${byte}`);
      }
    }
    const on = bench({ line: {} });
    const board = await on.connect();
    on.board.addFault({ kind: 'reset', when: { opcode: OPCODE.READ_REG, nth: 9 } });
    assert.deepEqual(await board.readEfuses(), expected);
  });
});

describe('the wait for replies to SYNC', () => {
  it('ends with the last one, and is there where fewer come', async () => {
    const timeOf = async (byte?: number) => {
      const on = bench({ capabilities: NO_LINES, line: { latencyMs: 8 }, appOutput: '' });
      await enterDownloadByHand(on);
      if (byte !== undefined) on.board.addFault({ kind: 'flip', direction: 'to-host', byte });
      const startedAt = on.clock.now();
      const board = await on.connect();
      return { ms: on.clock.now() - startedAt, mac: board.identity.mac };
    };
    const clean = await timeOf();
    // The third reply is lost, so it cannot be known that no more is due.
    const short = await timeOf(2 * 14 + 3);
    assert.ok(short.ms - clean.ms >= 40 && short.ms - clean.ms <= 70, `${clean.ms} and ${short.ms} ms`);
    assert.equal(short.mac, clean.mac);
  });
});
