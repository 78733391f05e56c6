import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it, mock } from 'node:test';
import { type ScheduledTask, scheduleTask } from '../../src/daemon/schedule.ts';
import { EspdError } from '../../src/errors.ts';
import type { LogFields, Logger } from '../../src/log.ts';

const START = Date.parse('2026-11-23T10:00:00.500Z');
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

describe('work by the clock', () => {
  const tasks: ScheduledTask[] = [];
  const lines: [level: string, message: string, fields: LogFields][] = [];
  const at =
    (level: string) =>
    (message: string, fields: LogFields = {}) =>
      void lines.push([level, message, fields]);
  const log: Logger = {
    error: at('error'),
    warn: at('warn'),
    info: at('info'),
    debug: at('debug'),
    child: () => log,
  };

  beforeEach(() => {
    lines.length = 0;
    mock.timers.enable({ apis: ['setTimeout', 'Date'], now: START });
  });
  afterEach(async () => {
    await Promise.all(tasks.splice(0).map((task) => task.stop()));
    mock.timers.reset();
  });

  function start(expression: string | null, work: () => Promise<void>, timezone: string | null = 'UTC'): ScheduledTask {
    const task = scheduleTask('verify', expression, timezone, work, log);
    tasks.push(task);
    return task;
  }

  /** Time passes, with everything that follows from each step. */
  async function pass(durationMs: number, stepMs = MINUTE_MS): Promise<void> {
    for (let passed = 0; passed < durationMs; passed += stepMs) {
      mock.timers.tick(Math.min(stepMs, durationMs - passed));
      for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Counts its runs, and notes when they began. */
  function counted(work: () => Promise<void> = () => Promise.resolve()) {
    const runs: string[] = [];
    return {
      runs,
      work: () => {
        runs.push(new Date().toISOString().slice(11, 16));
        return work();
      },
    };
  }

  it('begins at every minute that fits', async () => {
    const { runs, work } = counted();
    start('*/15 * * * *', work);
    await pass(HOUR_MS);
    assert.deepEqual(runs, ['10:15', '10:30', '10:45', '11:00']);
    assert.deepEqual(
      lines.filter(([level]) => level !== 'debug'),
      [],
    );
  });

  it('goes by the time zone', async () => {
    const { runs, work } = counted();
    start('30 16 * * *', work, 'Asia/Kolkata');
    await pass(3 * HOUR_MS);
    assert.deepEqual(runs, ['11:00']);
  });

  it('never begins where there is no expression', async () => {
    const { runs, work } = counted();
    const task = start(null, work);
    await pass(HOUR_MS);
    await task.stop();
    assert.deepEqual(runs, []);
  });

  it('is not joined by another run while one is going, and says so', async () => {
    let end: () => void = () => undefined;
    const { runs, work } = counted(() => new Promise<void>((resolve) => (end = resolve)));
    start('*/15 * * * *', work);
    await pass(50 * MINUTE_MS);
    assert.deepEqual(runs, ['10:15']);
    assert.deepEqual(
      lines.filter(([level]) => level === 'warn'),
      [1, 2].map(() => ['warn', 'Still running from the last time', { task: 'verify' }]),
    );
    end();
    await pass(15 * MINUTE_MS);
    assert.deepEqual(runs, ['10:15', '11:00']);
  });

  it('goes on after a run that failed, whatever it threw', async () => {
    const failures: unknown[] = [
      new EspdError('archive-unreadable', 'The archive may not be read', { hint: 'Mend it' }),
      new TypeError('a fault of ours'),
      'text',
      new DOMException('stopped', 'AbortError'),
    ];
    const { runs, work } = counted(async () => {
      await Promise.resolve();
      throw failures.shift();
    });
    start('*/15 * * * *', work);
    await pass(HOUR_MS);
    assert.equal(runs.length, 4);
    assert.deepEqual(
      lines
        .filter(([level]) => level !== 'debug')
        .map(([level, message, fields]) => [level, message, fields['code'], fields['reason']]),
      [
        ['error', 'A scheduled task failed', 'archive-unreadable', 'The archive may not be read'],
        ['error', 'A scheduled task failed', 'internal', 'a fault of ours'],
        ['error', 'A scheduled task failed', 'internal', 'text'],
        ['info', 'A scheduled task was stopped', undefined, undefined],
      ],
    );
    assert.deepEqual(lines.find(([level]) => level === 'error')![2]['hint'], 'Mend it');
  });

  it('goes on after work that throws before there is a promise', async () => {
    const { runs, work } = counted(() => {
      throw new Error('at once');
    });
    start('*/30 * * * *', work);
    await pass(HOUR_MS);
    assert.equal(runs.length, 2);
  });

  it('begins no more once it is stopped, and what runs goes on', async () => {
    let end: () => void = () => undefined;
    let hasEnded = false;
    const { runs, work } = counted(async () => {
      await new Promise<void>((resolve) => (end = resolve));
      hasEnded = true;
    });
    const task = start('*/15 * * * *', work);
    await pass(20 * MINUTE_MS);
    await task.stop();
    await task.stop();
    end();
    await pass(HOUR_MS);
    assert.deepEqual([runs, hasEnded], [['10:15'], true]);
  });

  it('can be replaced by another schedule of the same name, as a reload does', async () => {
    const [old, fresh] = [counted(), counted()];
    const task = start('*/15 * * * *', old.work);
    await pass(20 * MINUTE_MS);
    void task.stop();
    start('*/20 * * * *', fresh.work);
    await pass(HOUR_MS);
    assert.deepEqual([old.runs, fresh.runs], [['10:15'], ['10:40', '11:00', '11:20']]);
  });

  it('is not joined by a run of the schedule that a reload has brought, and goes by that one from then on', async () => {
    let end: () => void = () => undefined;
    const { runs, work } = counted(() => new Promise<void>((resolve) => (end = resolve)));
    const task = start('*/15 * * * *', work);
    await pass(16 * MINUTE_MS);
    await task.reschedule('*/5 * * * *', 'UTC');
    await pass(10 * MINUTE_MS);
    assert.deepEqual(runs, ['10:15'], 'one scrub at once');
    end();
    await pass(5 * MINUTE_MS);
    end();
    await pass(5 * MINUTE_MS);
    assert.deepEqual(runs, ['10:15', '10:30', '10:35']);
    end();
    await task.reschedule(null, null);
    await pass(HOUR_MS);
    assert.equal(runs.length, 3);
    await task.reschedule('0 * * * *', 'UTC');
    await pass(HOUR_MS);
    assert.equal(runs.length, 4);
    end();
  });

  it('says where it should of runs that were missed while the machine slept', async () => {
    const { runs, work } = counted();
    start('0 * * * *', work);
    const stdout = mock.method(process.stdout, 'write');
    const stderr = mock.method(process.stderr, 'write');
    await pass(HOUR_MS * 2.5, HOUR_MS * 2.5);
    const written = [...stdout.mock.calls, ...stderr.mock.calls].filter(({ arguments: [text] }) =>
      /cron/i.test(String(text)),
    );
    mock.restoreAll();
    assert.deepEqual(written, []);
    assert.ok(
      lines.some(
        ([level, message, fields]) => level === 'warn' && /missed/.test(message) && fields['task'] === 'verify',
      ),
    );
    await pass(HOUR_MS);
    assert.deepEqual(runs, ['13:00']);
  });

  it('refuses what is no cron expression at once', () => {
    assert.throws(() => scheduleTask('verify', 'every day', null, () => Promise.resolve(), log));
  });
});
