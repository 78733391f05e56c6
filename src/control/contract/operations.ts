/** Every operation of the API: its path, what it is for, and what it takes. The routes and OpenAPI are made of it. */

import type { z } from 'zod';
import type { Method } from '../router.ts';
import {
  backupAnswer,
  boardAnswer,
  boardsAnswer,
  doctorAnswer,
  eventAnswer,
  holdAnswer,
  jobAnswer,
  jobsAnswer,
  labelAnswer,
  leaseAnswer,
  openApiAnswer,
  pinAnswer,
  portsAnswer,
  reloadAnswer,
  schedulesAnswer,
  sizesAnswer,
  statusAnswer,
} from './answers.ts';
import { contentsAnswer, diffAnswer, retentionAnswer } from './content-answers.ts';
import {
  boardsQuery,
  confirmRequest,
  contentsQuery,
  diffQuery,
  eventsQuery,
  holdRequest,
  imageQuery,
  jobRequest,
  labelRequest,
  leaseRequest,
  pinRequest,
} from './requests.ts';

export interface Operation {
  readonly id: OperationId;
  readonly method: Method;
  readonly path: string;
  /** One line for people. */
  readonly summary: string;
  readonly body?: z.ZodType;
  readonly query?: z.ZodType;
  /** Status of an answer where all goes well, and what it holds. */
  readonly answer: {
    readonly status: number;
    readonly type: string;
    readonly what: string;
    /** Of JSON; of a stream, of each line. */
    readonly schema?: z.ZodType;
  };
}

export type OperationId =
  | 'status'
  | 'ports'
  | 'hold'
  | 'release'
  | 'lease'
  | 'boards'
  | 'board'
  | 'boardSizes'
  | 'labelBoard'
  | 'backup'
  | 'pinBackup'
  | 'contents'
  | 'image'
  | 'diff'
  | 'retention'
  | 'schedules'
  | 'jobs'
  | 'newJob'
  | 'job'
  | 'cancelJob'
  | 'confirmJob'
  | 'events'
  | 'doctor'
  | 'reload'
  | 'metrics'
  | 'openApi';

const json = (what: string, schema: z.ZodType, status = 200) => ({ status, type: 'application/json', what, schema });

export const API_PATHS: readonly Operation[] = [
  {
    ...{ id: 'status', method: 'GET', path: '/v1/status' },
    summary: 'The station: ports, jobs, what needs attention, counters, and the number of the last event',
    answer: json('the state', statusAnswer),
  },
  {
    ...{ id: 'ports', method: 'GET', path: '/v1/ports' },
    summary: 'The ports that are there, and what is done with each',
    answer: json('the ports', portsAnswer),
  },
  {
    ...{ id: 'hold', method: 'PUT', path: '/v1/ports/{port}/hold' },
    summary: 'Keep the daemon off a port; answered when its own job there has ended',
    body: holdRequest,
    answer: json('the hold', holdAnswer),
  },
  {
    ...{ id: 'release', method: 'DELETE', path: '/v1/ports/{port}/hold' },
    summary: 'Give a port back to the daemon',
    answer: { status: 204, type: '', what: 'nothing' },
  },
  {
    ...{ id: 'lease', method: 'POST', path: '/v1/ports/{port}/lease' },
    summary: 'Keep the daemon off a port for as long as this request stays open, whatever becomes of the client',
    body: leaseRequest,
    answer: {
      ...{ status: 200, type: 'application/x-ndjson', schema: leaseAnswer },
      what: 'the hold, then a sign of life from time to time',
    },
  },
  {
    ...{ id: 'boards', method: 'GET', path: '/v1/boards' },
    summary: 'The boards of the archive at a glance, as `espd list --json`; with ETag and If-None-Match',
    query: boardsQuery,
    answer: json('the boards', boardsAnswer),
  },
  {
    ...{ id: 'board', method: 'GET', path: '/v1/boards/{board}' },
    summary: 'One board by MAC or label, and all its backups, as `espd show --json`',
    answer: json('the board', boardAnswer),
  },
  {
    ...{ id: 'boardSizes', method: 'GET', path: '/v1/boards/{board}/sizes' },
    summary: 'What a board and each of its backups take on the disk, as `espd list --sizes`',
    answer: json('the sizes', sizesAnswer),
  },
  {
    ...{ id: 'labelBoard', method: 'PATCH', path: '/v1/boards/{board}' },
    summary: 'Change label, note or group of a board, as `espd label`',
    body: labelRequest,
    answer: json('what is known of it now', labelAnswer),
  },
  {
    ...{ id: 'backup', method: 'GET', path: '/v1/boards/{board}/backups/{id}' },
    summary: 'One backup: by its id, or latest, first, a date',
    answer: json('the backup', backupAnswer),
  },
  {
    ...{ id: 'pinBackup', method: 'PATCH', path: '/v1/boards/{board}/backups/{id}' },
    summary: 'Pin or unpin a backup, as `espd pin`',
    body: pinRequest,
    answer: json('whether it is pinned', pinAnswer),
  },
  {
    ...{ id: 'contents', method: 'GET', path: '/v1/boards/{board}/backups/{id}/contents' },
    summary: 'What is in a backup: map, partitions, NVS keys and files, as `espd contents --json`',
    query: contentsQuery,
    answer: json('the contents', contentsAnswer),
  },
  {
    ...{ id: 'image', method: 'GET', path: '/v1/boards/{board}/backups/{id}/image' },
    summary: 'The flash image of a backup: whole, a range of bytes, a partition, or a file in it',
    query: imageQuery,
    answer: { status: 200, type: 'application/octet-stream', what: 'the image' },
  },
  {
    ...{ id: 'diff', method: 'GET', path: '/v1/diff' },
    summary: 'What changed between two backups, as `espd diff --json`',
    query: diffQuery,
    answer: json('the differences', diffAnswer),
  },
  {
    ...{ id: 'retention', method: 'GET', path: '/v1/retention' },
    summary: 'What the policy keeps and what it removes, as `espd prune --dry-run --json`',
    answer: json('the plan', retentionAnswer),
  },
  {
    ...{ id: 'schedules', method: 'GET', path: '/v1/schedules' },
    summary: 'What is done by the clock, and when it is due next',
    answer: json('the schedules', schedulesAnswer),
  },
  {
    ...{ id: 'jobs', method: 'GET', path: '/v1/jobs' },
    summary: 'Jobs that wait or run, and the last ones that have ended',
    answer: json('the jobs', jobsAnswer),
  },
  {
    ...{ id: 'newJob', method: 'POST', path: '/v1/jobs' },
    summary: 'Ask for a job: backup, identify, verify, restore, finish, undo or prune',
    body: jobRequest,
    answer: json('the job', jobAnswer, 202),
  },
  {
    ...{ id: 'job', method: 'GET', path: '/v1/jobs/{job}' },
    summary: 'One job: its state, progress, plan and result',
    answer: json('the job', jobAnswer),
  },
  {
    ...{ id: 'cancelJob', method: 'DELETE', path: '/v1/jobs/{job}' },
    summary: 'End a job; a board that is at work is released in order',
    answer: json('the job as it was', jobAnswer, 202),
  },
  {
    ...{ id: 'confirmJob', method: 'POST', path: '/v1/jobs/{job}/confirm' },
    summary: 'Say yes to the plan of a restore',
    body: confirmRequest,
    answer: json('the job', jobAnswer, 202),
  },
  {
    ...{ id: 'events', method: 'GET', path: '/v1/events' },
    summary: 'What happens, as it happens: a JSON object a line, or Server-Sent Events',
    query: eventsQuery,
    answer: { status: 200, type: 'application/x-ndjson', what: 'events without end', schema: eventAnswer },
  },
  {
    ...{ id: 'doctor', method: 'GET', path: '/v1/doctor' },
    summary: 'What is wrong with the set-up, as the daemon sees it',
    answer: json('the findings', doctorAnswer),
  },
  {
    ...{ id: 'reload', method: 'POST', path: '/v1/reload' },
    summary: 'Load the config again',
    answer: json('that it is in force', reloadAnswer),
  },
  {
    ...{ id: 'metrics', method: 'GET', path: '/metrics' },
    summary: 'Metrics for Prometheus',
    answer: { status: 200, type: 'text/plain', what: 'the metrics' },
  },
  {
    ...{ id: 'openApi', method: 'GET', path: '/v1/openapi.json' },
    summary: 'This description',
    answer: json('an OpenAPI document', openApiAnswer),
  },
];
