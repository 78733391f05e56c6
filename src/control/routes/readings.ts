/** Answers that a process of its own makes (readings.ts): what is in a backup, what changed, what a policy does. */

import type { Archive, Backup } from '../../archive/types.ts';
import { backupBefore } from '../../documents/contents.ts';
import { EspdError } from '../../errors.ts';
import type { Mac } from '../../mac.ts';
import { meantBackup } from '../../transfer/meant-backup.ts';
import { contentsQuery, diffQuery } from '../contract/requests.ts';
import { drained } from '../drained.ts';
import { type Readings, tagOf } from '../readings.ts';
import type { ApiRequest } from '../server.ts';
import { queryOf, validate } from '../validate.ts';

export interface ReadingRoutesParts {
  readonly archive: Archive;
  readonly readings: Readings;
}

/** `GET /v1/boards/{board}/backups/{id}/contents` */
export async function sendContents({ archive, readings }: ReadingRoutesParts, request: ApiRequest): Promise<undefined> {
  const { reveal } = validate(contentsQuery, queryOf(request.query));
  const backup = await backupOf(archive, request.params['board'] ?? '', request.params['id'] ?? '');
  // The map compares with the backup before: an import may put another one there.
  const before = await backupBefore(archive, backup);
  const tag = tagOf('contents', factOf(backup), before === null ? '' : factOf(before), reveal);
  const args = ['contents', nameOf(backup), ...(reveal === 'true' ? ['--reveal'] : [])];
  return sendDocument(readings, request, args, tag);
}

/** `GET /v1/diff` */
export async function sendDiff({ archive, readings }: ReadingRoutesParts, request: ApiRequest): Promise<undefined> {
  const { from, to, reveal } = validate(diffQuery, queryOf(request.query));
  const [before, after] = [await sideOf(archive, from), await sideOf(archive, to)];
  const tag = tagOf('diff', factOf(before), factOf(after), reveal);
  const args = ['diff', nameOf(before), nameOf(after), ...(reveal === 'true' ? ['--reveal'] : [])];
  return sendDocument(readings, request, args, tag);
}

/** `GET /v1/retention` */
export function sendRetention({ readings }: ReadingRoutesParts, request: ApiRequest): Promise<undefined> {
  return sendDocument(readings, request, ['prune', '--dry-run'], undefined);
}

/** What is wanted of an image. */
export interface WantedPart {
  readonly partition?: string | undefined;
  readonly path?: string | undefined;
}

/**
 * A partition of an image, or a file in it, as `espd export` hands it out: the backup is verified first. How long it is
 * cannot be known before, so it comes in chunks; where it breaks off, the connection does.
 */
export async function sendPart(
  readings: Readings,
  backup: Backup,
  { partition, path }: WantedPart,
  { response, signal }: Pick<ApiRequest, 'response' | 'signal'>,
): Promise<undefined> {
  const args = [
    ...['export', nameOf(backup), '-'],
    ...(partition === undefined ? [] : [`--partition=${partition}`]),
    ...(path === undefined ? [] : [`--file=${path}`]),
  ];
  const tag = tagOf('part', factOf(backup), partition ?? '', path ?? '');
  const begin = () => {
    response.writeHead(200, {
      'Content-Type': 'application/octet-stream',
      'Content-Disposition': `attachment; filename="${fileNameOf(backup, partition, path)}"`,
      ETag: tag,
    });
  };
  if (isKnown(response.req.headers['if-none-match'], tag)) {
    response.writeHead(304, { ETag: tag }).end();
    return undefined;
  }
  if (response.req.method === 'HEAD') {
    await firstOutput(readings, args, signal);
    begin();
    response.end();
    return undefined;
  }
  await readings.stream(
    args,
    async (bytes) => {
      if (!response.headersSent) begin();
      response.write(bytes);
      await drained(response);
    },
    signal,
  );
  // An empty file.
  if (!response.headersSent) begin();
  response.end();
  return undefined;
}

/**
 * Until a command has something to say: by then it has refused what it refuses. What else it says is for nobody.
 * @throws EspdError as {@link Readings.stream}
 */
async function firstOutput(readings: Readings, args: readonly string[], signal: AbortSignal): Promise<void> {
  const enough = new AbortController();
  const onOutput = () => {
    enough.abort();
    return Promise.resolve();
  };
  try {
    await readings.stream(args, onOutput, AbortSignal.any([signal, enough.signal]));
  } catch (error) {
    if (!enough.signal.aborted) throw error;
    signal.throwIfAborted();
  }
}

/** @param tag undefined = it may change at any time */
async function sendDocument(
  readings: Readings,
  { response, signal }: ApiRequest,
  args: readonly string[],
  tag: string | undefined,
): Promise<undefined> {
  const headers = tag === undefined ? {} : { ETag: tag, 'Cache-Control': 'private, no-cache' };
  if (tag !== undefined && isKnown(response.req.headers['if-none-match'], tag)) {
    response.writeHead(304, headers).end();
    return undefined;
  }
  const document = await readings.document(args, tag, signal);
  response.writeHead(200, {
    ...headers,
    'Content-Type': 'application/json; charset=utf-8',
    'Content-Length': document.length,
  });
  response.end(response.req.method === 'HEAD' ? '' : document);
  return undefined;
}

/** RFC 9110 13.1.2, by weak comparison. */
function isKnown(header: string | undefined, tag: string): boolean {
  return header?.split(',').some((one) => one.trim().replace(/^W\//, '') === tag) ?? false;
}

async function backupOf(archive: Archive, board: string, which: string): Promise<Backup> {
  const mac: Mac = await archive.resolveBoard(board);
  return meantBackup(archive, mac, which);
}

/** @throws EspdError `usage` where no backup is named */
function sideOf(archive: Archive, text: string): Promise<Backup> {
  const at = text.lastIndexOf('@');
  if (at <= 0 || at === text.length - 1) {
    throw new EspdError('usage', 'Each side of a comparison is BOARD@WHICH', {
      hint: '/v1/diff?from=kitchen@first&to=kitchen@latest',
    });
  }
  return backupOf(archive, text.slice(0, at), text.slice(at + 1));
}

function nameOf({ mac, id }: Backup): string {
  return `${mac}@${id}`;
}

/** A backup is not changed: which one it is, and what it holds, is all that an answer depends on. */
function factOf({ mac, id, manifest }: Backup): string {
  return `${mac} ${id} ${manifest.image.sha256}`;
}

/** Only what every file system and header takes. */
function fileNameOf({ mac, id }: Backup, partition: string | undefined, path: string | undefined): string {
  const name = path === undefined ? `${partition}.bin` : (path.split('/').at(-1) ?? '');
  return `${mac.replaceAll(':', '-')}_${id}_${name.replace(/[^\w.-]/g, '_').slice(0, 100)}`;
}
