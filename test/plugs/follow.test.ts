/** Boards that go away at their resets, and who waits for them: what a command does, where the daemon has its events. */

import assert from 'node:assert/strict';
import { afterEach, describe, it } from 'node:test';
import { EspdError, type ErrorCode } from '../../src/errors.ts';
import { type Finder, comeBack, finderIn, sameAddress } from '../../src/plugs/follow.ts';
import { followBoard } from '../../src/plugs/job.ts';
import type { PlugInOptions } from '../../src/plugs/on-plug-in.ts';
import type { LogFields } from '../../src/log.ts';
import { silentLogger } from '../../src/log.ts';
import type { UsbFacts } from '../../src/serial/link.ts';
import type { PortInfo } from '../../src/serial/ports.ts';
import { VirtualClock, createBoard, demoImage, memoryLink } from '../../src/simulator/index.ts';
import type { BoardOptions } from '../../src/simulator/index.ts';
import type { Port, Session } from '../../src/transfer/session.ts';
import { CP2102, ESP32_C3, KIB } from '../daemon/workshop.ts';

const clocks: VirtualClock[] = [];
afterEach(() => {
  for (const clock of clocks.splice(0)) clock.clear();
});

interface Place {
  readonly moves?: boolean;
  readonly usb?: UsbFacts | null;
}

/** A board, a listing that shows it as the system would, and links to it. */
function bench(options: Partial<BoardOptions> = {}, { moves = false, usb = ESP32_C3 }: Place = {}) {
  const clock = new VirtualClock();
  clocks.push(clock);
  const family = options.family ?? 'esp32c3';
  const content = demoImage({ family, sizeBytes: 256 * KIB, appBytes: 40 * KIB });
  const native = { usb: 'usb-serial-jtag', reenumerates: true } as const;
  const board = createBoard({ flashSizeBytes: 256 * KIB, content, ...native, ...options, family, clock });
  let plugs = 0;
  const address = () => (moves ? `/dev/ttyACM${plugs}` : '/dev/ttyACM0');
  board.onAppear = () => plugs++;
  const port = (): PortInfo => ({ address: address(), key: `plug ${plugs}`, usb, fromFolder: false });
  const warnings: [string, LogFields][] = [];
  const opened: string[] = [];
  const abort = new AbortController();
  const sessions: PlugInOptions = {
    clock,
    log: {
      ...silentLogger,
      child: () => sessions.log,
      warn: (message, fields = {}) => void warnings.push([message, fields]),
    },
    signal: abort.signal,
    reset: 'auto',
    connectAttempts: 3,
    baudRate: 921_600,
    openLink: async (name) => {
      await Promise.resolve();
      opened.push(name);
      if (!board.attached || name !== address()) throw new EspdError('port-missing', `${name} does not exist`);
      const link = memoryLink(board, { clock, address: name });
      await link.setControlLines({ dtr: false, rts: false });
      return link;
    },
  };
  const find = finderIn(() => Promise.resolve(board.attached ? [port()] : []));
  const follow = (finder: Finder = find) => followBoard(port(), finder, sessions, identity);
  return { clock, board, port, sessions, warnings, opened, abort, find, follow };
}

const identity = ({ board }: Session) => Promise.resolve(board.identity.mac);
const failure = (code: ErrorCode, message: RegExp) => (error: unknown) =>
  error instanceof EspdError && error.code === code && message.test(error.message) && error.hint !== '';

describe('a command on a board on its own USB', () => {
  for (const moves of [false, true]) {
    it(`follows it through both resets${moves ? ', to other tty numbers' : ''}`, async () => {
      const { board, follow, opened, warnings } = bench({}, { moves });
      const { result, port } = await follow();
      assert.equal(result.value, board.mac);
      assert.deepEqual([result.wentAway, board.mode, board.attached], [true, 'app', true]);
      assert.equal(port.address, moves ? '/dev/ttyACM2' : '/dev/ttyACM0');
      assert.ok(opened.length <= 3, opened.join());
      assert.deepEqual(warnings, []);
    });
  }

  it('says of one that does not come back from the reset into download mode what happened', async () => {
    const { board, clock, follow, opened } = bench();
    const gone: Finder = () => Promise.resolve(undefined);
    await assert.rejects(
      follow(gone),
      failure(
        'port-vanished',
        /^The board at .* went away when it was reset into download mode, and did not come back/,
      ),
    );
    assert.ok(clock.now() < 12_000, `${clock.now()} ms`);
    assert.deepEqual([opened.length, board.resets], [1, 1]);
  });

  it('warns of one that does not come back from the reset into its app; what was done stands', async () => {
    const { board, find, follow, warnings } = bench();
    const { result } = await follow((port) => (board.mode === 'app' ? Promise.resolve(undefined) : find(port)));
    assert.equal(result.value, board.mac);
    assert.equal(warnings.length, 1);
    assert.match(warnings[0]![0], /^The board at .* has not come back within 10 s of the reset into its app$/);
    assert.match(String(warnings[0]![1]['hint']), /does not use USB/);
  });

  it('waits for a listing and a driver that are late', async () => {
    const { board, follow, opened, port } = bench();
    // Shows it although it is away.
    const { result } = await follow(() => Promise.resolve(port()));
    assert.equal(result.value, board.mac);
    assert.ok(opened.length > 2);
  });

  it('resets a board that comes back in its app once more, and no oftener', async () => {
    const { board, follow } = bench({ faults: [{ kind: 'wrong-boot-mode' }] });
    await assert.rejects(follow(), (error) => error instanceof EspdError);
    assert.ok(board.resets <= 4, `${board.resets} resets`);
    assert.equal(board.mode, 'app');
  });

  it('ends at once when it is interrupted meanwhile', async () => {
    const { abort, clock, follow } = bench();
    const reason = new EspdError('interrupted', 'Interrupted');
    const waiting = follow(() => {
      abort.abort(reason);
      return Promise.resolve(undefined);
    });
    await assert.rejects(waiting, reason);
    assert.ok(clock.now() < 2000);
  });

  it('does not follow a bridge: its cable was pulled', async () => {
    const { board, follow, opened } = bench({ family: 'esp32', usb: 'bridge' }, { usb: CP2102 });
    board.addFault({ kind: 'vanish', when: { direction: 'to-host', byte: 20 } });
    await assert.rejects(follow(), (error) => error instanceof EspdError && error.code === 'port-vanished');
    assert.equal(opened.length, 1);
  });

  it('does not wait for a bridge that stays when it is let go', async () => {
    const { board, clock, follow } = bench({ family: 'esp32', usb: 'bridge' }, { usb: CP2102 });
    const { result } = await follow(() => assert.fail('it was looked for'));
    assert.deepEqual([result.value, result.wentAway], [board.mac, false]);
    assert.ok(clock.now() < 5000);
  });
});

describe('behind a server on the network', () => {
  it('a board that takes the connection along at its reset is connected to again', async () => {
    const { board, follow, opened } = bench({}, { usb: null });
    const { result, port } = await follow(() => assert.fail('it is not in the listing'));
    assert.deepEqual([result.value, port.address], [board.mac, '/dev/ttyACM0']);
    assert.ok(opened.length >= 2);
    assert.equal(board.mode, 'app');
  });
});

describe('looking for a port', () => {
  const port = (address: string, location: string, serialNumber = '0'): PortInfo => ({
    address,
    key: address,
    fromFolder: false,
    usb: { ...ESP32_C3, location, serialNumber },
  });

  it('finds the same place of USB whatever its interface and number, and no other board there', async () => {
    const here: Port = port('/dev/ttyACM0', '1-4:1.0', '7C:DF:A1:BE:EF:02');
    const look = (...ports: PortInfo[]) => finderIn(() => Promise.resolve(ports))(here);
    assert.equal(
      (await look(port('/dev/ttyACM1', '1-5:1.0'), port('/dev/ttyACM3', '1-4:1.2')))?.address,
      '/dev/ttyACM3',
    );
    assert.equal(await look(port('/dev/ttyACM0', '1-5:1.0')), undefined);
    assert.equal(await look(port('/dev/ttyACM0', '1-4:1.0', '7C:DF:A1:BE:EF:03')), undefined);
  });

  it('looks at once, and a last time when the time is over', async () => {
    const { clock, sessions } = bench();
    assert.equal(await comeBack(port('a', '1'), sameAddress, 0, sessions).then((found) => found?.address), 'a');
    let looks = 0;
    const never: Finder = () => Promise.resolve((looks++, undefined));
    assert.equal(await comeBack(port('a', '1'), never, 1000, sessions), undefined);
    assert.deepEqual([looks, clock.now()], [5, 1000]);
  });
});
