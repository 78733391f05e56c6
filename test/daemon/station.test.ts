import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { EventBody, ServiceEvent } from '../../src/daemon/event-types.ts';
import { MOST_JOBS, Station } from '../../src/daemon/station.ts';
import type { Mac } from '../../src/mac.ts';

const MAC = '50:02:91:c3:37:a5' as Mac;
const PORT = '/dev/ttyUSB0';
const ERROR_HALF = { code: 'half-restored', message: 'It is half restored', hint: 'Finish it' } as const;
const ERROR = { code: 'no-answer', message: 'Nothing answers', hint: '' } as const;

function stationOf(...bodies: EventBody[]): Station {
  const station = new Station();
  bodies.forEach((body, index) => station.onEvent(numbered(body, index)));
  return station;
}

function numbered(body: EventBody, index: number): ServiceEvent {
  return { seq: index + 1, at: new Date(Date.UTC(2026, 10, 23, 10, 0, index)).toISOString(), ...body };
}

const attached = { type: 'port-attached', port: PORT, usb: null, existing: false } as const;
const queued = (job: number) =>
  ({ type: 'job-queued', job, kind: 'backup', cause: 'plug-in', port: PORT, mac: null, product: null }) as const;
const started = (job: number) => ({ type: 'job-started', job, kind: 'backup', port: PORT }) as const;
const ended = (job: number, result: 'done' | 'failed' | 'dropped') =>
  ({ type: 'job-ended', job, kind: 'backup', port: PORT, result }) as const;
const failed = (
  job: number | null,
  retryInMs: number | null,
  failure: 'fault' | 'silent' | 'stopped' = 'fault',
): EventBody => ({
  ...{ type: 'job-failed', job, kind: 'backup', port: PORT, mac: null, error: ERROR },
  ...{ failure, isNews: true, retryInMs },
});
const kept = (job: number): EventBody => ({
  ...{ type: 'backup-kept', job, port: PORT, mac: MAC, id: 'x', chip: 'ESP32', sizeBytes: 4, flashBytesRead: 1 },
  ...{ wireBytes: 2, seconds: 3, retries: 0, baudRate: 921_600, firmware: null, aliasedAtBytes: null },
});

describe('the state of the station', () => {
  const half: EventBody = {
    ...{ type: 'half-restored', port: PORT, mac: MAC },
    error: ERROR_HALF,
  };
  const held: EventBody = { type: 'port-held', port: PORT, by: 'espd restore', until: null };
  const released: EventBody = { type: 'port-released', port: PORT, by: 'espd restore' };
  const restored: EventBody = { type: 'board-restored', port: PORT, mac: MAC, from: MAC, id: 'x', sectors: 3 };
  const done = [attached, queued(1), started(1), kept(1), ended(1, 'done')];

  it('does not say DONE of a board that a command has left half restored, until one has finished it', () => {
    const { ports, attention } = stationOf(...done, held, released, half).view;
    assert.deepEqual([ports[0]?.state, ports[0]?.error?.code], ['failed', 'half-restored']);
    // Once, although it is of the board as well as of the port.
    assert.deepEqual(
      attention.map(({ error }) => error.message),
      ['It is half restored'],
    );
    const finished = stationOf(...done, held, released, half, held, released, restored).view;
    assert.deepEqual([finished.ports[0]?.state, finished.ports[0]?.error, finished.attention], ['done', null, []]);
    // Another command that had the port has not mended it.
    const again = stationOf(...done, held, released, half, held, released).view;
    assert.deepEqual([again.ports[0]?.state, again.attention.length], ['failed', 1]);
    // Of a board that is gone meanwhile, the board itself is told of.
    const gone = stationOf(...done, held, released, half, { type: 'port-detached', port: PORT }).view;
    assert.deepEqual([gone.ports, gone.attention.map(({ about, mac }) => [about, mac])], [[], [['board', MAC]]]);
  });

  it('tells of a half restored board that a job has found, once', () => {
    const job: EventBody = {
      ...{ type: 'job-failed', job: 2, kind: 'backup', port: PORT, mac: MAC, error: ERROR_HALF },
      ...{ failure: 'passing', isNews: true, retryInMs: null },
    };
    const { attention, ports } = stationOf(...done, queued(2), started(2), job, half, ended(2, 'failed')).view;
    assert.deepEqual([attention.length, ports[0]?.state], [1, 'failed']);
  });

  it('takes what a command has backed up for the last result of its port, unless somebody has the port', () => {
    const made: EventBody = { ...kept(1), job: null } as EventBody;
    const { ports, counters } = stationOf(attached, held, released, made).view;
    assert.deepEqual([ports[0]?.state, ports[0]?.mac, ports[0]?.result?.id], ['done', MAC, 'x']);
    assert.equal(counters.backups, 1);
    assert.equal(stationOf(attached, held, released, held, made).view.ports[0]?.state, 'held');
    assert.equal(stationOf(attached, queued(1), started(1), made).view.ports[0]?.state, 'working');
  });

  it('follows a job from its queue to its end', () => {
    const states = [attached, queued(1), started(1), kept(1), ended(1, 'done')].map((_, index, all) => {
      const [port] = stationOf(...all.slice(0, index + 1)).view.ports;
      return port?.state;
    });
    assert.deepEqual(states, ['idle', 'waiting', 'working', 'working', 'done']);
  });

  it('says why a port failed, and when it is tried again', () => {
    const [port] = stationOf(attached, queued(1), started(1), failed(1, 5000), ended(1, 'failed')).view.ports;
    assert.deepEqual([port?.state, port?.error?.code], ['failed', 'no-answer']);
    assert.equal(port?.retryAt, '2026-11-23T10:00:08.000Z');
    const { attention, counters } = stationOf(
      attached,
      queued(1),
      started(1),
      failed(1, null),
      ended(1, 'failed'),
    ).view;
    assert.deepEqual([attention.length, counters.failures], [1, 1]);
  });

  it('takes silence and a stop for no failure', () => {
    for (const failure of ['silent', 'stopped'] as const) {
      const { ports, counters, attention } = stationOf(
        ...[attached, queued(1), started(1), failed(1, null, failure), ended(1, 'failed')],
      ).view;
      assert.deepEqual([counters.failures, attention.length, ports[0]?.error], [0, 0, null], failure);
    }
  });

  it('knows whose port it is while it is held, also without a board', () => {
    const held = { type: 'port-held', port: PORT, by: 'Ada', until: null } as const;
    const gone = { type: 'port-detached', port: PORT } as const;
    const views = [[held], [attached, held], [attached, held, gone], [held, attached]].map(
      (events) => stationOf(...events).view.ports[0],
    );
    for (const view of views) assert.deepEqual([view?.state, view?.heldBy], ['held', 'Ada']);
    const released = { type: 'port-released', port: PORT, by: 'Ada' } as const;
    assert.equal(stationOf(attached, held, released).view.ports[0]?.state, 'idle');
  });

  it('keeps the chip of a board that a command has only named', () => {
    const identified = (chip: string | null) => ({ type: 'identified', job: 1, port: PORT, mac: MAC, chip }) as const;
    const [port] = stationOf(attached, identified('ESP32'), identified(null)).view.ports;
    assert.deepEqual([port?.mac, port?.chip], [MAC, 'ESP32']);
  });

  it('knows what the config calls a remote, and since when otherwise', () => {
    const remote = { ...attached, port: 'rfc2217://pi:4001', name: 'desk' };
    const renamed = { type: 'port-renamed', port: 'rfc2217://pi:4001', name: 'bench' } as const;
    const names = (...events: EventBody[]) => stationOf(...events).view.ports.map(({ name }) => name);
    assert.deepEqual(names(attached, remote), [null, 'desk']);
    assert.deepEqual(names(attached, remote, renamed), [null, 'bench']);
    assert.deepEqual(names(renamed), []);
  });

  it('forgets old jobs, and none that runs', () => {
    const events: EventBody[] = [attached, queued(1), started(1)];
    for (let job = 2; job < MOST_JOBS + 50; job++) events.push(queued(job), started(job), ended(job, 'done'));
    const station = stationOf(...events);
    assert.equal(station.view.jobs.length, MOST_JOBS);
    assert.equal(station.job(1)?.state, 'running');
    assert.equal(station.job(2), undefined);
  });

  it('whatever comes in whatever order: jobs that have ended stay ended, and nothing throws', () => {
    const any = fc.array(
      fc.oneof(
        fc.constantFrom<EventBody>(
          attached,
          { type: 'port-detached', port: PORT },
          { type: 'port-held', port: PORT, by: 'Ada', until: null },
          { type: 'port-released', port: PORT, by: 'Ada' },
        ),
        fc
          .integer({ min: 1, max: 4 })
          .chain((job) =>
            fc.constantFrom<EventBody>(queued(job), started(job), kept(job), failed(job, 1000), ended(job, 'done')),
          ),
      ),
      { maxLength: 40 },
    );
    fc.assert(
      fc.property(any, (events) => {
        const { ports, jobs } = stationOf(...events).view;
        assert.ok(ports.length <= 1);
        for (const { state, endedAt } of jobs) assert.equal(state === 'done', endedAt !== null && state === 'done');
      }),
      { numRuns: 200 },
    );
  });
});

describe('a board that its own reset has taken away', () => {
  const back = { type: 'board-back', port: PORT, mac: MAC } as const;
  const detached = { type: 'port-detached', port: PORT } as const;
  const identified = { type: 'identified', job: 1, port: PORT, mac: MAC, chip: 'ESP32-S2' } as const;
  const stateOf = (...bodies: EventBody[]) => {
    const [view] = stationOf(attached, queued(1), started(1), identified, ...bodies).view.ports;
    return [view?.state, view?.mac, view?.result?.id ?? null];
  };

  it('is done when it comes back, whenever its backup was kept', () => {
    const done = ['done', MAC, 'x'];
    assert.deepEqual(stateOf(kept(1), ended(1, 'done'), detached, attached, back), done);
    assert.deepEqual(stateOf(detached, kept(1), ended(1, 'done'), attached, back), done);
    assert.deepEqual(stateOf(detached, attached, back, kept(1), ended(1, 'done')), done);
  });

  it('is what it was while its job goes on, and nothing is known of another board there', () => {
    assert.deepEqual(stateOf(detached, attached, back), ['working', MAC, null]);
    assert.deepEqual(stateOf(kept(1), ended(1, 'done'), detached, attached), ['idle', null, null]);
    const other = { ...back, mac: null };
    assert.deepEqual(stateOf(kept(1), ended(1, 'done'), detached, attached, other), ['idle', null, null]);
  });
});
