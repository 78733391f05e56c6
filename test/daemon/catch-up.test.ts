/** What is made up for when its time came while nobody was there; and what the service does when it prunes. */

import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it, mock } from 'node:test';
import fc from 'fast-check';
import { KEEP_EVERYTHING, NO_RULES } from '../../src/archive/retention/policy.ts';
import type { ArchiveCache } from '../../src/archive/types.ts';
import { systemClock } from '../../src/clock.ts';
import { CatchUp } from '../../src/daemon/catch-up.ts';
import type { EventBody } from '../../src/daemon/event-types.ts';
import { EventBus } from '../../src/daemon/events.ts';
import { pruneByPolicy } from '../../src/daemon/prune-task.ts';
import { logEvents } from '../../src/daemon/report.ts';
import { type ScheduledTask, scheduleTask } from '../../src/daemon/schedule.ts';
import { EspdError } from '../../src/errors.ts';
import type { LogFields, Logger } from '../../src/log.ts';
import { MAC, backUp, image, newArchive } from '../archive/support.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const at = (text: string) => Date.parse(`2026-11-${text}Z`);

class MemoryCache implements ArchiveCache {
  readonly files = new Map<string, string>();
  read = (name: string) => {
    const text = this.files.get(name);
    return Promise.resolve(text === undefined ? undefined : Buffer.from(text));
  };
  write = (name: string, bytes: Uint8Array | string) => {
    this.files.set(name, String(bytes));
    return Promise.resolve();
  };
}

const lines: [message: string, fields: LogFields][] = [];
const say = (message: string, fields: LogFields = {}) => void lines.push([message, fields]);
const log: Logger = { error: say, warn: say, info: say, debug: () => undefined, child: () => log };

describe('work that was missed', () => {
  const cache = new MemoryCache();
  const tasks: ScheduledTask[] = [];
  let busy = false;
  let runs: string[] = [];
  let failure: Error | undefined;

  beforeEach(() => {
    cache.files.clear();
    [busy, runs, failure, lines.length] = [false, [], undefined, 0];
    mock.timers.enable({ apis: ['setTimeout', 'Date'], now: at('23T20:00:00') });
  });
  afterEach(async () => {
    await switchOff();
    mock.timers.reset();
  });

  async function settled(): Promise<void> {
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
  }

  async function pass(durationMs: number): Promise<void> {
    for (let passed = 0; passed < durationMs; passed += MINUTE_MS) {
      mock.timers.tick(MINUTE_MS);
      await settled();
    }
  }

  /** The machine is switched on, and the service starts. */
  async function switchOn(now: number, expression: string | null = '0 4 * * *'): Promise<ScheduledTask> {
    mock.timers.reset();
    mock.timers.enable({ apis: ['setTimeout', 'Date'], now });
    const catchUp = new CatchUp({ cache, clock: systemClock, log, isBusy: () => busy });
    const work = () => {
      runs.push(new Date().toISOString().slice(8, 16));
      return failure === undefined ? Promise.resolve() : Promise.reject(failure);
    };
    const task = scheduleTask('prune', expression, 'UTC', work, log, catchUp);
    tasks.push(task);
    await settled();
    return task;
  }

  async function switchOff(): Promise<void> {
    await Promise.all(tasks.splice(0).map((task) => task.stop()));
  }

  it('is done some minutes after the start, by a machine that is switched off every night', async () => {
    for (const day of ['23', '24', '25']) {
      await switchOn(at(`${day}T08:00:00`));
      await pass(2 * HOUR_MS);
      await switchOff();
    }
    assert.deepEqual(runs, ['24T08:05', '25T08:05']);
    assert.deepEqual(lines[0], [
      'Missed while nothing ran here: will be made up for in some minutes',
      { task: 'prune' },
    ]);
  });

  it('is not done twice, nor where it was done in time', async () => {
    await switchOn(at('23T20:00:00'));
    await pass(9 * HOUR_MS);
    await switchOff();
    assert.deepEqual(runs, ['24T04:00']);
    for (const hour of ['06', '09', '12']) {
      await switchOn(at(`24T${hour}:00:00`));
      await pass(HOUR_MS);
      await switchOff();
    }
    assert.deepEqual(runs, ['24T04:00']);
  });

  it('waits for the boards', async () => {
    await switchOn(at('23T20:00:00'));
    await switchOff();
    busy = true;
    await switchOn(at('24T08:00:00'));
    await pass(30 * MINUTE_MS);
    assert.deepEqual(runs, []);
    busy = false;
    await pass(2 * MINUTE_MS);
    assert.deepEqual(runs, ['24T08:31']);
  });

  it('that failed or was stopped is tried again at the next start', async () => {
    for (const error of [new EspdError('archive-missing', 'no archive'), new EspdError('interrupted', 'stop')]) {
      cache.files.clear();
      runs = [];
      await switchOn(at('23T20:00:00'));
      failure = error;
      await pass(9 * HOUR_MS);
      await switchOff();
      failure = undefined;
      await switchOn(at('24T06:00:00'));
      await pass(HOUR_MS);
      await switchOff();
      assert.deepEqual(runs, ['24T04:00', '24T06:05']);
    }
  });

  it('does not count where the schedule is another one now, or off', async () => {
    await switchOn(at('23T20:00:00'));
    await switchOff();
    await switchOn(at('24T08:00:00'), '0 5 * * *');
    await pass(HOUR_MS);
    await switchOff();
    await switchOn(at('25T08:00:00'), null);
    await pass(HOUR_MS);
    assert.deepEqual(runs, []);
  });

  it('is dropped by a stop, and by a reload', async () => {
    await switchOn(at('23T20:00:00'));
    await switchOff();
    const task = await switchOn(at('24T08:00:00'));
    await task.reschedule('0 5 * * *', 'UTC');
    await pass(HOUR_MS);
    await switchOff();
    await pass(24 * HOUR_MS);
    assert.deepEqual(runs, []);
  });

  it('is made up for after the machine has slept', async () => {
    await switchOn(at('23T20:00:00'));
    mock.timers.tick(12 * HOUR_MS);
    await settled();
    await pass(30 * MINUTE_MS);
    assert.deepEqual(runs, ['24T08:05']);
  });

  it('a file that holds anything else means nothing', async () => {
    const catchUp = new CatchUp({ cache, clock: systemClock, log, isBusy: () => false });
    for (const text of [
      '',
      'x',
      'null',
      '[]',
      '7',
      '{"prune":7}',
      '{"prune":{"by":"a"}}',
      '{"prune":{"by":"a","next":"x"}}',
    ]) {
      cache.files.set('schedule.json', text);
      assert.equal(await catchUp.wasMissed('prune', 'a'), false, text);
    }
    await catchUp.note('prune', 'a', new Date(0));
    assert.equal(await catchUp.wasMissed('prune', 'a'), true);
    assert.equal(await catchUp.wasMissed('prune', 'b'), false);
    await catchUp.note('__proto__', 'a', new Date(0));
    assert.equal(await catchUp.wasMissed('constructor', 'a'), false);
    await fc.assert(
      fc.asyncProperty(fc.json(), async (json) => {
        cache.files.set('schedule.json', json);
        await catchUp.wasMissed('prune', 'a');
        await catchUp.note('verify', 'b', new Date(1));
        assert.equal(await catchUp.wasMissed('verify', 'b'), true);
      }),
      { numRuns: 50 },
    );
  });
});

describe('the service prunes', () => {
  it('by its policy, logs each removal with its reason, and does nothing without one', async (t) => {
    lines.splice(0);
    const archive = await newArchive(t);
    for (let day = 1; day <= 3; day++) await backUp(archive, image(10, day), `2026-10-0${day}T10:00:00.000Z`);
    const { events, signal } = {
      events: new EventBus({ clock: systemClock, log }),
      signal: new AbortController().signal,
    };
    events.subscribe(logEvents(log));
    const parts = { retention: archive.retention, emit: (event: EventBody) => events.emit(event), signal };
    await pruneByPolicy(parts, KEEP_EVERYTHING);
    assert.equal(lines.length, 0);
    await pruneByPolicy(parts, { ...KEEP_EVERYTHING, rules: { ...NO_RULES, last: 1 } });
    assert.deepEqual(
      lines.map(([message, { id, why, removed }]) => [message, id ?? removed, why]),
      [
        ['Backup removed', '2026-10-02T10-00-00Z', 'no rule keeps it (keepLast 1)'],
        ['Archive pruned', 1, undefined],
      ],
    );
    assert.equal((await archive.backupIds(MAC)).length, 2);
  });

  it('not while the clock is behind the newest backup, and says so', async (t) => {
    lines.splice(0);
    const archive = await newArchive(t);
    for (let year = 2997; year <= 2999; year++) await backUp(archive, image(10, year), `${year}-10-01T10:00:00.000Z`);
    const { events, signal } = {
      events: new EventBus({ clock: systemClock, log }),
      signal: new AbortController().signal,
    };
    events.subscribe(logEvents(log));
    const parts = { retention: archive.retention, emit: (event: EventBody) => events.emit(event), signal };
    await pruneByPolicy(parts, { ...KEEP_EVERYTHING, rules: { ...NO_RULES, last: 1 } });
    assert.equal(lines[0]?.[0], 'Nothing is pruned now');
    assert.equal((await archive.backupIds(MAC)).length, 3);
  });
});
