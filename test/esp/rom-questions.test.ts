/** What the ROM answers before any stub is loaded, and how the stub gets there sooner where it is needed. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { LineMemory } from '../../src/esp/line-memory.ts';
import { NOTHING_KNOWN } from '../../src/esp/line-memory.ts';
import { OPCODE } from '../../src/esp/protocol.ts';
import type { Link } from '../../src/serial/link.ts';
import { type Bench, MIB, NO_LINES, bench, enterDownloadByHand, overlay, readRegion } from '../support/bench.ts';

const WITH_DIGEST = [
  'esp32',
  'esp32s2',
  'esp32s3',
  'esp32c2',
  'esp32c3',
  'esp32c5',
  'esp32c6',
  'esp32c61',
  'esp32h2',
  'esp32p4',
] as const;
const knownLine = (bestBaudRate: number): LineMemory => ({
  recall: () => ({ ...NOTHING_KNOWN, bestBaudRate }),
  remember: () => undefined,
});
const commandsOf = ({ board }: Bench, opcode: number) => board.commands.filter((command) => command.opcode === opcode);
/** The rate that the ROM was told before the stub went up; undefined for none. */
function rateOfUpload(on: Bench): number | undefined {
  const { commands } = on.board;
  const upload = commands.findIndex(({ opcode }) => opcode === OPCODE.MEM_BEGIN);
  assert.ok(upload >= 0, 'a stub went up');
  const change = commands.slice(0, upload).findLast(({ opcode }) => opcode === OPCODE.CHANGE_BAUDRATE);
  return change?.payload.readUInt32LE(0);
}

describe('the ROM', () => {
  for (const family of WITH_DIGEST) {
    it(`tells flash and digests, and no stub is loaded: ${family}`, async () => {
      const on = bench({ family, flashSizeBytes: 4 * MIB });
      const board = await on.connect();
      assert.equal((await board.openFlash()).sizeBytes, 4 * MIB);
      assert.equal(await board.digest(0, 4 * MIB), on.board.flash.md5(0, 4 * MIB).toString('hex'));
      assert.equal(await board.digest(0x12345, 777), on.board.flash.md5(0x12345, 777).toString('hex'));
      await board.checkIdentity();
      assert.deepEqual(commandsOf(on, OPCODE.MEM_BEGIN), []);
      assert.equal(await board.leave(), 'app');
    });
  }

  it('of an ESP8266 knows no digest: the stub answers', async () => {
    const on = bench({ family: 'esp8266' });
    const board = await on.connect();
    assert.equal(await board.digest(0, MIB), on.board.flash.md5(0, MIB).toString('hex'));
    assert.equal(board.loaderKind, 'stub');
  });

  it('is not asked where a stub still runs, nor about more than it reaches', async () => {
    const left = bench({ capabilities: NO_LINES });
    await enterDownloadByHand(left);
    await (await left.connect()).prepareToMove();
    const uploads = commandsOf(left, OPCODE.MEM_BEGIN).length;
    const board = await left.connect();
    assert.equal(await board.digest(0, MIB), left.board.flash.md5(0, MIB).toString('hex'));
    assert.equal(commandsOf(left, OPCODE.MEM_BEGIN).length, uploads);

    const large = bench({ family: 'esp32s3', flashSizeBytes: 32 * MIB, content: Buffer.alloc(4096, 7) });
    await (await large.connect()).digest(0, 4096);
    assert.ok(commandsOf(large, OPCODE.SPI_FLASH_MD5).every(({ loader }) => loader === 'stub'));
  });

  it('that does not answer, or refuses, is followed by the stub', async () => {
    for (const answer of ['none', 'refusal'] as const) {
      let hasStub = false;
      const deaf = (link: Link) =>
        overlay(link, {
          write: (data) => {
            hasStub ||= data[2] === OPCODE.MEM_END;
            if (hasStub || data[2] !== OPCODE.SPI_FLASH_MD5) return link.write(data);
            // An opcode that no ROM knows is refused.
            return answer === 'none' ? Promise.resolve() : link.write(Buffer.from(data).fill(0x7f, 2, 3));
          },
        });
      const on = bench({ family: 'esp32', through: deaf });
      const board = await on.connect();
      assert.equal(await board.digest(0, MIB), on.board.flash.md5(0, MIB).toString('hex'), answer);
      assert.equal(board.loaderKind, 'stub');
      assert.equal(await board.leave(), 'app');
    }
  });

  it('whose answer suffers on the line gives the right digest or none', async () => {
    for (const kind of ['flip', 'drop', 'duplicate'] as const) {
      for (let byte = 0; byte < 60; byte += 7) {
        const on = bench({ family: 'esp32c3' });
        const board = await on.connect();
        await board.openFlash();
        on.board.addFault({ kind, direction: 'to-host', byte });
        const right = on.board.flash.md5(0, MIB).toString('hex');
        const digest = await board.digest(0, MIB);
        // A digit may become another one: then the digests differ, which is never taken for "unchanged".
        assert.ok(
          digest === right || (kind === 'flip' && byte >= 8 && /^[0-9a-f]{32}$/.test(digest)),
          `${kind} ${byte}`,
        );
      }
    }
  });
});

describe('an unchanged board of 4 MB', () => {
  // From open to close; a chip that hashes 8 MB/s, as in the bench.
  for (const [family, latencyMs, mark] of [
    ['esp32', 1, 1.0],
    ['esp32', 8, 1.7],
    ['esp32c3', 1, 1.1],
    ['esp32s3', 1, 1.1],
  ] as const) {
    it(`takes less than ${mark} s on an ${family} at ${latencyMs} ms each way`, async () => {
      const speeds = { digestBytesPerSecond: 8 * MIB };
      const on = bench({ family, flashSizeBytes: 4 * MIB, line: { latencyMs }, speeds });
      const startedAt = on.clock.now();
      const board = await on.connect();
      await board.openFlash();
      await board.digest(0, 4 * MIB);
      await board.checkIdentity();
      assert.equal(await board.leave(), 'app');
      await on.link.close();
      const seconds = (on.clock.now() - startedAt) / 1000;
      assert.ok(seconds < mark, `${seconds} s`);
    });
  }
});

describe('the upload of the stub', () => {
  const upload = async (options: Parameters<typeof bench>[0], bestBaudRate?: number) => {
    const on = bench({ family: 'esp32', line: { latencyMs: 1 }, ...options });
    const memory = bestBaudRate === undefined ? {} : { line: knownLine(bestBaudRate) };
    const board = await on.connect({ baudRate: 3_000_000, ...memory });
    await board.openFlash();
    const startedAt = on.clock.now();
    await board.prepareToMove();
    assert.equal(board.loaderKind, 'stub');
    return { on, board, ms: on.clock.now() - startedAt };
  };

  it('goes at a rate that the line is known to hold, no higher than ROMs are known to', async () => {
    const slow = await upload({});
    assert.equal(rateOfUpload(slow.on), undefined);
    for (const [best, rate] of [
      [230_400, 230_400],
      [921_600, 921_600],
      [3_000_000, 921_600],
    ] as const) {
      const fast = await upload({}, best);
      assert.equal(rateOfUpload(fast.on), rate);
      assert.ok(fast.ms < slow.ms * (best === 230_400 ? 0.7 : 0.35), `${fast.ms} against ${slow.ms} ms`);
      assert.deepEqual(await readRegion(fast.board, 0, MIB), fast.on.board.flash.read(0, MIB));
      assert.equal(await fast.board.leave(), 'app');
    }
  });

  it('stays at the first rate where there is none, where the ROM knows none, and where a number means two rates', async () => {
    for (const options of [
      { family: 'esp8266' },
      { family: 'esp32s3', usb: 'usb-serial-jtag' },
      // Its ROM reckons with 40 MHz: it would be told another number than the stub may take over.
      { family: 'esp32c2', crystalMHz: 26 },
    ] as const) {
      const { on } = await upload(options, 921_600);
      assert.equal(rateOfUpload(on), undefined, options.family);
    }
  });

  it('at a rate that the line no longer holds costs little, and goes at the first one then', async () => {
    const clean = await upload({});
    // The bridge was exchanged for one that sets 460800 for whatever is more, and does not say so.
    const through = (link: Link) =>
      new Proxy(link, { get: (target, name) => (name === 'canDoBaudRate' ? undefined : bound(target, name)) });
    const { on, board, ms } = await upload({ maxBaudRate: 460_800, through }, 921_600);
    assert.ok(ms - clean.ms < 2500, `${ms - clean.ms} ms`);
    assert.deepEqual(await readRegion(board, 0, MIB), on.board.flash.read(0, MIB));
    assert.equal(await board.leave(), 'app');
  });

  function bound(target: Link, name: string | symbol): unknown {
    const member: unknown = Reflect.get(target, name);
    return typeof member === 'function' ? (member.bind(target) as unknown) : member;
  }
});
