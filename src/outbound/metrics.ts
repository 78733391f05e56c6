/** Counts what happens, and says it as Prometheus wants it. Labels are bounded: see {@link MAX_CHIPS}, {@link MAX_BOARD_SERIES}. */

import type { Clock } from '../clock.ts';
import type { EventOf, EventType, KeptBackup, ServiceEvent } from '../daemon/event-types.ts';
import { printable } from '../printable.ts';
import type { BoardBook, BoardFacts } from './board-book.ts';
import { Counter, type Family, Histogram, type Sample, renderFamilies } from './exposition.ts';

/** So many names of chips have series of their own, the others are `other`. espd knows fewer. */
export const MAX_CHIPS = 64;
/** So many boards have series of their own: those that changed last. */
export const MAX_BOARD_SERIES = 1000;
const MAX_STATION_SERIES = 200;
/** A backup of 4 MiB takes seconds where nothing has changed, minutes at 115200 baud. Seconds. */
const JOB_SECONDS = [0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 3600];
/** Jobs whose start is remembered; the daemon runs 64 at most. */
const MAX_RUNNING = 1024;

export const PORT_STATES = ['idle', 'waiting', 'working', 'held', 'left_alone', 'flapping', 'failed'] as const;
export type PortState = (typeof PORT_STATES)[number];
/** What a port is where it is neither held nor worked on. */
type RestingState = Exclude<PortState, 'waiting' | 'working' | 'held'>;

export interface MetricsParts {
  readonly clock: Clock;
  readonly version: string;
  readonly book: BoardBook;
  /** Free bytes of the archive's disk, as they were a moment ago; undefined where they are not known. */
  readonly freeBytes: () => number | undefined;
  /** Webhook deliveries that wait. */
  readonly spooled?: () => number;
  /** Whether there is a connection to the MQTT broker; undefined where none is wanted. */
  readonly broker?: () => boolean | undefined;
  /** Other stations of the object store; undefined where there is none. */
  readonly stations?: () => HeardStations | undefined;
}

/** Times as ISO 8601; null = never. */
export interface HeardStations {
  readonly lookedAt: string | null;
  readonly stations: readonly { readonly name: string; readonly heardAt: string | null }[];
  readonly troubles: readonly { readonly segments: number }[];
}

/** What became of something that was sent: of `hook` and `webhook`. */
export type SentOutcome = 'done' | 'failed' | 'dropped';

export class Metrics {
  perBoard = true;
  readonly #parts: MetricsParts;
  readonly #startSeconds: number;
  readonly #backups = new Counter();
  readonly #jobs = new Counter();
  readonly #failures = new Counter();
  readonly #sums = new Counter();
  readonly #sent = new Counter();
  readonly #seconds = new Histogram(JOB_SECONDS);
  readonly #chips = new Set<string>();
  readonly #startedMs = new Map<number, number>();
  readonly #ports = new Map<string, { rest: RestingState; job: 'none' | 'waiting' | 'working' }>();
  readonly #held = new Set<string>();
  #verifiedSeconds: number | undefined;
  #isConfigGood = true;
  /** Undefined: nothing is pushed. */
  #waiting: number | undefined;

  constructor(parts: MetricsParts) {
    this.#parts = parts;
    this.#startSeconds = parts.clock.date().getTime() / 1000;
    // A counter that is there from the start shows its first step as one (Prometheus' best practice).
    for (const name of Object.keys(SUMS)) this.#sums.add({ name }, 0);
  }

  /** A hook or webhook has ended so. */
  sent(what: 'hook' | 'webhook', outcome: SentOutcome): void {
    this.#sent.add({ what, outcome });
  }

  /** To be subscribed, after the book. */
  readonly onEvent = (event: ServiceEvent): void => {
    this.#countPort(event);
    switch (event.type) {
      case 'backup-kept':
        this.#countBackup(event, 'kept');
        return;
      case 'backup-unchanged':
        this.#countBackup(event, 'unchanged');
        return;
      case 'job-started':
        if (this.#startedMs.size < MAX_RUNNING) this.#startedMs.set(event.job, this.#parts.clock.now());
        return;
      case 'job-ended':
        this.#countEnd(event);
        return;
      case 'job-failed':
        if (event.isNews && event.failure !== 'stopped') this.#failures.add({ code: event.error.code });
        return;
      case 'board-stuck':
        this.#failures.add({ code: event.error.code });
        return;
      case 'board-missing':
        if (event.into === 'download-mode') this.#failures.add({ code: event.error.code });
        return;
      case 'archive-damaged':
        if (event.isDamage) this.#sums.add({ name: 'espd_archive_damaged_total' });
        return;
      case 'archive-verified':
        this.#verifiedSeconds = Date.parse(event.at) / 1000;
        return;
      case 'backup-removed':
        this.#sums.add({ name: 'espd_pruned_backups_total' });
        this.#sums.add({ name: 'espd_pruned_bytes_total' }, event.sizeBytes);
        return;
      case 'backup-pushed':
        this.#sums.add({ name: 'espd_pushed_backups_total' });
        this.#sums.add({ name: 'espd_pushed_bytes_total' }, event.sentBytes);
        this.#waiting = event.waiting;
        return;
      case 'push-failed':
        this.#sums.add({ name: 'espd_push_failures_total' });
        this.#waiting = event.waiting;
        return;
      case 'config-reloaded':
      case 'config-rejected':
        this.#isConfigGood = event.type === 'config-reloaded';
        return;
      default:
    }
  };

  /** The whole answer to a scrape. */
  render(): string {
    const { book, version, freeBytes, spooled, broker } = this.#parts;
    const free = freeBytes();
    const isConnected = broker?.();
    const waiting = spooled?.();
    const boards = book.all;
    const lastMs = boards.reduce((last, { lastBackupMs }) => Math.max(last, lastBackupMs ?? -Infinity), -Infinity);
    const gauge = (name: string, help: string, value: number | undefined): Family => ({
      ...{ name, help, type: 'gauge' },
      samples: value === undefined || !Number.isFinite(value) ? [] : [{ value }],
    });
    const counter = (name: string, help: string, samples: readonly Sample[]): Family => ({
      ...{ name, help, type: 'counter' },
      samples,
    });
    return renderFamilies([
      {
        name: 'espd_build_info',
        help: 'Version of espd.',
        type: 'gauge',
        samples: [{ labels: { version, node: process.versions.node }, value: 1 }],
      },
      gauge('process_start_time_seconds', 'When the daemon was started, in seconds since 1970.', this.#startSeconds),
      gauge('espd_boards', 'Boards in the archive, or seen since the start.', book.size),
      { name: 'espd_ports', help: 'Serial ports that are there.', type: 'gauge', samples: this.#portSamples() },
      counter('espd_backups_total', 'Backups kept, and boards found unchanged.', this.#backups.samples),
      counter('espd_jobs_total', 'Jobs that have ended.', this.#jobs.samples),
      counter(
        'espd_job_failures_total',
        'Failures by error code, each counted once a plug-in.',
        this.#failures.samples,
      ),
      {
        name: 'espd_job_seconds',
        help: 'How long jobs took, from their start.',
        type: 'histogram',
        samples: this.#seconds.samples,
      },
      ...Object.entries(SUMS).map(([name, help]) =>
        counter(
          name,
          help,
          this.#sums.samples.filter(({ labels }) => labels?.['name'] === name).map(({ value }) => ({ value })),
        ),
      ),
      gauge(
        'espd_backup_last_success_timestamp_seconds',
        'When the flash of any board was last known to be in the archive, in seconds since 1970.',
        lastMs / 1000,
      ),
      gauge(
        'espd_archive_last_verified_timestamp_seconds',
        'When the whole archive was last hashed again since the start, in seconds since 1970.',
        this.#verifiedSeconds,
      ),
      gauge('espd_disk_free_bytes', 'Free bytes on the disk of the archive.', free),
      gauge(
        'espd_config_last_reload_successful',
        'Whether the config file was sound when it was last read.',
        this.#isConfigGood ? 1 : 0,
      ),
      gauge(
        'espd_store_waiting',
        'Backups that were not in the object store yet, when it was last told.',
        this.#waiting,
      ),
      ...stationFamilies(this.#parts.stations?.()),
      counter('espd_sent_total', 'Runs of hooks, and deliveries of webhooks.', this.#sent.samples),
      gauge('espd_webhook_spooled', 'Deliveries of webhooks that wait.', waiting),
      gauge(
        'espd_mqtt_connected',
        'Whether there is a connection to the MQTT broker.',
        isConnected === undefined ? undefined : Number(isConnected),
      ),
      ...(this.perBoard ? boardFamilies(boards.slice(-MAX_BOARD_SERIES)) : []),
    ]);
  }

  #countBackup(event: KeptBackup, outcome: 'kept' | 'unchanged'): void {
    this.#backups.add({ chip: this.#chipLabel(event.chip), outcome });
    this.#sums.add({ name: 'espd_wire_bytes_total' }, event.wireBytes);
    this.#sums.add({ name: 'espd_flash_bytes_read_total' }, event.flashBytesRead);
    this.#sums.add({ name: 'espd_retries_total' }, event.retries);
  }

  #chipLabel(chip: string): string {
    const label = printable(chip);
    if (this.#chips.size < MAX_CHIPS) this.#chips.add(label);
    return this.#chips.has(label) ? label : 'other';
  }

  #countEnd({ job, kind, result }: EventOf<'job-ended'>): void {
    this.#jobs.add({ kind, result });
    const startMs = this.#startedMs.get(job);
    this.#startedMs.delete(job);
    if (startMs !== undefined) this.#seconds.observe({ kind }, (this.#parts.clock.now() - startMs) / 1000);
  }

  #countPort(event: ServiceEvent): void {
    if (!('port' in event) || event.port === null) return;
    const { port, type } = event;
    if (type === 'port-held') this.#held.add(port);
    else if (type === 'port-released') this.#held.delete(port);
    else if (type === 'port-detached') this.#ports.delete(port);
    // A port that comes back by itself comes while its job goes on.
    else if (type === 'port-attached' && !this.#ports.has(port)) this.#ports.set(port, { rest: 'idle', job: 'none' });
    const state = this.#ports.get(port);
    if (state === undefined) return;
    state.job = JOB_AFTER[type] ?? state.job;
    if (type === 'job-failed') state.rest = event.failure === 'stopped' ? 'idle' : 'failed';
    else state.rest = REST_AFTER[type] ?? state.rest;
  }

  #portSamples(): Sample[] {
    const counts = new Map<PortState, number>(PORT_STATES.map((state) => [state, 0]));
    for (const [port, { job, rest }] of this.#ports) {
      const state = this.#held.has(port) ? 'held' : job === 'none' ? rest : job;
      counts.set(state, (counts.get(state) ?? 0) + 1);
    }
    return [...counts].map(([state, value]) => ({ labels: { state }, value }));
  }
}

const SUMS: Readonly<Record<string, string>> = {
  espd_wire_bytes_total: 'Bytes that came over the wire for backups.',
  espd_flash_bytes_read_total: 'Bytes of flash that were read for backups.',
  espd_retries_total: 'Reads that had to be done again.',
  espd_archive_damaged_total: 'Damaged parts of the archive that were found.',
  espd_pruned_backups_total: 'Backups that the retention policy removed.',
  espd_pruned_bytes_total: 'Bytes that these backups took.',
  espd_pushed_backups_total: 'Backups that came into the object store.',
  espd_pushed_bytes_total: 'Bytes that were sent for them.',
  espd_push_failures_total: 'Failures of that which were told.',
};

const JOB_AFTER: Partial<Record<EventType, 'none' | 'waiting' | 'working'>> = {
  'job-queued': 'waiting',
  'job-started': 'working',
  'job-ended': 'none',
};
const REST_AFTER: Partial<Record<EventType, RestingState>> = {
  'port-left-alone': 'left_alone',
  'port-flapping': 'flapping',
  'job-queued': 'idle',
  'job-done': 'idle',
  'board-stuck': 'failed',
};

function stationFamilies(heard: HeardStations | undefined): Family[] {
  if (heard === undefined) return [];
  const { lookedAt, stations, troubles } = heard;
  const seconds = (at: string | null) => (at === null ? [] : [Date.parse(at) / 1000]);
  return [
    {
      name: 'espd_stations_looked_timestamp_seconds',
      help: 'When the journals of the other stations were last read, in seconds since 1970.',
      type: 'gauge',
      samples: seconds(lookedAt).map((value) => ({ value })),
    },
    {
      name: 'espd_station_heard_timestamp_seconds',
      help: 'When a station last said something in its journal, in seconds since 1970. It does once a day.',
      type: 'gauge',
      samples: stations
        .slice(0, MAX_STATION_SERIES)
        .flatMap(({ name, heardAt }) => seconds(heardAt).map((value) => ({ labels: { station: name }, value }))),
    },
    {
      name: 'espd_stations_unread_segments',
      help: 'Segments of journals that could not be read, and are asked for again.',
      type: 'gauge',
      samples: [{ value: troubles.reduce((sum, { segments }) => sum + segments, 0) }],
    },
  ];
}

function boardFamilies(boards: readonly BoardFacts[]): Family[] {
  const labels = ({ mac, label }: BoardFacts) => ({ mac, board: printable(label ?? mac) });
  const samples = (valueOf: (board: BoardFacts) => number | null): Sample[] =>
    boards.flatMap((board) => {
      const value = valueOf(board);
      return value === null ? [] : [{ labels: labels(board), value }];
    });
  return [
    {
      name: 'espd_board_last_backup_timestamp_seconds',
      help: 'When the flash of this board was last known to be in the archive, in seconds since 1970.',
      type: 'gauge',
      samples: samples(({ lastBackupMs }) => (lastBackupMs === null ? null : lastBackupMs / 1000)),
    },
    {
      name: 'espd_board_problem',
      help: 'Whether something went wrong with this board since its last backup.',
      type: 'gauge',
      samples: samples(({ problem }) => (problem === null ? 0 : 1)),
    },
  ];
}
