import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hasCode } from '../../src/errors.ts';
import { FrameChannel } from '../../src/esp/channel.ts';
import { chips } from '../../src/esp/chips/index.ts';
import { connect } from '../../src/esp/connect.ts';
import { type Detection, detectChip } from '../../src/esp/detect.ts';
import { OPCODE } from '../../src/esp/protocol.ts';
import type { Link } from '../../src/serial/link.ts';
import { type Bench, bench, overlay } from '../support/bench.ts';

async function detection(on: Bench): Promise<Detection> {
  const channel = new FrameChannel(on.link, on.clock);
  return detectChip(await connect(channel, on.context, { reset: 'auto', attempts: 7, usb: null }));
}

/** The answers of GET_SECURITY_INFO with another byte at `at` of the body. They come in one piece each. */
function securityInfoWith(at: number, value: () => number): (link: Link) => Link {
  return (link) =>
    overlay(link, {
      async read(timeoutMs, signal) {
        const bytes = await link.read(timeoutMs, signal);
        const frame = bytes?.indexOf(Buffer.of(0xc0, 0x01, OPCODE.GET_SECURITY_INFO)) ?? -1;
        if (bytes !== null && frame >= 0) bytes[frame + 1 + 8 + at] = value();
        return bytes;
      },
    });
}

describe('the chip', () => {
  for (const { family, title } of chips) {
    it(`is known: ${title}`, async () => {
      const { chip, securityInfo } = await detection(bench({ family }));
      assert.equal(chip.family, family);
      assert.equal(securityInfo !== null, family !== 'esp8266' && family !== 'esp32');
    });
  }

  it('of an unknown word in its ROM is not supported', async () => {
    const on = bench({ family: 'esp32', registerPresets: new Map([[0x40001000, 0xdeadbeef]]) });
    await assert.rejects(detection(on), (error) => {
      assert.ok(hasCode(error, 'chip-unsupported'));
      assert.match(error.message, /0xdeadbeef/);
      return error.hint !== '';
    });
  });

  it('of an unknown id is not supported, and the board runs its app again', async () => {
    const on = bench({ through: securityInfoWith(12, () => 99) });
    await assert.rejects(on.connect(), (error) => {
      assert.ok(hasCode(error, 'chip-unsupported'));
      assert.match(error.message, /99/);
      return true;
    });
    await on.pass(100);
    assert.equal(on.board.mode, 'app');
  });

  it('is not mistaken for another by one flipped bit, nor locked, nor unknown', async () => {
    // C3 has id 5, C6 id 13: one bit. The flags say secure download, the length another chip.
    for (let byte = 0; byte < 40; byte++) {
      const on = bench({ family: 'esp32c3', appOutput: '' });
      const channel = new FrameChannel(on.link, on.clock);
      const loader = await connect(channel, on.context, { reset: 'auto', attempts: 7, usb: null });
      on.board.addFault({ kind: 'flip', direction: 'to-host', byte });
      const { chip, securityInfo } = await detectChip(loader);
      assert.deepEqual([chip.family, securityInfo?.flags], ['esp32c3', 0], `byte ${byte}`);
    }
  });

  it('that answers differently each time is an error, not a guess', async () => {
    let count = 0;
    const on = bench({ through: securityInfoWith(12, () => 5 + (count++ % 7)) });
    await assert.rejects(detection(on), (error) => hasCode(error, 'chip-error') && error.hint !== '');
  });
});

describe('secure download mode', () => {
  for (const family of [
    'esp32s2',
    'esp32s3',
    'esp32c2',
    'esp32c3',
    'esp32c6',
    'esp32h2',
    'esp32h4',
    'esp32p4',
    'esp32s31',
  ] as const) {
    it(`of an ${family} is reported, nothing is read, and the app runs again`, async () => {
      const on = bench({ family, security: { secureDownload: true } });
      await assert.rejects(on.connect(), (error) => {
        assert.ok(hasCode(error, 'secure-download'), String(error));
        return error.hint !== '';
      });
      await on.pass(100);
      assert.equal(on.board.mode, 'app');
      const opcodes = new Set(on.board.commands.map(({ opcode }) => opcode));
      assert.ok(!opcodes.has(OPCODE.MEM_BEGIN));
      assert.ok(!opcodes.has(OPCODE.READ_FLASH_SLOW));
    });
  }
});
