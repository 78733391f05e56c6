/** Requests for jobs to the command lines that do them. */

import type { Archive } from '../archive/types.ts';
import type { JobKind } from '../daemon/event-types.ts';
import { EspdError } from '../errors.ts';
import { type Mac, parseMac } from '../mac.ts';
import { finishArguments, finishCommand } from '../transfer/finish-command.ts';
import type { JobRequest } from './contract/requests.ts';
import { HttpError } from './problem.ts';

export type CommandRequest = Exclude<JobRequest, { kind: 'backup' }>;

/** What of the archive a command line is made of. */
export type JobArchive = Pick<Archive, 'resolveBoard' | 'halfRestored'>;

export interface JobCommand {
  readonly args: readonly string[];
  /** As events name it: finishing and undoing are restores. */
  readonly kind: JobKind;
  /** The board that it is about; null for none, or for many. */
  readonly mac: Mac | null;
  readonly port: string | null;
}

/** @throws EspdError `archive-unknown-board`, `usage`; HttpError 409 where there is nothing to finish */
export async function commandOf(request: CommandRequest, archive: JobArchive): Promise<JobCommand> {
  const { kind } = request;
  switch (kind) {
    case 'identify':
      return { args: ['identify', `--port=${request.port}`], kind, mac: null, port: request.port };
    case 'verify': {
      const mac = request.board === undefined ? null : await archive.resolveBoard(request.board);
      return { args: ['verify', ...(mac === null ? [] : [`--mac=${mac}`])], kind, mac, port: null };
    }
    case 'pull': {
      const mac = await archive.resolveBoard(request.board);
      return { args: ['pull', `${mac}@${request.at}`], kind, mac, port: null };
    }
    case 'prune':
      return { args: ['prune', request.dryRun ? '--dry-run' : '--yes'], kind, mac: null, port: null };
    case 'restore':
      return restoreCommand(request, await archive.resolveBoard(request.board));
    case 'finish':
      return finishCommandOf(request, archive);
    case 'undo': {
      const mac = await archive.resolveBoard(request.board);
      const { port = null } = request;
      return { args: ['undo', mac, ...portOption(port)], kind: 'restore', mac, port };
    }
  }
}

function restoreCommand(request: Extract<CommandRequest, { kind: 'restore' }>, mac: Mac): JobCommand {
  const { kind, at, dryRun, many, count, partitions, keep, port = null } = request;
  const kept = keep.map((name) => `--keep=${name}`);
  if (many) {
    const some = count === undefined ? [] : [`--count=${count}`];
    return {
      args: ['restore', `--from=${mac}`, `--at=${at}`, '--many', ...some, ...kept],
      kind,
      mac: null,
      port: null,
    };
  }
  const to = request.to === undefined ? undefined : parseMac(request.to);
  if (request.to !== undefined && to === undefined) {
    throw new EspdError('usage', '"to" is no MAC', { hint: 'Give it in full: 50:02:91:c3:37:a5' });
  }
  const args = [
    ...['restore', `--mac=${mac}`, `--at=${at}`, ...portOption(port)],
    ...(to === undefined ? [] : [`--to=${to}`]),
    ...partitions.map((name) => `--partition=${name}`),
    ...kept,
    ...(dryRun ? ['--dry-run'] : []),
  ];
  return { args, kind, mac: to ?? mac, port };
}

/** As it was begun, but that it asks again, and at the port that is named now. */
async function finishCommandOf(
  { board, port: wanted }: Extract<CommandRequest, { kind: 'finish' }>,
  archive: JobArchive,
): Promise<JobCommand> {
  const mac = await archive.resolveBoard(board);
  const half = await archive.halfRestored(mac);
  if (half === null) throw new HttpError(409, `No restore of ${mac} was interrupted`);
  const { record } = half;
  if (record === null) {
    throw new HttpError(409, `The record of what is half on ${mac} ${half.problem}`, half.hint ?? 'Restore a backup');
  }
  if (record.archive !== null) {
    throw new HttpError(
      409,
      'The image is in another archive than that of the daemon',
      finishCommand(record, ['espd']),
    );
  }
  const port = wanted ?? record.options.port;
  const args = finishArguments({ ...record, options: { ...record.options, port, yes: false } });
  return { args, kind: 'restore', mac, port };
}

function portOption(port: string | null): string[] {
  return port === null ? [] : [`--port=${port}`];
}
