import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { EspdError, hasCode } from '../../src/errors.ts';
import { Board } from '../../src/esp/board.ts';
import { FrameChannel } from '../../src/esp/channel.ts';
import { connect } from '../../src/esp/connect.ts';
import { leaveDownloadMode } from '../../src/esp/leave.ts';
import type { Link } from '../../src/serial/link.ts';
import { memoryLink } from '../../src/simulator/index.ts';
import {
  BRIDGE,
  type Bench,
  type BenchOptions,
  NO_LINES,
  USB_OTG,
  USB_SERIAL_JTAG,
  bench,
  enterDownloadByHand,
  overlay,
  withoutBootLogRate,
} from '../support/bench.ts';

async function connected(options: BenchOptions = {}): Promise<{ on: Bench; board: Board }> {
  const on = bench(options);
  if (options.capabilities !== undefined) await enterDownloadByHand(on);
  const usb = { 'usb-serial-jtag': USB_SERIAL_JTAG, 'usb-otg': USB_OTG, bridge: null }[options.usb ?? 'bridge'];
  return { on, board: await on.connect({ usb }) };
}

/** Lets the board go and tells how that went, in bounded time. */
async function left(on: Bench, board: Board): Promise<string> {
  const startedAt = on.clock.now();
  const outcome = await board.leave();
  assert.ok(on.clock.now() - startedAt < 3500, `${on.clock.now() - startedAt} ms`);
  return outcome;
}

const families = [
  'esp8266',
  'esp32',
  'esp32s2',
  'esp32s3',
  'esp32c2',
  'esp32c3',
  'esp32c5',
  'esp32c6',
  'esp32c61',
  'esp32h2',
  'esp32h4',
  'esp32p4',
  'esp32s31',
] as const;

describe('how long EN is held low', () => {
  const pulses = ({ board }: Bench): number[] =>
    board.lineHistory.flatMap(({ dtr, rts, atMs }, index, all) => {
      const next = all[index + 1];
      return rts && !dtr && next !== undefined && next.atMs > atMs ? [Math.round(next.atMs - atMs)] : [];
    });

  it('is brief behind a bridge of a known maker, both ways', async () => {
    const on = bench({ family: 'esp32' });
    const board = await on.connect({ usb: BRIDGE });
    assert.equal(await left(on, board), 'app');
    assert.deepEqual(pulses(on), [20, 20]);
  });

  it('is what it takes, both ways, where that goes unnoticed', async () => {
    const on = bench({ family: 'esp32', minEnLowMs: 50 });
    await on.pass(50);
    const board = await on.connect({ usb: BRIDGE, attempts: 3 });
    assert.equal(await left(on, board), 'app');
    assert.equal(on.board.mode, 'app');
    assert.deepEqual(pulses(on), [20, 100, 100]);
  });

  it('is longer once a brief one has left the board in download mode', async () => {
    const on = bench({ family: 'esp32' });
    const board = await on.connect({ usb: BRIDGE });
    const mend = on.board.addFault({ kind: 'stuck-in-bootloader' });
    on.clock.schedule(100, mend);
    assert.equal(await left(on, board), 'app');
    assert.deepEqual(pulses(on), [20, 20, 100]);
  });

  it('is as with all tools where nobody knows what the line ends in', async () => {
    const on = bench({ family: 'esp32' });
    assert.equal(await left(on, await on.connect()), 'app');
    assert.deepEqual(pulses(on), [100, 100]);
  });
});

describe('letting a board go', () => {
  for (const family of families) {
    it(`leads an ${family} into its app, from ROM and from stub`, async () => {
      for (const withStub of [false, true]) {
        const { on, board } = await connected({ family, line: {} });
        if (withStub) await board.prepareToMove();
        assert.equal(await left(on, board), 'app');
        assert.equal(on.board.mode, 'app');
        assert.equal(on.board.resets, 2);
      }
    });
  }

  for (const [family, usb] of [
    ['esp32s2', 'usb-otg'],
    ['esp32s3', 'usb-otg'],
    ['esp32p4', 'usb-otg'],
    ['esp32s3', 'usb-serial-jtag'],
    ['esp32c3', 'usb-serial-jtag'],
    ['esp32c6', 'usb-serial-jtag'],
    ['esp32h2', 'usb-serial-jtag'],
    ['esp32h4', 'usb-serial-jtag'],
    ['esp32s31', 'usb-serial-jtag'],
  ] as const) {
    it(`leads an ${family} over ${usb} into its app, also when it takes its port along`, async () => {
      for (const withStub of [false, true]) {
        const { on, board } = await connected({ family, usb });
        if (withStub) await board.prepareToMove();
        assert.equal(await left(on, board), 'app');
        assert.equal(on.board.mode, 'app');
      }
    });
  }

  it('is done by the watchdog where lines do nothing', async () => {
    const { on, board } = await connected({ family: 'esp32s2', usb: 'usb-otg' });
    await board.prepareToMove();
    const { length } = on.board.lineHistory;
    await left(on, board);
    assert.equal(on.board.mode, 'app');
    assert.equal(on.board.lineHistory.length, length);
  });

  it('takes a port that goes along for a board that has left', async () => {
    for (const [family, usb] of [
      ['esp32s2', 'usb-otg'],
      ['esp32s3', 'usb-serial-jtag'],
      ['esp32c3', 'usb-serial-jtag'],
    ] as const) {
      const on = bench({ family, usb, reenumerates: true });
      on.board.pressBoot(true);
      on.board.pressReset(10);
      await on.pass(500);
      on.board.pressBoot(false);
      assert.ok(!on.link.isOpen, 'the reset took the port along');
      const link = memoryLink(on.board, { clock: on.clock, assertsLinesOnOpen: false });
      const board = await Board.connect(link, on.context, { reset: 'none', attempts: 3, baudRate: 921600, usb: null });
      await board.prepareToMove();
      assert.equal(await left(on, board), 'app');
      assert.ok(!link.isOpen);
      await on.pass(100);
      // Without a look at the boot pin, which was held, a reset over USB-Serial/JTAG alone leads the C3 back.
      if (family !== 'esp32c3') assert.equal(on.board.mode, 'app', family);
    }
  });

  it('of which the port goes along with the reset into download mode is an error of the link', async () => {
    const on = bench({ usb: 'usb-serial-jtag', reenumerates: true });
    await assert.rejects(on.connect({ usb: USB_SERIAL_JTAG }), (error) => hasCode(error, 'port-vanished'));
  });

  it('says nothing of a boot log that is switched off: silent', async () => {
    const { on, board } = await connected({ appOutput: '', through: withoutNoise });
    await board.prepareToMove();
    assert.equal(await left(on, board), 'silent');
    assert.equal(on.board.mode, 'app');
  });

  it('is tried twice, and told: stuck', async () => {
    for (const withStub of [false, true]) {
      const { on, board } = await connected({ line: {} });
      if (withStub) await board.prepareToMove();
      on.board.addFault({ kind: 'stuck-in-bootloader' });
      assert.equal(await left(on, board), 'stuck');
      assert.equal(on.board.resets, 3);
    }
  });

  it('over native USB takes the watchdog where the reset led back: BOOT had been held', async () => {
    for (const family of ['esp32c3', 'esp32s3'] as const) {
      for (const withStub of [false, true]) {
        const on = bench({ family, usb: 'usb-serial-jtag' });
        await enterDownloadByHand(on);
        const board = await on.connect({ reset: 'none' });
        if (withStub) await board.prepareToMove();
        assert.equal(await left(on, board), 'app');
        assert.equal(on.board.mode, 'app', family);
      }
    }
  });

  it('is told where the lines do nothing: stuck', async () => {
    const on = bench({ autoReset: false });
    await enterDownloadByHand(on);
    const board = await on.connect();
    await board.prepareToMove();
    assert.equal(await left(on, board), 'stuck');
    assert.equal(on.board.mode, 'stub');
  });

  it('touches nothing on a link without lines', async () => {
    const { on, board } = await connected({ capabilities: NO_LINES });
    const { length } = on.board.commands;
    assert.equal(await left(on, board), 'untouched');
    assert.equal(on.board.commands.length, length);
    assert.equal(on.board.mode, 'download');
  });

  it('works when the loader answers no more', async () => {
    for (const [family, usb] of [
      ['esp32', 'bridge'],
      ['esp32s2', 'bridge'],
      ['esp32s3', 'usb-serial-jtag'],
      ['esp32p4', 'bridge'],
    ] as const) {
      const { on, board } = await connected({ family, usb });
      await board.prepareToMove();
      on.board.addFault({ kind: 'mute' });
      await left(on, board);
      assert.equal(on.board.mode, 'app', family);
    }
  });

  it('works after an abort, and after the port has gone', async () => {
    const { on, board } = await connected();
    on.abort.abort();
    assert.equal(await left(on, board), 'app');
    const gone = await connected();
    gone.on.board.unplug();
    assert.equal(await left(gone.on, gone.board), 'app');
  });

  it('works for a chip that nobody knows', async () => {
    const on = bench();
    const loader = await connect(new FrameChannel(on.link, on.clock), on.context, {
      reset: 'auto',
      attempts: 3,
      usb: null,
    });
    assert.equal(await leaveDownloadMode(loader, undefined, 'none', on.context), 'app');
    assert.equal(on.board.mode, 'app');
  });

  it('does not fail over a rate that the bridge cannot do', async () => {
    const { on, board } = await connected({ family: 'esp8266', line: {}, through: withoutBootLogRate });
    await board.prepareToMove();
    assert.equal(await left(on, board), 'silent');
    assert.equal(on.board.mode, 'app');
  });

  it('does not wait longer than the board takes to start', async () => {
    const { on, board } = await connected({ line: { latencyMs: 8 }, appChatterMs: 5 });
    const startedAt = on.clock.now();
    assert.equal(await board.leave(), 'app');
    assert.ok(on.clock.now() - startedAt < 350, `${on.clock.now() - startedAt} ms`);
  });

  it('throws nothing, whatever the link does', async () => {
    for (const method of ['setControlLines', 'purge', 'read', 'setBaudRate', 'write'] as const) {
      let broken = false;
      const through = (link: Link) =>
        new Proxy(link, {
          get(target, name): unknown {
            if (broken && name === method) return () => Promise.reject(new EspdError('port-failed', 'I/O error'));
            const member: unknown = Reflect.get(target, name);
            return typeof member === 'function' ? (member.bind(target) as unknown) : member;
          },
        });
      const { on, board } = await connected({ through });
      await board.prepareToMove();
      broken = true;
      assert.ok(['stuck', 'silent', 'app'].includes(await left(on, board)));
    }
  });
});

/** Nothing but frames: a board whose boot log is switched off in eFuse. */
function withoutNoise(link: Link): Link {
  return overlay(link, {
    async read(timeoutMs, signal) {
      for (;;) {
        const bytes = await link.read(timeoutMs, signal);
        if (bytes === null || bytes[0] === 0xc0) return bytes;
      }
    },
  });
}
