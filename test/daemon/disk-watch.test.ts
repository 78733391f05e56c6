import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DiskWatch } from '../../src/daemon/disk-watch.ts';
import type { EventBody, ServiceEvent } from '../../src/daemon/event-types.ts';
import { silentLogger } from '../../src/log.ts';
import { VirtualClock } from '../../src/simulator/index.ts';

const GIB = 1024 ** 3;
const MIB = 1024 ** 2;

function setUp(freeBytes: number) {
  const clock = new VirtualClock({ automatic: false });
  const told: EventBody[] = [];
  const disk = { freeBytes, diskBytes: 100 * GIB, isBroken: false };
  const watch = new DiskWatch({
    ...{ clock, log: silentLogger, path: '/archive', minFreeBytes: GIB },
    emit: (event) => told.push(event),
    look: () => (disk.isBroken ? Promise.reject(new Error('EIO')) : Promise.resolve(disk)),
  });
  return { clock, told, disk, watch };
}

const pruned = { type: 'pruned' } as ServiceEvent;

test('a disk that becomes low is told of once, and again when it has had room meanwhile', async () => {
  const { clock, told, disk, watch } = setUp(50 * GIB);
  watch.start();
  await clock.advance(16 * 60_000);
  assert.deepEqual(told, []);
  disk.freeBytes = GIB + 255 * MIB;
  await clock.advance(16 * 60_000);
  await clock.advance(60 * 60_000);
  const low = { type: 'disk-low', path: '/archive', freeBytes: disk.freeBytes, wantedBytes: GIB + 256 * MIB };
  assert.deepEqual(told, [low]);
  disk.freeBytes = GIB + 256 * MIB;
  watch.onEvent(pruned);
  await clock.advance(1000);
  disk.freeBytes = 0;
  watch.onEvent(pruned);
  await clock.advance(1000);
  assert.equal(told.length, 2);
  watch.stop();
  assert.equal(clock.pendingTimers, 0);
});

test('a disk that cannot be looked at is looked at again', async () => {
  const { clock, told, disk, watch } = setUp(0);
  disk.isBroken = true;
  watch.start();
  await clock.advance(1000);
  assert.deepEqual(told, []);
  disk.isBroken = false;
  await clock.advance(16 * 60_000);
  assert.equal(told.length, 1);
  watch.stop();
});
