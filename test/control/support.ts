/** The API of a daemon on a bench of simulated boards, at a real unix socket. */

import { mkdtemp, rm } from 'node:fs/promises';
import { type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { systemClock } from '../../src/clock.ts';
import { type StartCommand, CommandJobs } from '../../src/control/command-jobs.ts';
import { type Control, openControl } from '../../src/control/control.ts';
import { type StartReading, Readings } from '../../src/control/readings.ts';
import { JobNumbers } from '../../src/daemon/job-numbers.ts';
import { Station } from '../../src/daemon/station.ts';
import type { EspdError } from '../../src/errors.ts';
import { silentLogger } from '../../src/log.ts';
import { Workshop, type WorkshopOptions } from '../daemon/workshop.ts';
import { checkAnswer } from './answers.ts';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** Of JSON; else an empty object. */
  readonly json: Record<string, unknown>;
  readonly bytes: Buffer;
}

export interface AskOptions {
  readonly method?: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export class ApiBench {
  readonly shop: Workshop;
  readonly station: Station;
  readonly socketPath: string;
  readonly control: Control;
  reloadError: EspdError | undefined;

  private constructor(shop: Workshop, station: Station, socketPath: string, control: Control) {
    this.shop = shop;
    this.station = station;
    this.socketPath = socketPath;
    this.control = control;
  }

  static async open(
    t: TestContext,
    options: WorkshopOptions & { readonly start?: StartCommand; readonly startReading?: StartReading } = {},
  ): Promise<ApiBench> {
    const shop = await Workshop.open(t, options);
    const station = new Station();
    shop.events.subscribe(station.onEvent);
    await shop.daemon.start();
    const folder = await mkdtemp(join(tmpdir(), 'espd-api-'));
    const socketPath = join(folder, 'espd.sock');
    const holder: { bench?: ApiBench } = {};
    const control = await openControl({
      archive: shop.archive,
      call: ['espd'],
      clock: systemClock,
      commands: new CommandJobs({
        clock: systemClock,
        emit: (event) => shop.events.emit(event),
        // Far from those of the bench's daemon.
        numbers: numbersFrom(1000),
        start: options.start ?? (() => assertNever()),
      }),
      daemon: shop.daemon,
      readings: new Readings({ clock: systemClock, start: options.startReading ?? emptyReading }),
      emit: (event) => shop.events.emit(event),
      fleet: () => ({
        ...{ waiting: 1, lookedAt: '2026-11-23T10:00:00.000Z' },
        stations: [{ name: 'bench7-0123456789ab', heardAt: null, silentDays: null }],
        troubles: [],
      }),
      schedules: () => ({ timezone: null, schedules: [{ name: 'verify', cron: null, nextRun: null }] }),
      doctor: () => Promise.resolve({ checks: [], ok: true }),
      events: shop.events,
      log: silentLogger,
      metrics: () => 'espd_build_info 1\n',
      reload: () => Promise.resolve(holder.bench?.reloadError),
      sessions: { serve: (socket) => Promise.resolve(void socket.destroy()), close: () => Promise.resolve() },
      socketPath,
      station,
    });
    t.after(async () => {
      await control.close();
      await rm(folder, { recursive: true, force: true });
    });
    holder.bench = new ApiBench(shop, station, socketPath, control);
    return holder.bench;
  }

  async ask(path: string, { method = 'GET', body, headers = {} }: AskOptions = {}): Promise<Answer> {
    const text = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const asking = request({ socketPath: this.socketPath, path, method, headers }, resolve);
      asking.on('error', reject);
      asking.end(text);
    });
    const chunks: Buffer[] = [];
    for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
    const bytes = Buffer.concat(chunks);
    const isJson = /json/.test(response.headers['content-type'] ?? '');
    const all = bytes.toString('utf8');
    const type = response.headers['content-type'] ?? '';
    checkAnswer({ method, path, status: response.statusCode ?? 0, type, text: all });
    return {
      ...{ status: response.statusCode ?? 0, headers: response.headers, text: all, bytes },
      json: isJson && all !== '' ? (JSON.parse(all) as Record<string, unknown>) : {},
    };
  }
}

function numbersFrom(first: number): JobNumbers {
  const numbers = new JobNumbers();
  for (let number = 1; number < first; number++) numbers.next();
  return numbers;
}

/** A command that says what prune says without a policy. */
const emptyReading: StartReading = (_args, onOutput) => ({
  ended: onOutput(Buffer.from('{"policy":null,"dryRun":false,"backups":[],"removed":[],"spared":[]}\n')).then(() => ({
    status: 0,
    error: undefined,
    document: null,
  })),
  interrupt: () => undefined,
});

function assertNever(): never {
  throw new Error('no command was expected');
}
