import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { EspdError, hasCode } from '../../src/errors.ts';
import type { ErrorCode } from '../../src/errors.ts';
import { FrameChannel } from '../../src/esp/channel.ts';
import { connect } from '../../src/esp/connect.ts';
import type { ConnectOptions } from '../../src/esp/connect.ts';
import type { Loader } from '../../src/esp/loader.ts';
import { parseResetSequence } from '../../src/esp/reset.ts';
import type { Link } from '../../src/serial/link.ts';
import {
  BRIDGE,
  type Bench,
  NO_LINES,
  USB_OTG,
  USB_SERIAL_JTAG,
  bench,
  enterDownloadByHand,
  overlay,
  withoutBootLogRate,
} from '../support/bench.ts';

function reach(on: Bench, options: Partial<ConnectOptions> = {}): Promise<Loader> {
  const channel = new FrameChannel(on.link, on.clock);
  return connect(channel, on.context, { reset: 'auto', attempts: 7, usb: BRIDGE, ...options });
}

/** The error, after a look at what every error must have. */
async function failure(on: Bench, code: ErrorCode, options: Partial<ConnectOptions> = {}): Promise<EspdError> {
  const startedAt = on.clock.now();
  const error = await reach(on, options).then(
    () => assert.fail('it connected'),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof EspdError, String(error));
  assert.equal(error.code, code, error.message);
  assert.match(error.message, /^[A-Z][^]*[^.\s]$/, 'one sentence without a full stop');
  assert.ok(!error.message.includes('\n'));
  assert.ok(error.hint.length > 20, `no hint: ${error.hint}`);
  assert.ok(on.clock.now() - startedAt < 20_000, `took ${on.clock.now() - startedAt} ms`);
  return error;
}

/** A link whose read gives `bytes` again and again, whatever the board does. */
function endless(bytes: Buffer): (link: Link) => Link {
  return (link) =>
    overlay(link, {
      async read(timeoutMs, signal) {
        await link.read(Math.min(timeoutMs, 1), signal);
        return bytes;
      },
    });
}

describe('connecting', () => {
  for (const mode of ['auto', 'classic', 'tight'] as const) {
    it(`resets a board behind a bridge: ${mode}`, async () => {
      const on = bench();
      const loader = await reach(on, { reset: mode });
      assert.equal(loader.kind, 'rom');
      assert.equal(loader.statusBytes, 4);
      assert.equal(on.board.mode, 'download');
      assert.equal(on.board.resets, 1);
    });
  }

  it('knows the two bytes of status of an ESP8266', async () => {
    const loader = await reach(bench({ family: 'esp8266' }));
    assert.equal(loader.statusBytes, 2);
    assert.equal(loader.kind, 'rom');
  });

  it('plays a sequence of the config', async () => {
    const on = bench();
    await reach(on, { reset: parseResetSequence('D0|R1|W0.1|D1|R0|W0.05|D0'), attempts: 1 });
    assert.equal(on.board.mode, 'download');
  });

  for (const enRiseMs of [5, 45, 120, 400]) {
    it(`waits for a reset line that rises in ${enRiseMs} ms`, async () => {
      const on = bench({ enRiseMs });
      await reach(on);
      assert.equal(on.board.mode, 'download');
    });
  }

  for (const family of ['esp32s3', 'esp32c3', 'esp32c6', 'esp32h2', 'esp32p4'] as const) {
    it(`over USB-Serial/JTAG of an ${family}, known by its USB ids or found by trying`, async () => {
      for (const usb of [USB_SERIAL_JTAG, null]) {
        const on = bench({ family, usb: 'usb-serial-jtag' });
        await reach(on, { usb });
        assert.equal(on.board.mode, 'download');
      }
    });
  }

  for (const family of ['esp32s2', 'esp32s3'] as const) {
    for (const otgApp of ['esp-idf', 'arduino'] as const) {
      it(`over USB-OTG of an ${family} with an app of ${otgApp}, at the first try`, async () => {
        for (const usb of [USB_OTG, { ...USB_OTG, productId: '4001' }, { ...USB_OTG, vendorId: '239a' }]) {
          for (const releases of [true, false]) {
            const on = bench({ family, usb: 'usb-otg', otgApp });
            await on.pass(100);
            // As an open without keepControlLines leaves them.
            if (releases) await on.link.setControlLines({ dtr: false, rts: false });
            await reach(on, { usb, attempts: 1 });
            assert.deepEqual([on.board.mode, on.board.resets], ['download', 1]);
          }
        }
      });

      it(`over USB-OTG of an ${family} with an app of ${otgApp}, where nobody knows what the line ends in`, async () => {
        const on = bench({ family, usb: 'usb-otg', otgApp });
        await reach(on, { usb: null });
        assert.equal(on.board.mode, 'download');
      });
    }

    it(`over USB-OTG of an ${family} that is in download mode by hand`, async () => {
      const on = bench({ family, usb: 'usb-otg', otgApp: 'deaf' });
      await enterDownloadByHand(on);
      await reach(on, { usb: USB_OTG, attempts: 1 });
      assert.equal(on.board.mode, 'download');
    });
  }

  it('waits for a person to hold BOOT and press RESET', async () => {
    const on = bench({ autoReset: false });
    const asked: number[] = [];
    const onAttempt = (attempt: number) => {
      asked.push(attempt);
      if (attempt === 4) void enterDownloadByHand(on);
    };
    await reach(on, { attempts: 20, onAttempt });
    assert.equal(on.board.mode, 'download');
    assert.deepEqual(asked.slice(0, 3), [2, 3, 4]);
  });

  it('needs no lines for a board that is in download mode already, and touches none', async () => {
    const on = bench({ capabilities: NO_LINES });
    await enterDownloadByHand(on);
    assert.equal((await reach(on, { usb: null })).kind, 'rom');
    assert.deepEqual(on.board.lineHistory, []);
  });

  it('plays no reset where none is wanted', async () => {
    const on = bench();
    await enterDownloadByHand(on);
    const before = on.board.lineHistory.length;
    await reach(on, { reset: 'none' });
    assert.equal(on.board.lineHistory.length, before);
  });

  it('is not disturbed by boot log and app', async () => {
    for (const family of ['esp8266', 'esp32', 'esp32c3'] as const) {
      const on = bench({ family, appChatterMs: 3, line: { latencyMs: 8 } });
      await on.pass(200);
      await reach(on);
      assert.equal(on.board.mode, 'download');
    }
  });

  it('is not disturbed by an app that talks at another rate', async () => {
    const on = bench({ family: 'esp32', appBaudRate: 921600, appChatterMs: 1, line: {} });
    await on.pass(100);
    await reach(on);
    assert.equal(on.board.mode, 'download');
  });

  it('takes the replies to several SYNCs for what they are', async () => {
    // 150 ms each way: two SYNCs are on their way before the first reply is here.
    const on = bench({ line: { latencyMs: 150 } });
    const loader = await reach(on);
    assert.equal(loader.kind, 'rom');
    assert.equal(await loader.readRegister(0x40001000), 0x1b31506f);
    assert.ok(on.board.commands.filter(({ opcode }) => opcode === 0x08).length >= 2);
  });

  for (const [name, half] of [
    ['a request cut off in the middle', 'c0000a0400'],
    ['a delimiter alone', 'c0'],
    ['half an escape', 'c001db'],
    ['a whole request without its end', 'c0000a04000000000010000040'],
  ] as const) {
    it(`follows ${name}: ROM and stub find the way back into step`, async () => {
      for (const withStub of [false, true]) {
        const on = bench({ capabilities: NO_LINES });
        await enterDownloadByHand(on);
        if (withStub) {
          const board = await on.connect();
          await board.prepareToMove();
          assert.equal(on.board.mode, 'stub');
        }
        await on.link.write(Buffer.from(half, 'hex'));
        const loader = await reach(on);
        assert.equal(loader.kind, withStub ? 'stub' : 'rom');
        assert.equal(await loader.readRegister(0x40001000), 0x1b31506f);
      }
    });
  }

  it('tells ROM from stub although a byte of a reply flips', async () => {
    for (const kind of ['rom', 'stub'] as const) {
      const on = bench({ capabilities: NO_LINES });
      await enterDownloadByHand(on);
      if (kind === 'stub') await (await on.connect()).prepareToMove();
      for (let byte = 0; byte < 40; byte++) {
        const mend = on.board.addFault({ kind: 'flip', direction: 'to-host', byte });
        const loader = await reach(on);
        assert.equal(loader.kind, kind, `byte ${byte}`);
        assert.equal(loader.statusBytes, kind === 'stub' ? 2 : 4, `byte ${byte}`);
        assert.equal(await loader.readRegister(0x40001000), 0x1b31506f, `byte ${byte}`);
        mend();
      }
    }
  });

  it('survives any byte of the conversation dropped or doubled', async () => {
    for (const direction of ['to-host', 'to-board'] as const) {
      for (const kind of ['drop', 'duplicate'] as const) {
        for (let byte = 0; byte < 120; byte += 3) {
          const on = bench({ family: 'esp32', content: Buffer.alloc(0), appOutput: '' });
          await on.pass(50);
          on.board.addFault({ kind, direction, byte });
          const loader = await reach(on);
          assert.equal(await loader.readRegister(0x40001000), 0x00f01d83, `${kind} ${direction} ${byte}`);
        }
      }
    }
  });
});

describe('a board that does not connect', () => {
  it('runs its app instead: boot-mode, with what it said', async () => {
    const error = await failure(bench({ faults: [{ kind: 'wrong-boot-mode' }] }), 'boot-mode');
    assert.match(error.message, /boot:0x/);
    assert.match(error.hint, /BOOT/);
  });

  it('says the same at 74880 baud', async () => {
    const on = bench({ family: 'esp8266', faults: [{ kind: 'wrong-boot-mode' }], line: {} });
    const error = await failure(on, 'boot-mode');
    assert.match(error.message, /boot mode:\(3/);
    assert.equal(on.link.baudRate, 115200);
  });

  it('is diagnosed by its own kind of reset', async () => {
    const on = bench({ usb: 'usb-serial-jtag', faults: [{ kind: 'no-sync' }] });
    await failure(on, 'no-sync', { usb: USB_SERIAL_JTAG });
    await on.pass(100);
    assert.equal(on.board.mode, 'app');
  });

  it('does not answer SYNC: no-sync', async () => {
    await failure(bench({ faults: [{ kind: 'no-sync' }] }), 'no-sync');
    await failure(bench({ family: 'esp8266', faults: [{ kind: 'no-sync' }], line: {} }), 'no-sync');
  });

  it('answers nothing but noise: no-sync', async () => {
    await failure(bench({ faults: [{ kind: 'garbage' }] }), 'no-sync');
  });

  it('has download mode switched off', async () => {
    for (const family of ['esp32', 'esp32s2', 'esp32c3'] as const) {
      await failure(bench({ family, security: { downloadDisabled: true } }), 'download-disabled');
    }
  });

  it('says nothing: no-answer', async () => {
    const error = await failure(bench({ faults: [{ kind: 'mute' }] }), 'no-answer');
    assert.match(error.hint, /auto-reset/);
    const socket = await failure(bench({ faults: [{ kind: 'mute' }], capabilities: NO_LINES }), 'no-answer');
    assert.match(socket.hint, /cannot reset/);
  });

  it('runs its app on a link without lines, and is left alone', async () => {
    const on = bench({ capabilities: NO_LINES, appChatterMs: 100 });
    await on.pass(50);
    await on.link.purge();
    await failure(on, 'no-answer');
    assert.deepEqual([on.board.mode, on.board.resets], ['app', 0]);
  });

  it('is no board: its text does not reach the terminal raw', async () => {
    const appOutput = 'OK\x1b[2J\x07\r\n'.repeat(20);
    const on = bench({ capabilities: NO_LINES, family: 'esp8266', bootMs: 1200, appOutput });
    await on.pass(1);
    await on.link.purge();
    const error = await failure(on, 'no-answer');
    assert.ok(!/[\x00-\x1f\x7f]/.test(error.message), JSON.stringify(error.message));
  });

  for (const fault of [
    { kind: 'wrong-boot-mode' },
    { kind: 'no-sync' },
    { kind: 'garbage' },
    { kind: 'mute' },
  ] as const) {
    it(`runs its app again afterwards: ${fault.kind}`, async () => {
      const on = bench({ faults: [fault] });
      await assert.rejects(reach(on));
      await on.pass(100);
      assert.equal(on.board.mode, 'app');
    });
  }

  it('runs its app again when the attempt is aborted, whenever that is', async () => {
    for (const afterMs of [0, 20, 60, 110, 160, 200, 300, 1500]) {
      const on = bench({ faults: [{ kind: 'no-sync' }], bootMs: 30 });
      const reason = new Error('stop');
      on.clock.schedule(afterMs, () => on.abort.abort(reason));
      await assert.rejects(reach(on), reason);
      assert.ok(on.clock.now() < afterMs + 250, `${on.clock.now()} ms`);
      await on.pass(200);
      assert.equal(on.board.mode, 'app', `after ${afterMs} ms`);
    }
  });

  it('is not even reset when the abort came first', async () => {
    const on = bench();
    const before = on.board.lineHistory.length;
    on.abort.abort();
    await assert.rejects(reach(on), { name: 'AbortError' });
    assert.equal(on.board.lineHistory.length, before);
  });

  it('vanishes', async () => {
    for (const byte of [0, 30, 200]) {
      const on = bench({ family: 'esp32', line: {} });
      on.board.addFault({ kind: 'vanish', when: { direction: 'to-host', byte } });
      await assert.rejects(reach(on), (error) => hasCode(error, 'port-vanished'));
    }
  });

  it('cannot do the rate of the boot log: the diagnosis is made without', async () => {
    await failure(bench({ faults: [{ kind: 'mute' }], through: withoutBootLogRate }), 'no-answer');
  });
});

describe('a device that sends without pause', () => {
  it('is noticed: port-flooded, in bounded time', async () => {
    const on = bench({ autoReset: false });
    on.board.addFault({ kind: 'flood', durationMs: 30_000 });
    const error = await failure(on, 'port-flooded');
    assert.match(error.hint, /watch\.deny/);
  });

  it('is noticed as an app that talks for ever at 115200 baud, and one that only logs a lot is not', async () => {
    const talkative = { autoReset: false, appBaudRate: 115200, line: {} } as const;
    const without = bench({ ...talkative, appChatterMs: 1 });
    await without.pass(500);
    await failure(without, 'port-flooded', { attempts: 3 });
    const raw = bench({ ...talkative, appChatterMs: 1, capabilities: NO_LINES });
    await raw.pass(500);
    await failure(raw, 'port-flooded', { attempts: 3, usb: null });
    const logging = bench({ ...talkative, appChatterMs: 20 });
    await logging.pass(500);
    await failure(logging, 'no-answer', { attempts: 3 });
    // Its boot log has told what it is.
    const known = bench({ ...talkative, autoReset: true, appChatterMs: 1, faults: [{ kind: 'wrong-boot-mode' }] });
    await known.pass(500);
    await failure(known, 'boot-mode', { attempts: 3 });
  });

  it('whatever it sends: delimiters, empty frames, frames, broken frames', async () => {
    for (const pattern of ['c0', 'c001c0', 'db00', 'c0db00', '55']) {
      const bytes = Buffer.alloc(300, pattern, 'hex');
      await failure(bench({ through: endless(bytes) }), 'port-flooded');
    }
  });

  it('too fast for the link: the same error, and the board is let go', async () => {
    const on = bench({ faults: [{ kind: 'no-sync' }] });
    on.board.addFault({ kind: 'flood', durationMs: 30_000, bytesPerSecond: 20_000_000 });
    await failure(on, 'port-flooded');
    await on.pass(100);
    assert.equal(on.board.mode, 'app');
  });

  it('costs no memory', async () => {
    const on = bench({ through: endless(Buffer.alloc(65536, `c0${'01'.repeat(500)}c0${'02'.repeat(500)}`, 'hex')) });
    const channel = new FrameChannel(on.link, on.clock);
    const before = process.memoryUsage().rss;
    await channel.drain(50, 2000);
    assert.ok(channel.receivedBytes > 100 << 20);
    assert.ok(process.memoryUsage().rss - before < 64 << 20, `${process.memoryUsage().rss - before} bytes`);
    assert.ok(channel.takeNoise().length <= 2 * 16384);
  });
});
