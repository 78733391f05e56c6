import assert from 'node:assert/strict';
import { test } from 'node:test';

import { createBoard, demoImage, OPCODE, VirtualClock } from '../../src/simulator/index.ts';
import type { BoardOptions, SimulatedBoard } from '../../src/simulator/index.ts';
import { request, session, words } from './board-harness.ts';
import type { Session } from './board-harness.ts';

const content = demoImage({ family: 'esp32c3' });
const lines = (board: SimulatedBoard, dtr: boolean, rts: boolean) => board.setControlLines({ dtr, rts });

/** Two transistors: RTS low EN, 100 ms; DTR low GPIO0, 50 ms; both released. */
async function classicReset(board: Session): Promise<void> {
  lines(board.board, false, true);
  await board.pass(100);
  lines(board.board, true, false);
  await board.pass(50);
  lines(board.board, false, false);
  await board.pass(50);
}

async function hardReset(board: Session): Promise<void> {
  lines(board.board, false, true);
  await board.pass(100);
  lines(board.board, false, false);
  await board.pass(100);
}

/** The sequence for USB-Serial/JTAG: over (1,1), never over (0,0). */
async function usbJtagReset(board: Session): Promise<void> {
  for (const [dtr, rts] of [
    [false, false],
    [true, false],
    [true, true],
    [false, true],
  ] as const) {
    lines(board.board, dtr, rts);
    await board.pass(100);
  }
  lines(board.board, false, false);
  await board.pass(50);
}

test('a bridge: the classic sequence ends in download mode, a hard reset in the app', async () => {
  const board = session({ family: 'esp32c3', content });
  await board.pass(100);
  assert.equal(board.board.mode, 'app');
  await classicReset(board);
  assert.equal(board.board.mode, 'download');
  assert.match(board.take().toString('latin1'), /waiting for download/);
  await hardReset(board);
  assert.equal(board.board.mode, 'app');
  assert.equal(board.board.resets, 2);
});

test('both lines asserted, or DTR alone, reset nothing', async () => {
  const board = session({ family: 'esp32', content });
  lines(board.board, true, true);
  await board.pass(100);
  lines(board.board, true, false);
  await board.pass(100);
  lines(board.board, false, false);
  await board.pass(100);
  assert.equal(board.board.resets, 0);
});

test('EN held low keeps the chip in reset', async () => {
  const board = session({ family: 'esp32', content });
  lines(board.board, false, true);
  await board.pass(60_000);
  assert.equal(board.board.mode, 'reset');
  lines(board.board, true, true); // both asserted: EN rises
  await board.pass(100);
  assert.equal(board.board.mode, 'app');
});

test('lines set one after the other work where EN rises slowly, and not where GPIO0 is let go too soon', async () => {
  const oneByOne = async (enRiseMs: number, holdMs: number) => {
    const board = session({ family: 'esp32', content, enRiseMs });
    lines(board.board, false, true);
    await board.pass(100);
    lines(board.board, true, true);
    lines(board.board, true, false);
    await board.pass(holdMs);
    lines(board.board, false, false);
    await board.pass(2000);
    return board.board.mode;
  };
  assert.equal(await oneByOne(1, 50), 'download');
  assert.equal(await oneByOne(200, 50), 'app');
  assert.equal(await oneByOne(200, 550), 'download');
});

test('without auto-reset only fingers help', async () => {
  const board = session({ family: 'esp8266', autoReset: false });
  await classicReset(board);
  assert.equal(board.board.resets, 0);
  await board.enterDownload();
  assert.equal(board.board.mode, 'download');
  board.board.pressReset();
  await board.pass(200);
  assert.equal(board.board.mode, 'app');
  board.board.pressBoot(true);
  board.board.powerCycle();
  await board.pass(10);
  assert.equal(board.board.mode, 'download');
});

test('USB-Serial/JTAG: its own sequence, and a core reset that does not look at the pins', async () => {
  const board = session({ family: 'esp32c3', content, usb: 'usb-serial-jtag' });
  await usbJtagReset(board);
  assert.equal(board.board.mode, 'download');
  await hardReset(board);
  assert.equal(board.board.mode, 'app');
  // Entered with BOOT held: GPIO0 was latched, and a core reset ends in download mode again.
  await board.enterDownload();
  await hardReset(board);
  assert.equal(board.board.mode, 'download');
});

test('USB-OTG: the app answers to RTS, the ROM does not; the watchdog leads out', async () => {
  const board = session({ family: 'esp32s2', content: demoImage({ family: 'esp32s2' }), usb: 'usb-otg' });
  await board.pass(100);
  await classicReset(board);
  assert.equal(board.board.mode, 'download');
  await board.sync();
  await hardReset(board);
  assert.equal(board.board.mode, 'download');
  const { watchdog, forceDownload } = board.board.model;
  const write = (address: number, value: number, mask = 0xffffffff) =>
    board.ask(request(OPCODE.writeReg, words(address, value, mask, 0)));
  const watchdogReset = async () => {
    await write(watchdog!.writeProtect, watchdog!.key);
    await write(watchdog!.config1, 2000);
    await write(watchdog!.config0, ((1 << 31) | (5 << 28) | (1 << 8) | 2) >>> 0);
    await board.pass(500);
  };
  await watchdogReset();
  assert.equal(board.board.mode, 'download', 'the flag of the app still forces it');
  await board.enterDownload();
  await board.sync();
  await write(forceDownload!.address, 0, forceDownload!.mask);
  await watchdogReset();
  assert.equal(board.board.mode, 'app');
});

/** A board on USB-OTG, and its lines step by step: `01` = DTR off, RTS on. */
function otg(options: Partial<BoardOptions>) {
  const board = session({ family: 'esp32s2', content: demoImage({ family: 'esp32s2' }), usb: 'usb-otg', ...options });
  const play = async (...steps: (string | number)[]) => {
    for (const step of steps) {
      if (typeof step === 'number') await board.pass(step);
      else lines(board.board, step[0] === '1', step[1] === '1');
    }
    return board.board.mode;
  };
  return { board: board.board, pass: (durationMs: number) => board.pass(durationMs), play };
}

test("USB-OTG with ESP-IDF's console: the last edge of RTS within 50 ms counts, also the one of an open", async () => {
  const settle = 100;
  for (const [mode, resets, ...steps] of [
    ['app', 1, '11', '00', settle],
    ['download', 1, '11', '10', '00', settle],
    ['download', 1, '11', '00', '01', '11', '10', '00', settle],
    ['app', 2, '11', '00', 60, '01', 0, '00', settle],
    ['app', 1, '11', '10', 40, '11', '00', settle],
    ['app', 0, '11', 1000],
    ['app', 0, '11', '00', 49],
    // What else happens on USB begins the wait anew.
    ['app', 0, '11', '00', 40, '10', 40, '00', 40],
  ] as const) {
    const { board, play, pass } = otg({});
    await pass(100);
    assert.equal(await play(...steps), mode, steps.join(' '));
    assert.equal(board.resets, resets, steps.join(' '));
  }
});

test("USB-OTG with Arduino's CDC: four changes in a row, one line after the other", async () => {
  for (const [mode, ...steps] of [
    ['download', '01', '11', '10', '00'],
    ['download', '11', '00', '01', 100, '11', '10', 500, '00'],
    ['download', '11', '01', '11', '10', '00'],
    ['download', '01', '01', '11', '11', '10', '00', '00'],
    ['app', '11', '00'],
    ['app', '01', 100, '10', 50, '00'],
    ['app', '10', '11', '01', '00'],
    ['app', '01', '11', '00', '10', '00'],
    ['app', '01', '11', '01', '11', '10', '00'],
  ] as const) {
    const { play, pass } = otg({ otgApp: 'arduino' });
    await pass(100);
    assert.equal(await play(...steps, 100), mode, steps.join(' '));
  }
});

test("USB-OTG of an ESP32-S3: Arduino's app hands over to USB-Serial/JTAG for download mode, and takes it back", async () => {
  const content = demoImage({ family: 'esp32s3' });
  const { board, play, pass } = otg({ family: 'esp32s3', content, otgApp: 'arduino' });
  await pass(100);
  assert.equal(board.usb, 'usb-otg');
  assert.equal(await play('01', '11', '10', '00', 100), 'download');
  assert.equal(board.usb, 'usb-serial-jtag');
  board.powerCycle();
  await pass(100);
  assert.deepEqual([board.mode, board.usb], ['app', 'usb-otg']);
});

test('USB-OTG with another app: the lines reach nothing', async () => {
  const { board, play, pass } = otg({ otgApp: 'deaf' });
  await pass(100);
  assert.equal(await play('11', '01', '11', '10', '00', '01', '00', 100), 'app');
  assert.equal(board.resets, 0);
});

test('the watchdog heeds its lock and its off switch', async () => {
  const board = session({ family: 'esp32c3', content, usb: 'usb-serial-jtag', armedWatchdogMs: 2000 });
  const { writeProtect, config0, config1, key } = board.board.model.watchdog!;
  const write = (address: number, value: number) =>
    board.ask(request(OPCODE.writeReg, words(address, value, 0xffffffff, 0)));
  await usbJtagReset(board);
  await board.pass(3000);
  assert.equal(board.board.mode, 'app', 'the one left running by the app struck');

  const calm = session({ family: 'esp32c3', content, usb: 'usb-serial-jtag', armedWatchdogMs: 60_000 });
  await usbJtagReset(calm);
  await calm.sync();
  await calm.ask(request(OPCODE.writeReg, words(config1, 10, 0xffffffff, 0))); // locked: ignored
  await calm.ask(request(OPCODE.writeReg, words(writeProtect, key, 0xffffffff, 0)));
  await calm.ask(request(OPCODE.writeReg, words(config0, 0, 0xffffffff, 0)));
  await calm.pass(120_000);
  assert.equal(calm.board.mode, 'download');
  await write(config0, 0);
});

test('re-enumeration: the link vanishes at a reset and the board appears again', async () => {
  const board = session({ family: 'esp32c3', content, usb: 'usb-serial-jtag', reenumerates: true });
  let vanished = 0;
  let appeared = 0;
  board.board.onVanish = () => vanished++;
  board.board.onAppear = () => appeared++;
  await usbJtagReset(board);
  assert.equal(vanished, 1);
  await board.pass(1000);
  assert.equal(appeared, 1);
  assert.equal(board.board.attached, true);
  assert.equal(board.board.mode, 'download');
});

test('unplug and plug', async () => {
  const board = session({ family: 'esp32', content });
  let vanished = 0;
  board.board.onVanish = () => vanished++;
  board.board.unplug();
  board.board.unplug();
  assert.equal(vanished, 1);
  assert.equal(board.board.mode, 'off');
  assert.equal(board.board.attached, false);
  await board.enterDownload();
  assert.equal(board.board.mode, 'off');
  board.board.plug();
  await board.pass(100);
  assert.equal(board.board.mode, 'app');
});

test('an app that writes its settings makes a digest after the reset another one', async () => {
  const board = session({ family: 'esp32c3', content, appWritesNvsAfterMs: 20 });
  await board.pass(10);
  const before = board.board.flash.md5(0, content.length);
  await board.pass(100);
  assert.notDeepEqual(board.board.flash.md5(0, content.length), before);
  for (let start = 0; start < 200; start++) {
    board.board.pressReset(10);
    await board.pass(100);
  }
  const after = board.board.flash.snapshot();
  assert.deepEqual(after.subarray(0xa000), content.subarray(0xa000), 'nothing but its page changes');
});

test('a fresh flash has no app; the boot log says so', async () => {
  const board = session({ family: 'esp32c3' });
  await board.pass(100);
  assert.match(board.take().toString('latin1'), /invalid header/);
});

test('the ESP8266 of the how-to boots at 74880 baud', async () => {
  const board = session({ family: 'esp8266', mac: '50:02:91:c3:37:a5', jedec: [0x5e, 0x40, 0x16] });
  board.board.setBaudRate(74880);
  board.take();
  board.board.pressBoot(true);
  board.board.pressReset(10);
  await board.pass(100);
  assert.match(board.take().toString('latin1'), /ets Jan {2}8 2013,rst cause:2, boot mode:\(1,6\)/);
  board.board.setBaudRate(115200);
  board.board.pressReset(10);
  await board.pass(100);
  assert.doesNotMatch(board.take().toString('latin1'), /ets Jan/);
});

test('the same options give the same conversation', async () => {
  const run = async () => {
    const board = session({ family: 'esp32', content, seed: 7, line: {}, appChatterMs: 50 });
    board.board.setBaudRate(9600);
    await board.pass(1000);
    return board.take().toString('hex');
  };
  assert.equal(await run(), await run());
});

test('records what happened', async () => {
  const board = session({ family: 'esp32', content });
  await classicReset(board);
  await board.sync();
  await board.one(OPCODE.readReg, words(0x40001000));
  assert.deepEqual(
    board.board.lineHistory.map(({ dtr, rts, atMs }) => [dtr, rts, atMs]),
    [
      [false, true, 0],
      [true, false, 100],
      [false, false, 150],
    ],
  );
  assert.deepEqual(
    board.board.commands.map(({ loader, opcode }) => [loader, opcode]),
    [
      ['rom', OPCODE.sync],
      ['rom', OPCODE.readReg],
    ],
  );
  board.board.setBaudRate(921600);
  assert.deepEqual(board.board.baudRates, [115200, 921600]);
  assert.ok(board.board.wireBytes.toBoard > 40 && board.board.wireBytes.toHost > 100);
});

test('options that cannot be are refused', () => {
  const clock = new VirtualClock();
  const bad: BoardOptions[] = [
    { family: 'esp32', clock, usb: 'usb-otg', mac: '00:11:22' },
    { family: 'esp32c3', clock, usb: 'usb-otg' },
    { family: 'esp32', clock, flashSizeBytes: 5 },
    { family: 'esp99' as 'esp32', clock },
  ];
  for (const options of bad) assert.throws(() => createBoard(options), RangeError);
});
