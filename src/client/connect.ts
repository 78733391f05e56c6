/** A session with the daemon at a unix socket: an HTTP request that asks for another protocol (RFC 9110, 7.8). */

import { request, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import {
  ARCHIVE_HEADER,
  SESSION_PATH,
  SESSION_PROTOCOL,
  VERSION_HEADER,
} from '../control/contract/session-messages.ts';
import { type Clock, sleep } from '../clock.ts';
import { ERROR_CODES, type ErrorCode, EspdError, systemCode } from '../errors.ts';
import { printable } from '../printable.ts';
import { VERSION } from '../version.ts';
import { busy, silent } from './daemon-errors.ts';

export type Connection =
  | { readonly kind: 'session'; readonly socket: Duplex; readonly head: Buffer; readonly archivePath: string | null }
  /** Nobody listens. */
  | { readonly kind: 'absent' }
  /** The socket is there, and closed to this user. */
  | { readonly kind: 'denied' }
  /** Somebody answers, and is no daemon that this espd can speak to. */
  | { readonly kind: 'other'; readonly version: string | null };

/** A daemon answers from memory; one that is stopped (SIGSTOP) takes connections all the same. */
export const ANSWER_MS = 10_000;
/** connect(2) gives EAGAIN while too many connections wait to be accepted. */
export const BACKLOG = { attempts: 20, waitMs: 100 };
const MAX_PROBLEM_BYTES = 64 * 1024;

/**
 * @throws EspdError `daemon-busy`, or another code that the daemon refuses with; `daemon-gone` when it does not answer;
 *   the signal's reason
 */
export async function connect(
  path: string,
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<Connection> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await connectOnce(path, signal);
    } catch (error) {
      signal.throwIfAborted();
      const code = systemCode(error);
      if (code === 'EAGAIN' && attempt < BACKLOG.attempts) await sleep(clock, BACKLOG.waitMs, signal);
      else if (code === 'EAGAIN') throw busy(error);
      else if (code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'ENOTDIR') return { kind: 'absent' };
      else if (code === 'EACCES' || code === 'EPERM') return { kind: 'denied' };
      else if (error instanceof EspdError) throw error;
      else return { kind: 'other', version: null };
    }
  }
}

function connectOnce(path: string, signal: AbortSignal): Promise<Connection> {
  return new Promise((resolve, reject) => {
    const asking = request({
      socketPath: path,
      path: SESSION_PATH,
      headers: { connection: 'Upgrade', upgrade: SESSION_PROTOCOL, [VERSION_HEADER]: VERSION, host: 'espd' },
      signal,
      timeout: ANSWER_MS,
    });
    asking.on('timeout', () => asking.destroy(silent(path)));
    asking.on('error', reject);
    asking.on('upgrade', ({ headers }, socket, head) => {
      // The limit was that of the answer.
      socket.setTimeout(0);
      if (headers.upgrade === SESSION_PROTOCOL) {
        resolve({ kind: 'session', socket, head, archivePath: archiveOf(headers) });
        return;
      }
      socket.destroy();
      resolve({ kind: 'other', version: versionOf(headers) });
    });
    asking.on('response', (response) => {
      refusalOf(response).then(
        (refusal) =>
          refusal === undefined ? resolve({ kind: 'other', version: versionOf(response.headers) }) : reject(refusal),
        reject,
      );
    });
    asking.end();
  });
}

function archiveOf(headers: IncomingHttpHeaders): string | null {
  const value = headers[ARCHIVE_HEADER];
  if (typeof value !== 'string') return null;
  try {
    return decodeURIComponent(value);
  } catch {
    return null;
  }
}

function versionOf(headers: IncomingHttpHeaders): string | null {
  const value = headers[VERSION_HEADER];
  return typeof value === 'string' ? printable(value) : null;
}

/** What the daemon says against it (RFC 9457), in espd's words; undefined where it just does not know such sessions. */
async function refusalOf(response: IncomingMessage): Promise<EspdError | undefined> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    if (sizeBytes > MAX_PROBLEM_BYTES) break;
    chunks.push(chunk);
  }
  const refusal = problemError(Buffer.concat(chunks).toString('utf8'));
  return refusal?.code === 'daemon-protocol' ? undefined : refusal;
}

/** A problem document of espd's as the error that it tells; undefined for anything else. */
export function problemError(text: string): EspdError | undefined {
  let problem: unknown;
  try {
    problem = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof problem !== 'object' || problem === null) return undefined;
  const { code, detail, hint } = problem as Readonly<Record<string, unknown>>;
  if (!isErrorCode(code) || typeof detail !== 'string') return undefined;
  return new EspdError(code, printable(detail), { hint: typeof hint === 'string' ? printable(hint) : '' });
}

function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && Object.hasOwn(ERROR_CODES, code);
}
