import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sleep } from '../../src/clock.ts';
import { withoutControlLines } from '../../src/serial/fixed-lines.ts';
import { VirtualClock, createBoard, memoryLink } from '../../src/simulator/index.ts';

test('a link whose lines are left alone carries everything but the lines', async () => {
  const clock = new VirtualClock();
  const board = createBoard({ family: 'esp32c3', clock });
  const opened = memoryLink(board, { clock });
  const changes = board.lineHistory.length;
  const link = withoutControlLines(opened);
  assert.deepEqual(link.capabilities, { controlLines: false, baudRate: true });
  await link.setControlLines({ dtr: false, rts: true });
  assert.equal(board.lineHistory.length, changes);
  await link.setBaudRate(921600);
  assert.equal(board.baudRates.at(-1), 921600);
  await link.write(Buffer.of(1, 2, 3));
  await sleep(clock, 10);
  assert.ok(board.wireBytes.toBoard > 0);
  assert.deepEqual([link.isOpen, opened.isOpen], [true, true]);
  await link.close();
  assert.deepEqual([link.isOpen, opened.isOpen], [false, false]);
});
