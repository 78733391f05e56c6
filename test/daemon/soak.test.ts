/**
 * Plug-ins with faults in random order, at many places at once: what a workshop does to a daemon in a month.
 *
 * `ESPD_SOAK_PLUG_INS=1000 ESPD_SOAK_SEED=7 npm test -- soak` makes it longer, and another one. Virtual time: 1,000
 * plug-ins are some twelve hours, and take minutes.
 */

import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type Fault, OPCODE, type Random, SECTOR_BYTES, seededRandom } from '../../src/simulator/index.ts';
import type { Family } from '../../src/simulator/index.ts';
import { type BoardDevice, KIB, Workshop } from './workshop.ts';

const PLUG_INS = Number(process.env['ESPD_SOAK_PLUG_INS'] ?? 60);
const SEED = Number(process.env['ESPD_SOAK_SEED'] ?? 1);

const FAMILIES: readonly Family[] = ['esp8266', 'esp32', 'esp32s3', 'esp32c3', 'esp32', 'esp32c6'];
const PLACES = 6;
/** Longer than any job of such a small board lasts, retries included. */
const STAY_MS = 240_000;

type Trouble = (random: Random) => Fault;

/** What a plug-in may suffer. Lasting ones end when the board is pulled out. */
const TROUBLES: Readonly<Record<string, Trouble>> = {
  vanishes: (random) => ({ kind: 'vanish', when: { direction: 'to-host', byte: random.below(60_000) } }),
  'browns out': (random) => ({ kind: 'reset', when: { direction: 'to-host', byte: random.below(60_000) } }),
  'browns out while asked': () => ({ kind: 'reset', when: { opcode: OPCODE.flashMd5 } }),
  stalls: (random) => ({ kind: 'stall', durationMs: random.below(8000), when: { direction: 'to-host', byte: 5000 } }),
  floods: (random) => ({ kind: 'flood', durationMs: 500, when: { direction: 'to-host', byte: random.below(20_000) } }),
  'flips bits': (random) => ({ kind: 'flip', direction: 'to-host', byte: random.below(9000), every: 9000 }),
  'loses bytes': (random) => ({ kind: 'drop', direction: 'to-host', byte: random.below(9000), every: 15_000 }),
  'doubles bytes': (random) => ({ kind: 'duplicate', direction: 'to-board', byte: random.below(900), every: 5000 }),
  'is mute': () => ({ kind: 'mute' }),
  'is mute later': (random) => ({ kind: 'mute', when: { direction: 'to-host', byte: random.below(40_000) } }),
  'runs no stub': () => ({ kind: 'no-stub' }),
  'does not sync': () => ({ kind: 'no-sync' }),
  'answers garbage': (random) => ({ kind: 'garbage', when: { direction: 'to-host', byte: random.below(30_000) } }),
  'has a bridge that is slow': () => ({ kind: 'loses-above', baudRate: 230_400 }),
  'tells wrong digests': () => ({ kind: 'wrong-digest', of: 'md5' }),
  'has no flash': () => ({ kind: 'flash-id', id: [0xff, 0xff, 0xff] }),
  'does not enter download mode': () => ({ kind: 'wrong-boot-mode' }),
};
const TROUBLE_NAMES = Object.keys(TROUBLES);

test(`${PLUG_INS} plug-ins with random faults: each healthy board is backed up, and nothing is left over`, async (t) => {
  const random = seededRandom(SEED);
  const shop = await Workshop.started(t);
  const boards = FAMILIES.map((family, slot) =>
    shop.board({ family, slot, seed: SEED * 100 + slot, ...(slot % 2 === 0 && { line: { latencyMs: 1 } }) }),
  );
  const descriptorsAtRest = openDescriptors();
  let heapEarly = 0;
  let plugIns = 0;
  let troubled = 0;
  let healthyVisits = 0;

  /** One board at its place: plugged in, in trouble or not, pulled out when it is done or in the middle. */
  async function visit(device: BoardDevice): Promise<void> {
    const { board } = device;
    const name = random.below(3) === 0 ? undefined : TROUBLE_NAMES[random.below(TROUBLE_NAMES.length)]!;
    const isPulledEarly = name === undefined && random.below(4) === 0;
    plugIns++;
    if (random.below(3) === 0) changeFlash(device, random);
    if (name !== undefined) {
      troubled++;
      board.addFault(TROUBLES[name]!(random));
    }
    const linesBefore = shop.lines.length;
    shop.plug(device);
    await shop.pass(isPulledEarly ? random.below(3000) : STAY_MS);
    if (board.attached && !isPulledEarly) {
      const said = shop.lines
        .slice(linesBefore)
        .filter(({ fields }) => fields['port'] === device.address)
        .map(({ level, message, fields }) => `${level} ${message} ${JSON.stringify(fields)}`);
      assert.equal(board.mode, 'app', `a board that ${name ?? 'is well'} runs its app\n${said.join('\n')}`);
    }
    if (name === undefined && !isPulledEarly) {
      healthyVisits++;
      const { backups } = await shop.history(board);
      await shop.archived(board, backups.length);
    }
    board.clearFaults();
    shop.unplug(device);
    await shop.pass(random.below(15_000));
  }

  async function place(slot: number): Promise<void> {
    while (plugIns < PLUG_INS) {
      const device = boards[slot]!;
      await visit(device);
      if (slot === 0 && heapEarly === 0 && plugIns > PLUG_INS / 3) heapEarly = usedHeapBytes();
    }
  }
  await Promise.all(Array.from({ length: PLACES }, (_, slot) => place(slot)));

  // Whatever they went through: plugged in once more, each is backed up as it is now, and runs its app.
  for (const device of boards) shop.plug(device);
  await shop.pass(STAY_MS);
  await shop.idle();
  for (const { board } of boards) {
    assert.equal(board.mode, 'app', `${board.mac} runs its app`);
    const { backups } = await shop.history(board);
    await shop.archived(board, backups.length);
  }
  for (const device of boards) shop.unplug(device);
  await shop.pass(STAY_MS);
  await shop.idle();

  assert.ok(troubled > 0 && healthyVisits > 0, `${troubled} troubled, ${healthyVisits} healthy`);
  assert.equal(shop.openLinks, 0, 'no link is open');
  assert.equal(shop.clock.pendingTimers, 0, 'no timer is left over');
  assert.ok(openDescriptors() <= descriptorsAtRest + 2, `descriptors: ${descriptorsAtRest}, then ${openDescriptors()}`);
  // What the bench itself keeps (log lines, events, commands of each board) is let go first.
  shop.lines.length = 0;
  shop.told.length = 0;
  const growthMb = (usedHeapBytes() - heapEarly) / 1024 / 1024;
  t.diagnostic(
    `${plugIns} plug-ins, ${troubled} troubled, ${healthyVisits} looked at, ${(shop.clock.now() / 3_600_000).toFixed(1)} h; heap ${growthMb.toFixed(1)} MB`,
  );
  assert.ok(growthMb < 32, `the heap has grown by ${growthMb} MB`);
});

function changeFlash({ board }: BoardDevice, random: Random): void {
  const sector = 16 + random.below((board.flash.sizeBytes - 64 * KIB) / SECTOR_BYTES);
  board.flash.erase(sector * SECTOR_BYTES, SECTOR_BYTES);
  board.flash.program(sector * SECTOR_BYTES, random.bytes(1 + random.below(SECTOR_BYTES)));
}

function openDescriptors(): number {
  return readdirSync('/proc/self/fd').length;
}

function usedHeapBytes(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  return process.memoryUsage().heapUsed;
}
