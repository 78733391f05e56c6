import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { EspdError } from '../../src/errors.ts';
import type { ControlLines, Link } from '../../src/serial/link.ts';
import { memoryLink } from '../../src/simulator/index.ts';
import type { SimulatedBoard } from '../../src/simulator/index.ts';
import { fixedLink, stuckError, whileHeld, withBoard } from '../../src/transfer/session.ts';
import type { Progress, Session, SessionOptions } from '../../src/transfer/session.ts';
import { Bench, PassingLink, assertFails } from './support.ts';

/** A board that was let go runs its app; one that hangs may take this long at most: see the daemon's stop. */
const LEAVE_LIMIT_MS = 3500;

function optionsOf(bench: Bench, more: Partial<SessionOptions> = {}): SessionOptions {
  return {
    clock: bench.clock,
    log: bench.log,
    signal: new AbortController().signal,
    reset: 'auto',
    connectAttempts: 3,
    baudRate: 921600,
    ...more,
  };
}

const nothing = () => Promise.resolve('done');

/** A session on a link that counts. */
async function run<T>(
  bench: Bench,
  board: SimulatedBoard,
  work: (session: Session) => Promise<T>,
  more: Partial<SessionOptions> & { link?: (inner: Link) => PassingLink } = {},
) {
  const { link: make = (inner: Link) => new PassingLink(inner), ...options } = more;
  const link = make(memoryLink(board, { clock: bench.clock }));
  const opened: string[] = [];
  const outcome = withBoard({ address: 'memory:board', usb: null }, optionsOf(bench, options), work, (address) => {
    opened.push(address);
    return Promise.resolve(link);
  });
  return {
    link,
    opened,
    outcome,
    settled: await outcome.then(
      () => 'fine',
      () => 'failed',
    ),
  };
}

describe('a session', () => {
  it('opens its link once, closes it once, and leaves the board in its app', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board();
    const { link, opened, outcome } = await run(bench, board, async (session) => {
      assert.equal(session.board.identity.mac, board.mac);
      assert.equal(session.port.address, 'memory:board');
      assert.ok(session.link.isOpen);
      // With the stub: thousands of bytes.
      await session.board.prepareToMove();
      return 42;
    });
    const { value, left, wireBytes, seconds } = await outcome;
    assert.deepEqual([value, left, opened, link.closes, link.isOpen], [42, 'app', ['memory:board'], 1, false]);
    // Both directions, from the open to the close.
    assert.equal(wireBytes, link.bytes);
    assert.ok(wireBytes > 5000 && wireBytes <= board.wireBytes.toBoard + board.wireBytes.toHost);
    assert.equal(seconds, bench.clock.now() / 1000);
    assert.equal(board.mode, 'app');
  });

  it('opens at the rate that every loader begins with, with what the caller gave', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board();
    const signal = new AbortController().signal;
    const seen: unknown[] = [];
    await withBoard(
      { address: 'rfc2217://there:4000', usb: null },
      optionsOf(bench, { signal }),
      nothing,
      (...args) => {
        seen.push(...args);
        return Promise.resolve(memoryLink(board, { clock: bench.clock }));
      },
    );
    assert.deepEqual(seen, [
      'rfc2217://there:4000',
      { baudRate: 115200, clock: bench.clock, log: bench.log, signal, keepControlLines: false },
    ]);
  });

  it('tells its phases in order, with the identity as soon as it is known', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board();
    const seen: Progress[] = [];
    await (
      await run(bench, board, nothing, { onProgress: (progress) => seen.push(progress) })
    ).outcome;
    assert.deepEqual(
      seen.map(({ phase, identity }) => [phase, identity?.mac]),
      [
        ['connecting', undefined],
        ['identified', board.mac],
        ['leaving', board.mac],
        ['released', undefined],
      ],
    );
  });

  it('has nothing to close where the link cannot be opened', async (t) => {
    const bench = await Bench.open(t);
    const refuse = () => Promise.reject(new EspdError('port-busy', 'it is busy'));
    let worked = false;
    const work = () => {
      worked = true;
      return Promise.resolve();
    };
    await assertFails(withBoard({ address: 'x', usb: null }, optionsOf(bench), work, refuse), 'port-busy');
    assert.equal(worked, false);
  });

  it('closes the link where nobody answers, and lets the board go', async (t) => {
    const bench = await Bench.open(t);
    for (const [kind, code] of [
      ['mute', 'no-answer'],
      ['no-sync', 'no-sync'],
      ['wrong-boot-mode', 'boot-mode'],
    ] as const) {
      const board = bench.board({ faults: [{ kind }] });
      let worked = false;
      const { link, outcome } = await run(bench, board, () => {
        worked = true;
        return Promise.resolve();
      });
      await assertFails(outcome, code);
      assert.deepEqual([worked, link.closes, link.isOpen], [false, 1, false]);
      await bench.pass(50);
      assert.equal(board.mode, 'app', kind);
    }
  });

  it('refuses a chip that cannot be read, closes and lets it go', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board({ security: { secureDownload: true } });
    const { link, outcome } = await run(bench, board, nothing);
    await assertFails(outcome, 'secure-download');
    assert.equal(link.closes, 1);
    await bench.pass(50);
    assert.equal(board.mode, 'app');
  });

  it('leaves and closes where the work fails, and passes on its error', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board();
    const failure = new RangeError('the work failed');
    const phases: string[] = [];
    const { link, outcome } = await run(bench, board, () => Promise.reject(failure), {
      onProgress: ({ phase }) => phases.push(phase),
    });
    await assert.rejects(outcome, failure);
    assert.deepEqual([link.closes, board.mode, ...phases.slice(-2)], [1, 'app', 'leaving', 'released']);
  });

  it('leaves and closes where the work throws at once', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board();
    const { link, outcome } = await run(bench, board, () => {
      throw new RangeError('at once');
    });
    await assert.rejects(outcome, RangeError);
    assert.deepEqual([link.closes, board.mode], [1, 'app']);
  });

  it('leaves and closes where the work is aborted', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board();
    const abort = new AbortController();
    const { link, outcome } = await run(
      bench,
      board,
      async ({ board: connected }) => {
        await connected.openFlash();
        abort.abort();
        await connected.digest(0, 4096);
      },
      { signal: abort.signal },
    );
    await assertFails(outcome, 'interrupted');
    assert.deepEqual([link.closes, board.mode], [1, 'app']);
  });

  it('waits for a disk only after the board is released, and told to stop, not before', async (t) => {
    for (const isStopped of [false, true]) {
      const bench = await Bench.open(t);
      const board = bench.board();
      const abort = new AbortController();
      let releasedAtMs = 0;
      let diskDoneAtMs = 0;
      const onProgress = ({ phase }: Progress) => {
        if (phase === 'released') releasedAtMs = bench.clock.now();
      };
      const work = async (session: Session) => {
        await session.board.openFlash();
        const disk = bench.pass(9000).then(() => (diskDoneAtMs = bench.clock.now()));
        if (isStopped) bench.clock.schedule(100, () => abort.abort());
        if (isStopped) await whileHeld(session, disk);
        else session.afterwards(disk);
      };
      const started = bench.clock.now();
      const { outcome } = await run(bench, board, work, { signal: abort.signal, onProgress });
      if (isStopped) await assertFails(outcome, 'interrupted');
      else await outcome;
      assert.ok(releasedAtMs - started < 5000, `released after ${releasedAtMs - started} ms`);
      assert.ok(diskDoneAtMs > releasedAtMs, 'the session ended before the disk was done');
      assert.equal(board.mode, 'app');
    }
  });

  it('says it where the board does not leave download mode', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board();
    const { outcome, link } = await run(bench, board, () => {
      board.addFault({ kind: 'stuck-in-bootloader' });
      return Promise.resolve();
    });
    assert.equal((await outcome).left, 'stuck');
    assert.equal(link.closes, 1);
    assert.match(bench.log.of('warn').join('\n'), /did not leave download mode/);
    assert.equal(stuckError({ address: '/dev/ttyUSB7', usb: null }).code, 'still-in-bootloader');
  });

  it('does not wait for ever for a board that cannot be let go', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board();
    let link: HangingLink | undefined;
    let doneAt = 0;
    const { outcome } = await run(
      bench,
      board,
      () => {
        link!.hangs = true;
        doneAt = bench.clock.now();
        return Promise.resolve('kept');
      },
      { link: (inner) => (link = new HangingLink(inner)) },
    );
    const { value, left } = await outcome;
    assert.deepEqual([value, left, link!.closes], ['kept', 'stuck', 1]);
    assert.ok(bench.clock.now() - doneAt <= LEAVE_LIMIT_MS);
  });

  it('ends where the port vanishes, with what was done before', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board();
    const vanished = await run(bench, board, async ({ board: connected }) => {
      board.unplug();
      await connected.openFlash();
    });
    await assertFails(vanished.outcome, 'port-vanished');
    assert.equal(vanished.link.closes, 1);
    board.plug();
    const late = await run(bench, board, () => {
      board.unplug();
      return Promise.resolve('done before');
    });
    assert.equal((await late.outcome).value, 'done before');
    assert.equal(late.link.closes, 1);
  });

  it('asks again where the power gives way while the board tells who it is', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board({ faults: [{ kind: 'reset', when: { opcode: 0x0a, nth: 7 } }] });
    const { outcome } = await run(bench, board, ({ board: connected }) => Promise.resolve(connected.identity.mac));
    assert.equal((await outcome).value, board.mac);
    assert.match(bench.log.of('warn').join('\n'), /Trying again: identification/);
  });

  it('works on a link that is open already', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board();
    const link = memoryLink(board, { clock: bench.clock });
    const result = await withBoard({ address: 'any', usb: null }, optionsOf(bench), nothing, fixedLink(link));
    assert.deepEqual([result.value, link.isOpen], ['done', false]);
  });
});

/** A driver that takes a change of the control lines and never answers. */
class HangingLink extends PassingLink {
  hangs = false;

  override setControlLines(lines: ControlLines): Promise<void> {
    return this.hangs ? new Promise(() => undefined) : super.setControlLines(lines);
  }
}
