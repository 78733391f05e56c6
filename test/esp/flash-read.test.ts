import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { EspdError, hasCode } from '../../src/errors.ts';
import { Board } from '../../src/esp/board.ts';
import { OPCODE } from '../../src/esp/protocol.ts';
import { SlipDecoder } from '../../src/esp/slip.ts';
import type { Link } from '../../src/serial/link.ts';
import { TYPICAL_SPEEDS, seededRandom } from '../../src/simulator/index.ts';
import {
  type Bench,
  type BenchOptions,
  KIB,
  MIB,
  NO_LINES,
  USB_SERIAL_JTAG,
  bench,
  enterDownloadByHand,
  overlay,
  readRegion,
} from '../support/bench.ts';

const noise = seededRandom(42).bytes(MIB);

interface Opened {
  readonly on: Bench;
  readonly board: Board;
}

async function opened({ baudRate = 921600, ...options }: BenchOptions & { baudRate?: number } = {}): Promise<Opened> {
  const on = bench({ content: noise, ...options });
  if (options.capabilities !== undefined) await enterDownloadByHand(on);
  const board = await on.connect({ baudRate, usb: options.usb === 'usb-serial-jtag' ? USB_SERIAL_JTAG : null });
  await board.prepareToMove();
  return { on, board };
}

async function assertReads({ on, board }: Opened, offset: number, sizeBytes: number, message = ''): Promise<void> {
  const bytes = await readRegion(board, offset, sizeBytes);
  assert.ok(bytes.equals(on.board.flash.read(offset, sizeBytes)), `${sizeBytes} bytes at ${offset} ${message}`);
}

interface ReadRecord {
  /** Packets that had begun to arrive, and acknowledgements sent, whenever one was sent. */
  readonly acknowledgements: { readonly begun: number; readonly complete: number; readonly sent: number }[];
  reads: number;
}

/** Watches READ_FLASH from outside: when is a packet acknowledged? */
function watched(record: ReadRecord): (link: Link) => Link {
  return (link) => {
    let complete = 0;
    let sent = 0;
    let isReading = false;
    // The first frame is the response to the command.
    let decoder = new SlipDecoder(8192, { frame: () => complete++, noise: () => undefined });
    return overlay(link, {
      async read(timeoutMs, signal) {
        const bytes = await link.read(timeoutMs, signal);
        if (bytes !== null && isReading) decoder.push(bytes);
        return bytes;
      },
      async write(data) {
        if (data[1] === 0 && data[2] === OPCODE.READ_FLASH) {
          record.reads++;
          isReading = true;
          sent = 0;
          complete = -1;
          decoder = new SlipDecoder(8192, { frame: () => complete++, noise: () => undefined });
        } else if (isReading && data.length < 12 && data.length >= 6) {
          sent++;
          record.acknowledgements.push({ begun: complete + (decoder.frameHasBegun ? 1 : 0), complete, sent });
        }
        await link.write(data);
      },
    });
  };
}

const borders = [1, 63, 64, 65, 4095, 4096, 4097, 65535, 65536, 65537];

describe('reading through the stub', () => {
  for (const family of ['esp8266', 'esp32', 'esp32s2', 'esp32s3', 'esp32c3'] as const) {
    it(`gives the bytes of an ${family}, whatever the size`, async () => {
      const session = await opened({ family });
      for (const sizeBytes of borders) {
        for (const offset of [0, 1, 4095, 0x12345]) await assertReads(session, offset, sizeBytes);
      }
      assert.equal(session.board.retries, 0);
    });
  }

  it('gives any region', async () => {
    const session = await opened();
    await fc.assert(
      fc.asyncProperty(fc.nat(MIB - 1), fc.integer({ min: 1, max: 300_000 }), (offset, length) =>
        assertReads(session, offset, Math.min(length, MIB - offset)),
      ),
      { numRuns: 40 },
    );
  });

  it('gives what needs escaping most', async () => {
    for (const pattern of ['c0', 'db', 'dbdc', 'c0db', 'dbddc0']) {
      const session = await opened({ content: Buffer.alloc(256 * KIB, pattern, 'hex') });
      await assertReads(session, 0, 100_000, pattern);
      assert.equal(session.board.retries, 0);
    }
  });

  it('gives nothing for nothing', async () => {
    const { on, board } = await opened();
    await board.read(100, 0, () => assert.fail('bytes'));
    assert.ok(!on.board.commands.some(({ opcode }) => opcode === OPCODE.READ_FLASH));
  });

  it('goes on behind 16 MiB', async () => {
    const flashSizeBytes = 32 * MIB;
    const session = await opened({ family: 'esp32s3', flashSizeBytes, content: Buffer.alloc(0) });
    session.on.board.flash.load(16 * MIB - 100_000, noise);
    await assertReads(session, 16 * MIB - 70_001, 150_000);
    await assertReads(session, flashSizeBytes - 5000, 5000);
    assert.equal(
      await session.board.digest(16 * MIB - 5, 10_000),
      session.on.board.flash.md5(16 * MIB - 5, 10_000).toString('hex'),
    );
  });

  it('works the same where no rate can be set and nothing reset', async () => {
    const session = await opened({ capabilities: NO_LINES });
    await assertReads(session, 0, 300_000);
    assert.equal(session.board.baudRate, 115200);
    assert.deepEqual(session.on.board.baudRates, [115200]);
  });

  it('works over native USB, at no other rate', async () => {
    for (const [family, usb] of [
      ['esp32c3', 'usb-serial-jtag'],
      ['esp32s3', 'usb-otg'],
    ] as const) {
      const session = await opened({ family, usb, line: { latencyMs: 1 } });
      await assertReads(session, 0, 300_000);
      assert.equal(session.board.baudRate, 115200);
      assert.equal(session.board.retries, 0);
    }
  });

  it('works with a stub of before 2024', async () => {
    for (const line of [{}, { latencyMs: 8 }, { latencyMs: 1, chunkMs: 16 }]) {
      const session = await opened({ legacyStub: true, line });
      await assertReads(session, 12, 300_001);
    }
  });

  it('hands on bytes in order, each offset once', async () => {
    const { on, board } = await opened({ line: {} });
    let at = 77;
    await board.read(77, 600_000, (offset, bytes) => {
      assert.equal(offset, at);
      assert.ok(bytes.equals(on.board.flash.read(offset, bytes.length)));
      at += bytes.length;
    });
    assert.equal(at, 77 + 600_000);
  });

  it('waits for a slow sink, and never gives it two pieces at once', async () => {
    const { on, board } = await opened({ line: {} });
    const busy = { sinks: 0 };
    const region = Buffer.alloc(100_000);
    await board.read(0, region.length, async (offset, bytes) => {
      assert.equal(busy.sinks++, 0);
      await on.pass(120);
      bytes.copy(region, offset);
      busy.sinks--;
    });
    assert.equal(busy.sinks, 0);
    assert.ok(region.equals(on.board.flash.read(0, region.length)));
  });

  for (const when of ['at once', 'while the next packet is on its way', 'with the last packet'] as const) {
    it(`ends with the error of the sink: ${when}`, async () => {
      const { on, board } = await opened({ line: {} });
      const full = new EspdError('disk-full', 'No space left');
      const reading = board.read(0, 100_000, async (offset, bytes) => {
        if (when === 'with the last packet' && offset + bytes.length < 100_000) return;
        if (when !== 'at once') await on.pass(5);
        throw full;
      });
      await assert.rejects(reading, full);
      assert.equal(await board.leave(), 'app');
    });
  }
});

describe('early acknowledgement', () => {
  it('comes when its packet has begun, never before, never two ahead', async () => {
    for (const line of [{}, { latencyMs: 8 }, { chunkBytes: 1 }, { latencyMs: 1, chunkMs: 16 }]) {
      const record: ReadRecord = { acknowledgements: [], reads: 0 };
      const session = await opened({ line, through: watched(record), baudRate: 115200 });
      // At the first rate, so that nothing is on trial.
      await assertReads(session, 0, 40_000);
      assert.equal(record.reads, 1);
      assert.equal(record.acknowledgements.length, 10);
      let early = 0;
      for (const { begun, complete, sent } of record.acknowledgements) {
        assert.equal(sent, begun, 'one for each packet that has begun');
        if (complete < begun) early++;
      }
      // A byte at a time, all are early; in larger chunks a packet may end in the one in which it begins.
      assert.ok(early >= 9, `${early} early with ${JSON.stringify(line)}`);
      assert.equal(session.board.retries, 0);
    }
  });

  for (const [baudRate, latencyMs] of [
    [460800, 8],
    [921600, 1],
    [921600, 8],
    [2_000_000, 1],
    [2_000_000, 8],
  ] as const) {
    it(`fills what chip and wire allow at ${baudRate} baud with ${latencyMs} ms each way`, async () => {
      const { packetBytesPerSecond } = TYPICAL_SPEEDS;
      const on = bench({ content: noise, line: { latencyMs }, speeds: { packetBytesPerSecond } });
      const board = await on.connect({ baudRate });
      // The way up to the rate is none of it.
      await assertReads({ on, board }, 0, MIB);
      assert.equal(board.baudRate, baudRate);
      const startedAt = on.clock.now();
      await assertReads({ on, board }, 0, MIB);
      const seconds = (on.clock.now() - startedAt) / 1000;
      // What SLIP leaves of the wire: each C0 and DB takes two bytes.
      const escapes = noise.reduce((sum, byte) => sum + (byte === 0xc0 || byte === 0xdb ? 1 : 0), 0);
      const wireSeconds = (MIB + escapes) / (baudRate / 10);
      // While the stub reads and hashes the next packet, nothing can be on the wire.
      const possible = MIB / (wireSeconds + MIB / packetBytesPerSecond);
      const share = MIB / seconds / possible;
      assert.ok(share >= 0.97 && share <= 1, `${(100 * share).toFixed(1)} %`);
    });
  }

  it('is given up where packets do not come, and not for one that comes broken', async () => {
    const faults = [
      { kind: 'drop', direction: 'to-host', byte: 10_000 },
      { kind: 'early-acknowledgement', effect: 'lost' },
    ] as const;
    for (const fault of faults) {
      const record: ReadRecord = { acknowledgements: [], reads: 0 };
      const session = await opened({ line: {}, through: watched(record) });
      session.on.board.addFault(fault);
      await assertReads(session, 0, 200_000);
      const { length } = record.acknowledgements;
      await assertReads(session, 0, 40_000);
      const later = record.acknowledgements.slice(length);
      assert.ok(later.length >= 10);
      assert.equal(
        later.every(({ begun, complete }) => begun === complete),
        fault.kind === 'early-acknowledgement',
      );
    }
  });
});

/** Sum of what a read costs on a healthy line: where damage can strike. */
const WIRE_BYTES = 30_500;

describe('reading over a bad line', () => {
  for (const acknowledging of ['a stub', 'a legacy stub'] as const) {
    it(`gives the right bytes from ${acknowledging} whatever byte is lost, changed or doubled`, async () => {
      const session = await opened({ legacyStub: acknowledging === 'a legacy stub' });
      await fc.assert(
        fc.asyncProperty(
          fc.constantFrom('drop', 'flip', 'duplicate' as const),
          fc.oneof(fc.nat(WIRE_BYTES), fc.nat(40), fc.integer({ min: WIRE_BYTES - 400, max: WIRE_BYTES })),
          async (kind, byte) => {
            const mend = session.on.board.addFault({ kind, direction: 'to-host', byte });
            await assertReads(session, 5, 30_000, `${kind} ${byte}`);
            mend();
          },
        ),
        { numRuns: 100 },
      );
    });
  }

  it('survives lost and doubled acknowledgements and commands', async () => {
    const session = await opened();
    await fc.assert(
      fc.asyncProperty(fc.constantFrom('drop', 'duplicate' as const), fc.nat(120), async (kind, byte) => {
        const mend = session.on.board.addFault({ kind, direction: 'to-board', byte });
        await assertReads(session, 5, 30_000, `${kind} ${byte}`);
        mend();
      }),
      { numRuns: 60 },
    );
  });

  it('gives the right bytes or an error when damage comes again and again', async () => {
    let read = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('drop', 'flip', 'duplicate' as const),
        fc.nat(5000),
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 2000, max: 60_000 }),
        async (kind, byte, count, every) => {
          const session = await opened();
          session.on.board.addFault({ kind, direction: 'to-host', byte, count, every });
          try {
            await assertReads(session, 0, 60_000);
            read++;
          } catch (error) {
            if (!(error instanceof EspdError)) throw error;
          }
        },
      ),
      { numRuns: 30 },
    );
    assert.ok(read > 5, `only ${read} were read at all`);
  });

  it('falls back to a rate that the line holds', async () => {
    for (const holds of [500_000, 300_000, 115_200]) {
      const session = await opened({ line: {}, faults: [{ kind: 'loses-above', baudRate: holds }] });
      await assertReads(session, 0, 150_000);
      assert.ok(session.board.baudRate <= holds, `${session.board.baudRate} of ${holds}`);
      assert.ok(session.board.retries > 0);
    }
  });

  it('gives up in bounded time what is never right: read-failed', async () => {
    const { on, board } = await opened({ family: 'esp8266' });
    on.board.addFault({ kind: 'wrong-digest' });
    const startedAt = on.clock.now();
    await assert.rejects(
      board.read(0, 5000, () => undefined),
      (error) => {
        assert.ok(hasCode(error, 'read-failed'), String(error));
        return error.hint !== '' && hasCode(error.cause, 'digest-mismatch');
      },
    );
    assert.ok(on.clock.now() - startedAt < 60_000);
    assert.ok(['app', 'silent'].includes(await board.leave()));
    assert.equal(on.board.mode, 'app');
  });

  it('notices bytes that change before the digest is made, by the digest of the whole', async () => {
    const { on, board } = await opened();
    on.board.addFault({ kind: 'read-flip', address: 1000 });
    const bytes = await readRegion(board, 0, 4096);
    assert.ok(!bytes.equals(on.board.flash.read(0, 4096)));
    assert.equal(await board.digest(0, 4096), on.board.flash.md5(0, 4096).toString('hex'));
  });

  it('waits out a pause of the line', async () => {
    for (const durationMs of [500, 2500, 4000]) {
      const session = await opened({ line: {} });
      session.on.board.addFault({ kind: 'stall', durationMs, when: { direction: 'to-host', byte: 20_000 } });
      await assertReads(session, 0, 60_000);
      assert.equal(session.board.retries > 0, durationMs > 3000);
    }
  });
});

/** As Linux reads native USB: bytes come in packets of 64, and a full one waits until more follows. */
function usbPackets(link: Link, withheld: { count: number }): Link {
  let held: Buffer = Buffer.alloc(0);
  const read: Link['read'] = async (timeoutMs, signal) => {
    const bytes = await link.read(timeoutMs, signal);
    if (bytes === null) return null;
    const all = Buffer.concat([held, bytes]);
    const isWhole = all.length % 64 === 0;
    const until = isWhole ? all.length - 64 : all.length;
    if (isWhole) withheld.count++;
    held = all.subarray(until);
    return until > 0 ? all.subarray(0, until) : read(timeoutMs, signal);
  };
  return overlay(link, { read });
}

/** Random bytes, escaped so differently from packet to packet that frames end on every place of a USB packet. */
function bumpy(): Buffer {
  const random = seededRandom(7);
  const bytes = random.bytes(MIB).map((byte) => byte & 0x7f);
  for (let packet = 0; packet < MIB; packet += 4096) bytes.fill(0xc0, packet, packet + random.below(128));
  return Buffer.from(bytes);
}

describe('a USB that holds full packets back', () => {
  it('is read all the same: whole frames held', async () => {
    const faults = [{ kind: 'usb-64-stall' }] as const;
    const session = await opened({ usb: 'usb-serial-jtag', faults, line: { latencyMs: 1 }, content: bumpy() });
    await assertReads(session, 0, MIB);
    assert.ok(session.board.retries > 0, 'it has stalled');
  });

  it('is read all the same: the last packet held', async () => {
    const withheld = { count: 0 };
    const session = await opened({
      usb: 'usb-serial-jtag',
      line: { latencyMs: 1, chunkBytes: 512 },
      content: bumpy(),
      through: (link) => usbPackets(link, withheld),
    });
    await assertReads(session, 0, MIB);
    assert.ok(withheld.count > 0);
  });
});

describe('a board that goes away in the middle of a read', () => {
  it('and comes back is read on: brown-out', async () => {
    for (const byte of [0, 13, 5000, 40_000]) {
      const session = await opened({ line: {} });
      session.on.board.addFault({ kind: 'reset', when: { direction: 'to-host', byte } });
      await assertReads(session, 0, 60_000, `reset at ${byte}`);
      // In the middle of a trial it looks like a rate that does not hold.
      assert.equal(session.board.baudRate, byte === 40_000 ? 921600 : 460800, `reset at ${byte}`);
      assert.ok(session.board.retries > 0);
      assert.equal(await session.board.leave(), 'app');
    }
  });

  it('again and again, is read in the end', async () => {
    const session = await opened({ line: {} });
    for (const byte of [30_000, 70_000, 130_000]) {
      session.on.board.addFault({ kind: 'reset', when: { direction: 'to-host', byte } });
    }
    await assertReads(session, 0, 200_000);
  });

  it('through its watchdog is saved from it: it is switched off', async () => {
    const session = await opened({ usb: 'usb-serial-jtag', armedWatchdogMs: 3000, line: {} });
    const { resets } = session.on.board;
    await session.on.pass(5000);
    await assertReads(session, 0, 60_000);
    assert.equal(session.on.board.resets, resets);
  });

  it('is told: port-vanished', async () => {
    for (const byte of [0, 5000]) {
      const { on, board } = await opened({ line: {} });
      on.board.addFault({ kind: 'vanish', when: { direction: 'to-host', byte } });
      await assert.rejects(
        board.read(0, 60_000, () => undefined),
        (error) => hasCode(error, 'port-vanished'),
      );
      await board.leave();
    }
  });

  it('falls silent: an error in bounded time', async () => {
    const { on, board } = await opened({ line: {} });
    on.board.addFault({ kind: 'mute', when: { direction: 'to-host', byte: 5000 } });
    const startedAt = on.clock.now();
    await assert.rejects(
      board.read(0, 60_000, () => undefined),
      (error) => hasCode(error, 'no-answer'),
    );
    assert.ok(on.clock.now() - startedAt < 30_000);
    on.board.clearFaults();
    await on.pass(200);
    assert.equal(on.board.mode, 'app');
  });

  it('without reset lines cannot be brought back, and says so', async () => {
    const { on, board } = await opened({ capabilities: NO_LINES });
    on.board.addFault({ kind: 'reset', when: { direction: 'to-host', byte: 5000 } });
    await assert.rejects(
      board.read(0, 60_000, () => undefined),
      (error) => hasCode(error, 'boot-mode', 'no-answer'),
    );
  });
});

describe('an abort in the middle of a read', () => {
  for (const options of [{}, { family: 'esp32s3', usb: 'usb-otg' }, { usb: 'usb-serial-jtag' }] as const) {
    it(`ends at once and lets the board go: ${JSON.stringify(options)}`, async () => {
      for (const afterMs of [1, 30, 400]) {
        const { on, board } = await opened({ line: { latencyMs: 2 }, ...options });
        const reason = new Error('SIGTERM');
        const startedAt = on.clock.now();
        on.clock.schedule(afterMs, () => on.abort.abort(reason));
        await assert.rejects(
          board.read(0, MIB, () => undefined),
          reason,
        );
        assert.ok(on.clock.now() - startedAt <= afterMs + 5);
        assert.equal(on.board.mode, 'stub');
        const leavingAt = on.clock.now();
        await board.leave();

        assert.ok(on.clock.now() - leavingAt < 600, `${on.clock.now() - leavingAt} ms`);
        assert.equal(on.board.mode, 'app');
      }
    });
  }

  it('leaves a stub without lines in a state in which it answers again', async () => {
    const { on, board } = await opened({ capabilities: NO_LINES, line: {} });
    on.clock.schedule(100, () => on.abort.abort());
    await assert.rejects(
      board.read(0, 300_000, () => undefined),
      { name: 'AbortError' },
    );
    assert.equal(await board.leave(), 'untouched');
    const context = { ...on.context, signal: new AbortController().signal };
    const again = await Board.connect(on.link, context, {
      reset: 'auto',
      attempts: 7,
      baudRate: 921600,
      usb: null,
    });
    await assertReads({ on, board: again }, 3, 10_000);
  });
});

describe('reading through the ROM', () => {
  it('gives the right bytes whatever byte is lost, changed or doubled', async () => {
    const session = await opened({ family: 'esp32c2', revision: { major: 0, minor: 0 } });
    assert.equal(session.board.loaderKind, 'rom');
    for (const sizeBytes of [1, 63, 64, 65, 4095, 4096, 4097]) await assertReads(session, 3, sizeBytes);
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('drop', 'flip', 'duplicate' as const),
        fc.constantFrom('to-host', 'to-board' as const),
        fc.nat(1500),
        async (kind, direction, byte) => {
          const mend = session.on.board.addFault({ kind, direction, byte });
          await assertReads(session, 5, 1000, `${kind} ${direction} ${byte}`);
          mend();
        },
      ),
      { numRuns: 60 },
    );
  });
});
