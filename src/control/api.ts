/** The API: which path does what. docs/api.md tells it to people, openapi.ts to programs. */

import type { Archive } from '../archive/types.ts';
import type { Clock } from '../clock.ts';
import type { BoardJob } from '../daemon/board-jobs.ts';
import type { Daemon } from '../daemon/daemon.ts';
import type { EventBody } from '../daemon/event-types.ts';
import type { EventSource } from '../daemon/events.ts';
import type { Station } from '../daemon/station.ts';
import { historyJson, gatherHistory } from '../documents/history.ts';
import { boardSizesJson } from '../documents/sizes.ts';
import { EspdError } from '../errors.ts';
import type { EspdCall } from '../transfer/finish-command.ts';
import { VERSION } from '../version.ts';
import { BoardList } from './board-list.ts';
import type { CommandJobs } from './command-jobs.ts';
import { confirmRequest, holdRequest, imageQuery, jobRequest } from './contract/requests.ts';
import { openApi } from './openapi.ts';
import { HttpError } from './problem.ts';
import { API_PATHS, type OperationId } from './contract/operations.ts';
import type { Readings } from './readings.ts';
import type { Route } from './router.ts';
import { sendBoards } from './routes/boards.ts';
import { EventStreams } from './routes/events.ts';
import { sendImage } from './routes/image.ts';
import { serveLease } from './routes/lease.ts';
import { changeLabel, changePin } from './routes/marks.ts';
import { sendContents, sendDiff, sendPart, sendRetention } from './routes/readings.ts';
import type { ApiAnswer, ApiHandler, ApiRequest } from './server.ts';
import { queryOf, validate } from './validate.ts';

export interface ApiParts {
  readonly archive: Archive;
  readonly call: EspdCall;
  readonly clock: Clock;
  readonly events: EventSource;
  readonly station: Station;
  readonly daemon: Pick<Daemon, 'requestBackup' | 'take' | 'release' | 'cancel'>;
  readonly commands: CommandJobs;
  readonly readings: Readings;
  readonly emit: (event: EventBody) => void;
  /** What is done by the clock. */
  readonly schedules: () => object;
  /** What is known of the other stations of the object store; null where there is none. */
  readonly fleet: () => object | null;
  /** Loads the config again; undefined = it is in force. */
  readonly reload: () => Promise<EspdError | undefined>;
  /** The report of `espd doctor`. */
  readonly doctor: () => Promise<object>;
  /** In Prometheus' text format. */
  readonly metrics: () => string;
}

/** Of https://prometheus.io/docs/instrumenting/exposition_formats/ */
const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

export function apiRoutes(parts: ApiParts): readonly Route<ApiHandler>[] {
  const { archive, call, commands, daemon, station } = parts;
  const boards = new BoardList(parts);
  const streams = new EventStreams(parts);

  const jobJson = (id: number): object => {
    const job = station.job(id);
    if (job === undefined) throw new HttpError(404, `There is no job ${id}`, 'Jobs that ended long ago are forgotten');
    return { ...job, ...commands.facts(id) };
  };

  const handlers: Readonly<Record<OperationId, ApiHandler>> = {
    status: () =>
      answer({
        ...{ version: VERSION, instance: parts.events.instance, lastSeq: parts.events.lastSeq },
        ...{ now: parts.clock.date().toISOString(), archive: archive.root },
        ...station.view,
        fleet: parts.fleet(),
      }),
    ports: () => answer({ ports: station.view.ports }),
    boards: (request) => sendBoards(boards, request),
    board: async ({ params, signal }) => {
      const mac = await archive.resolveBoard(params['board'] ?? '');
      return answer(historyJson(await gatherHistory({ archive, call, signal }, mac, undefined)));
    },
    boardSizes: async ({ params, signal }) => {
      const mac = await archive.resolveBoard(params['board'] ?? '');
      return answer(boardSizesJson(await archive.sizes.of([mac], { signal })));
    },
    labelBoard: (request) => changeLabel(parts, request).then(answer),
    backup: async ({ params, signal }) => {
      const mac = await archive.resolveBoard(params['board'] ?? '');
      const { board, backups } = historyJson(await gatherHistory({ archive, call, signal }, mac, params['id'] ?? ''));
      return answer({ board, backup: backups[0] });
    },
    pinBackup: (request) => changePin(parts, request).then(answer),
    contents: (request) => sendContents(parts, request),
    diff: (request) => sendDiff(parts, request),
    retention: (request) => sendRetention(parts, request),
    schedules: () => answer(parts.schedules()),
    image: async ({ params, query, response, signal }) => {
      const wanted = validate(imageQuery, queryOf(query));
      const mac = await archive.resolveBoard(params['board'] ?? '');
      const [backup] = (await gatherHistory({ archive, call, signal }, mac, params['id'] ?? '')).backups;
      if (backup === undefined) throw new EspdError('archive-unknown-backup', `${mac} has no such backup`);
      if (wanted.partition !== undefined || wanted.path !== undefined) {
        return sendPart(parts.readings, backup, wanted, { response, signal });
      }
      const image = await archive.openImage(backup);
      try {
        const fileName = `${mac.replaceAll(':', '-')}_${backup.id}.bin`;
        await sendImage(image, response, { fileName, sha256: backup.manifest.image.sha256, signal });
      } finally {
        await image.close();
      }
      return undefined;
    },
    jobs: () => answer({ jobs: station.view.jobs }),
    job: ({ params }) => Promise.resolve().then(() => answer(jobJson(jobId(params)))),
    newJob: async ({ body }) => {
      const request = validate(jobRequest, await body());
      const job =
        request.kind === 'backup' ? (await backupJob(parts, request)).id : await commands.start(request, archive);
      return answer(jobJson(job), 202, { Location: `/v1/jobs/${job}` });
    },
    cancelJob: ({ params }) =>
      Promise.resolve().then(() => {
        const id = jobId(params);
        const before = jobJson(id);
        if (!daemon.cancel(id) && !commands.cancel(id)) {
          throw new HttpError(409, `Job ${id} has ended already`);
        }
        return answer(before, 202);
      }),
    confirmJob: async ({ params, body }) => {
      const id = jobId(params);
      jobJson(id);
      validate(confirmRequest, await body());
      if (!commands.confirm(id)) throw new HttpError(409, `Job ${id} does not wait for a confirmation`);
      return answer(jobJson(id), 202);
    },
    hold: async ({ params, body, signal }) => {
      const port = params['port'] ?? '';
      const { by, forSeconds, now } = validate(holdRequest, (await body()) ?? {});
      const request = { by, signal, now, mayProlong: true, ...(forSeconds !== null && { forMs: forSeconds * 1000 }) };
      // Held from now on, whether the client still waits for the job to end or not.
      const { hold } = await daemon.take(port, request);
      return answer(hold);
    },
    release: ({ params }) =>
      Promise.resolve().then(() => {
        const port = params['port'] ?? '';
        if (!daemon.release(port)) throw new HttpError(404, `${port} is not held`);
        return { status: 204, document: undefined };
      }),
    lease: (request) => serveLease(parts, request),
    events: (request) => streams.serve(request),
    doctor: () => parts.doctor().then(answer),
    reload: async () => {
      const error = await parts.reload();
      if (error !== undefined) throw error;
      return answer({ reloaded: true });
    },
    metrics: ({ response }) =>
      Promise.resolve().then(() => {
        const text = parts.metrics();
        response.writeHead(200, { 'Content-Type': METRICS_TYPE, 'Content-Length': Buffer.byteLength(text) });
        response.end(response.req.method === 'HEAD' ? '' : text);
        return undefined;
      }),
    openApi: () => answer(openApi()),
  };
  return API_PATHS.map(({ id, method, path }) => ({ method, path, value: handlers[id] }));
}

function answer(document: object, status = 200, headers: Readonly<Record<string, string>> = {}): Promise<ApiAnswer> {
  return Promise.resolve({ status, document, headers });
}

function jobId(params: ApiRequest['params']): number {
  const text = params['job'] ?? '';
  if (!/^\d{1,15}$/.test(text)) throw new HttpError(404, 'A job has a number');
  return Number(text);
}

async function backupJob(
  { archive, daemon }: ApiParts,
  request: { port?: string | undefined; board?: string | undefined; full: boolean; halfRestored: boolean },
): Promise<BoardJob> {
  const { full, halfRestored: allowHalfRestored, port, board } = request;
  const target = port === undefined ? { mac: await archive.resolveBoard(board ?? '') } : { port };
  return daemon.requestBackup(target, { full, allowHalfRestored });
}
