import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { BoardOverview } from '../../src/archive/types.ts';
import { SENT_EVENTS, type SentEvent } from '../../src/config/outbound.ts';
import type { EventType } from '../../src/daemon/event-types.ts';
import { BoardBook, MAX_BOARDS } from '../../src/outbound/board-book.ts';
import { renderFamilies } from '../../src/outbound/exposition.ts';
import { MAX_BOARD_SERIES, MAX_CHIPS, Metrics } from '../../src/outbound/metrics.ts';
import { startOutbound } from '../../src/outbound/outbound.ts';
import { silentLogger } from '../../src/log.ts';
import { type ParsedFamily, parseExposition } from './exposition-parse.ts';
import { FAULT, PORT, failedEvent, keptEvent, macNumber, newBus } from './support.ts';

function setUp() {
  const { clock, bus } = newBus();
  const book = new BoardBook();
  const metrics = new Metrics({ clock, version: '1.2.3', book, freeBytes: () => 12_345 });
  bus.subscribe(book.onEvent);
  bus.subscribe(metrics.onEvent);
  const scrape = () => parseExposition(metrics.render());
  return { clock, bus, book, metrics, scrape };
}

function valueOf(families: Map<string, ParsedFamily>, name: string, labels: Record<string, string> = {}) {
  const found = families
    .get(name)
    ?.samples.filter((sample) => Object.entries(labels).every(([key, value]) => sample.labels[key] === value));
  assert.ok((found?.length ?? 0) <= 1, name);
  return found?.[0]?.value;
}

const attached = (port: string) => ({ type: 'port-attached', port, usb: null, existing: false }) as const;
const queued = (port: string | null, job = 1) =>
  ({ type: 'job-queued', job, kind: 'backup', cause: 'plug-in', port, mac: null, product: null }) as const;
const started = (port: string | null, job = 1) => ({ type: 'job-started', job, kind: 'backup', port }) as const;
const ended = (port: string | null, job = 1) =>
  ({ type: 'job-ended', job, kind: 'backup', port, result: 'done' }) as const;

describe('metrics', () => {
  it('other stations of the store: when each was heard, and what cannot be read; without a store none of it', () => {
    const { clock } = newBus();
    const at = '2026-11-23T10:00:00.000Z';
    const parts = { clock, version: '1.2.3', book: new BoardBook(), freeBytes: () => 1 };
    const stations = () => ({
      lookedAt: at,
      stations: [
        { name: 'bench7-0123456789ab', heardAt: at },
        { name: 'new-0123456789ab', heardAt: null },
      ],
      troubles: [{ segments: 2 }, { segments: 3 }],
    });
    const families = parseExposition(new Metrics({ ...parts, stations }).render());
    const heard = families.get('espd_station_heard_timestamp_seconds')?.samples;
    assert.deepEqual(
      heard?.map(({ labels, value }) => [labels['station'], value]),
      [['bench7-0123456789ab', Date.parse(at) / 1000]],
    );
    assert.equal(valueOf(families, 'espd_stations_looked_timestamp_seconds'), Date.parse(at) / 1000);
    assert.equal(valueOf(families, 'espd_stations_unread_segments'), 5);
    assert.equal(parseExposition(new Metrics(parts).render()).has('espd_stations_unread_segments'), false);
  });

  it('can be scraped before anything has happened', () => {
    const families = setUp().scrape();
    assert.equal(valueOf(families, 'espd_build_info', { version: '1.2.3' }), 1);
    assert.equal(valueOf(families, 'espd_disk_free_bytes'), 12_345);
    assert.equal(valueOf(families, 'espd_archive_damaged_total'), 0);
    assert.equal(valueOf(families, 'espd_wire_bytes_total'), 0);
    assert.equal(valueOf(families, 'espd_ports', { state: 'idle' }), 0);
    assert.equal(families.has('espd_backup_last_success_timestamp_seconds'), false);
    assert.equal(valueOf(families, 'process_start_time_seconds'), Date.parse('2026-11-23T10:00:00.000Z') / 1000);
  });

  it('counts backups, failures, bytes and seconds', async () => {
    const { bus, clock, scrape } = setUp();
    bus.emit(attached(PORT));
    bus.emit(queued(PORT));
    bus.emit(started(PORT));
    await clock.advance(7000);
    bus.emit(keptEvent());
    bus.emit({ ...keptEvent({ wireBytes: 5 }), type: 'backup-unchanged' });
    bus.emit(ended(PORT));
    bus.emit(failedEvent());
    bus.emit(failedEvent({ isNews: false }));
    bus.emit(failedEvent({ failure: 'stopped' }));
    bus.emit({ type: 'archive-damaged', file: 'x', problem: 'y', isDamage: true, error: FAULT });
    bus.emit({ type: 'archive-damaged', file: 'x', problem: 'y', isDamage: false, error: FAULT });
    const families = scrape();
    assert.equal(valueOf(families, 'espd_backups_total', { chip: 'ESP32-C3', outcome: 'kept' }), 1);
    assert.equal(valueOf(families, 'espd_backups_total', { chip: 'ESP32-C3', outcome: 'unchanged' }), 1);
    assert.equal(valueOf(families, 'espd_job_failures_total', { code: 'read-failed' }), 1);
    assert.equal(families.get('espd_job_failures_total')?.samples.length, 1);
    assert.equal(valueOf(families, 'espd_wire_bytes_total'), 605);
    assert.equal(valueOf(families, 'espd_flash_bytes_read_total'), 2000);
    assert.equal(valueOf(families, 'espd_retries_total'), 4);
    assert.equal(valueOf(families, 'espd_archive_damaged_total'), 1);
    const buckets = families.get('espd_job_seconds')!.samples;
    const bucket = (le: string) => buckets.find(({ labels }) => labels['le'] === le)?.value;
    assert.deepEqual([bucket('5'), bucket('10'), bucket('+Inf')], [0, 1, 1]);
    assert.equal(buckets.find(({ name }) => name === 'espd_job_seconds_sum')?.value, 7);
    const atSeconds = Date.parse('2026-11-23T10:00:07.000Z') / 1000;
    assert.equal(valueOf(families, 'espd_backup_last_success_timestamp_seconds'), atSeconds);
    const mac = macNumber(1);
    assert.equal(valueOf(families, 'espd_board_last_backup_timestamp_seconds', { mac }), atSeconds);
    assert.equal(valueOf(families, 'espd_board_problem', { mac }), 1);
  });

  it('tells where each port is', () => {
    const { bus, scrape } = setUp();
    const states = () => {
      const samples = scrape()
        .get('espd_ports')!
        .samples.filter(({ value }) => value > 0);
      return Object.fromEntries(samples.map(({ labels, value }) => [labels['state'], value])) as Record<string, number>;
    };
    for (const port of ['a', 'b', 'c', 'd']) bus.emit(attached(port));
    assert.deepEqual(states(), { idle: 4 });
    bus.emit(queued('a'));
    bus.emit(queued('b', 2));
    bus.emit(started('b', 2));
    bus.emit({ type: 'port-left-alone', port: 'c', reason: 'x', by: 'rules', existing: false });
    bus.emit({ type: 'port-held', port: 'd', by: 'x', until: null });
    assert.deepEqual(states(), { waiting: 1, working: 1, left_alone: 1, held: 1 });
    bus.emit({ ...failedEvent(), port: 'b' });
    bus.emit(ended('b', 2));
    bus.emit({ type: 'port-released', port: 'd', by: 'x' });
    bus.emit({ type: 'port-detached', port: 'c' });
    assert.deepEqual(states(), { waiting: 1, failed: 1, idle: 1 });
    // A hold, and a job, at a port that is not there is none of the ports.
    bus.emit({ type: 'port-held', port: 'gone', by: 'x', until: null });
    bus.emit(queued('gone', 3));
    assert.deepEqual(states(), { waiting: 1, failed: 1, idle: 1 });
  });

  it('has a bounded number of series, whatever is plugged in', () => {
    const { bus, book, metrics, scrape } = setUp();
    for (let n = 0; n < MAX_BOARDS + 50; n++) bus.emit(keptEvent({ mac: macNumber(n), chip: `chip ${n % 500}` }));
    assert.equal(book.size, MAX_BOARDS);
    const families = scrape();
    assert.equal(families.get('espd_board_problem')!.samples.length, MAX_BOARD_SERIES);
    assert.equal(valueOf(families, 'espd_board_problem', { mac: macNumber(MAX_BOARDS + 49) }), 0);
    const chips = families.get('espd_backups_total')!.samples;
    assert.equal(chips.length, MAX_CHIPS + 1);
    assert.equal(
      chips.reduce((sum, { value }) => sum + value, 0),
      MAX_BOARDS + 50,
    );
    metrics.perBoard = false;
    const without = scrape();
    assert.equal(
      [...without.values()].some(({ samples }) => samples.some(({ labels }) => 'mac' in labels)),
      false,
    );
    assert.equal(valueOf(without, 'espd_boards'), MAX_BOARDS);
  });

  it('stays readable whatever labels and help hold', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.double(), (text, value) => {
        // A scrape reads lines; other separators than a line feed are plain text.
        const label = text.replace(/[\r\u0085\u2028\u2029]/g, '');
        const sample = { labels: { label }, value };
        const family = { name: 'x', help: `h ${label}`, type: 'gauge', samples: [sample] } as const;
        const [read] = parseExposition(renderFamilies([family])).get('x')!.samples;
        assert.equal(read!.labels['label'], label);
        assert.ok(Object.is(read!.value, value) || read!.value === value);
      }),
      { numRuns: 30 },
    );
  });
});

describe('the book of boards', () => {
  const overview = (n: number, createdAt: string): BoardOverview =>
    ({
      mac: macNumber(n),
      newest: { manifest: { createdAt, chip: { name: 'ESP32' }, contents: { firmware: null } } },
      seen: { at: '2026-01-02T00:00:00.000Z' },
      about: { label: `board ${n}`, note: null, group: null },
      halfRestored: null,
    }) as unknown as BoardOverview;

  it('knows the archive, and believes an event more than what the archive said before', () => {
    const { bus } = newBus();
    const book = new BoardBook();
    bus.subscribe(book.onEvent);
    bus.emit(keptEvent({ mac: macNumber(2) }));
    book.seed([overview(1, '2026-01-01T00:00:00.000Z'), overview(2, '2026-01-01T00:00:00.000Z')]);
    assert.equal(book.get(macNumber(1))?.lastBackupMs, Date.parse('2026-01-02T00:00:00.000Z'));
    assert.equal(book.get(macNumber(2))?.lastBackupMs, Date.parse('2026-11-23T10:00:00.000Z'));
    assert.equal(book.get(macNumber(2))?.label, 'board 2');
    bus.emit(failedEvent({ mac: 2 }));
    assert.equal(book.get(macNumber(2))?.problem?.code, 'read-failed');
    bus.emit(keptEvent({ mac: macNumber(2) }));
    assert.equal(book.get(macNumber(2))?.problem, null);
    assert.equal(book.get(macNumber(2))?.label, 'board 2');
  });

  it('follows labels, also before it knows the archive, and of boards that it meets later', () => {
    const { bus } = newBus();
    const told: (string | null)[] = [];
    const book = new BoardBook(({ label }) => told.push(label));
    bus.subscribe(book.onEvent);
    const describe = (n: number, label: string | null) =>
      bus.emit({ type: 'board-described', mac: macNumber(n), label, note: null, group: null });
    bus.emit(keptEvent({ mac: macNumber(2) }));
    describe(1, null);
    describe(2, 'new');
    describe(3, 'imported');
    book.seed([overview(1, '2026-01-01T00:00:00.000Z'), overview(2, '2026-01-01T00:00:00.000Z')]);
    assert.equal(book.get(macNumber(1))?.label, null, 'cleared while the archive was read');
    assert.equal(book.get(macNumber(1))?.chip, 'ESP32', 'nothing else of it is forgotten');
    assert.equal(book.get(macNumber(2))?.label, 'new');
    assert.equal(book.get(macNumber(3)), undefined);
    describe(2, 'newer');
    const before = told.length;
    describe(2, 'newer');
    assert.equal(told.length, before, 'nothing has changed');
    bus.emit(keptEvent({ mac: macNumber(2) }));
    bus.emit(keptEvent({ mac: macNumber(3) }));
    bus.emit(failedEvent({ mac: 4 }));
    assert.deepEqual(
      [2, 3, 4].map((n) => book.get(macNumber(n))?.label),
      ['newer', 'imported', null],
    );
  });
});

describe('what the config can name', () => {
  it('is every event but progress', () => {
    // The compiler compares the two lists, both ways.
    const asEvents: readonly Exclude<EventType, 'job-progress'>[] = SENT_EVENTS;
    const asSent = asEvents satisfies readonly SentEvent[];
    assert.equal(new Set(asSent).size, SENT_EVENTS.length);
  });
});

describe('all that tells others', () => {
  it('takes a new config without a restart, and does not wait for a disk that hangs', async () => {
    const { bus, clock } = newBus();
    let asked = 0;
    const outbound = startOutbound({
      ...{
        clock,
        log: silentLogger,
        events: bus,
        version: '1',
        env: {},
        random: Math.random,
        spoolFolder: '/nonexistent',
      },
      config: { metrics: { perBoard: true }, hooks: [], webhooks: [], mqtt: null },
      requestBackup: () => assert.fail('nobody pressed a button'),
      boards: () => {
        asked++;
        return Promise.reject(new Error('no archive'));
      },
      freeBytes: () => new Promise(() => undefined),
    });
    assert.equal(asked, 0, 'the archive is not read while the service starts');
    outbound.readBoards();
    assert.equal(asked, 1);
    bus.emit(keptEvent());
    assert.ok(outbound.metrics().includes('espd_board_problem{'));
    assert.ok(!outbound.metrics().includes('espd_disk_free_bytes'));
    assert.ok(!outbound.metrics().includes('espd_mqtt_connected 0'));
    outbound.apply({ metrics: { perBoard: false }, hooks: [], webhooks: [], mqtt: null });
    assert.ok(!outbound.metrics().includes('espd_board_problem{'));
    await outbound.stop();
    bus.emit(keptEvent());
    assert.ok(outbound.metrics().includes('espd_backups_total{chip="ESP32-C3",outcome="kept"} 1\n'));
  });
});
