import assert from 'node:assert/strict';
import { test } from 'node:test';

import { hasCode } from '../../src/errors.ts';
import type { ControlLines } from '../../src/serial/link.ts';
import { createBoard, memoryLink, VirtualClock } from '../../src/simulator/index.ts';
import type { BoardPort } from '../../src/simulator/index.ts';
import { describeLinkConformance } from '../serial/link-conformance.ts';
import { Inbox } from '../serial/peers.ts';

describeLinkConformance('memoryLink', async () => {
  const clock = new VirtualClock();
  const inbox = new Inbox();
  const lines: ControlLines[] = [];
  const rates: number[] = [];
  const board: BoardPort = {
    receive: (data) => inbox.push(Buffer.from(data)),
    setControlLines: (change) => lines.push(change),
    setBaudRate: (baudRate) => rates.push(baudRate),
    onTransmit: undefined,
    onVanish: undefined,
  };
  const link = memoryLink(board, { clock, assertsLinesOnOpen: false });
  return Promise.resolve({
    link,
    send: (data) => {
      board.onTransmit?.(Buffer.from(data));
      return Promise.resolve();
    },
    received: (sizeBytes) => inbox.take(sizeBytes),
    vanish: () => board.onVanish?.(),
    controlLines: () => lines,
    baudRates: () => rates,
    dispose: () => {
      clock.clear();
      return Promise.resolve();
    },
  });
});

test('opening asserts both lines and closing drops them, without resetting the board', async () => {
  const clock = new VirtualClock();
  const board = createBoard({ family: 'esp32', clock });
  const link = memoryLink(board, { clock });
  await link.close();
  await link.close();
  assert.deepEqual(
    board.lineHistory.map(({ dtr, rts }) => [dtr, rts]),
    [
      [true, true],
      [false, false],
    ],
  );
  assert.equal(board.resets, 0);
  await assert.rejects(link.write(Buffer.from('x')), (error) => hasCode(error, 'port-vanished'));
});

test('without capabilities lines and rate do nothing', async () => {
  const clock = new VirtualClock();
  const board = createBoard({ family: 'esp32', clock });
  const link = memoryLink(board, { clock, capabilities: { controlLines: false, baudRate: false } });
  await link.setControlLines({ dtr: true, rts: false });
  await link.setBaudRate(921600);
  assert.equal(link.baudRate, 115200);
  assert.equal(board.lineHistory.length, 0);
  assert.deepEqual(board.baudRates, [115200]);
});
