/** The only way out of the page: requests to the API of the daemon (docs/api.md), at the server that the page came from. */

import { signal } from '@preact/signals';

/** What went wrong, as the API tells it. */
export class ApiError extends Error {
  readonly code: string;
  readonly hint: string;
  /** 0 = there was no answer. */
  readonly status: number;

  constructor(message: string, { code, hint, status }: { code: string; hint: string; status: number }) {
    super(message);
    this.code = code;
    this.hint = hint;
    this.status = status;
  }
}

/** How a session is got where there is none: by a new link of `espd web`, or by a password. */
export type LoginKind = 'link' | 'password';

export interface Session {
  readonly csrf: string;
  readonly kind: LoginKind;
}

/** `unknown` until the server was asked; `missing`: nothing can be done before somebody has logged in. */
export const session = signal<Session | { readonly missing: LoginKind } | 'unknown'>('unknown');

/** @throws ApiError but for a missing session, which {@link session} then tells */
export async function openSession(): Promise<void> {
  const response = await send('/web/session', {});
  const document = await documentOf(response);
  if (response.status === 401) {
    session.value = { missing: field(document, 'kind') === 'password' ? 'password' : 'link' };
    return;
  }
  if (!response.ok) throw errorOf(response, document);
  session.value = { csrf: field(document, 'csrf'), kind: field(document, 'kind') === 'password' ? 'password' : 'link' };
}

/** @throws ApiError `login-refused`, or too many trials: status 429 */
export async function logIn(password: string): Promise<void> {
  const response = await send('/web/login', { method: 'POST', body: { password } });
  if (!response.ok) throw errorOf(response, await documentOf(response));
  await openSession();
}

/** Of a password's session; that of a link ends with `espd web`. @throws ApiError */
export async function logOut(): Promise<void> {
  const response = await send('/web/logout', { method: 'POST' });
  if (!response.ok && response.status !== 401) throw errorOf(response, await documentOf(response));
  await openSession();
}

export interface Question {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly body?: unknown;
  readonly signal?: AbortSignal | undefined;
  readonly ifNoneMatch?: string;
}

/**
 * The JSON document of an answer; undefined where it has none.
 * @throws ApiError; the signal's reason
 */
export async function ask<T = unknown>(path: string, question: Question = {}): Promise<T> {
  let response = await send(path, question);
  if (response.status === 403 && question.method !== undefined && question.method !== 'GET') {
    // The server was started again: its token is another one.
    await openSession();
    response = await send(path, question);
  }
  const document = await documentOf(response);
  if (response.ok) return document as T;
  if (response.status === 401) await openSession();
  throw errorOf(response, document);
}

/**
 * A document that the page may have already, by the tag that came with it (RFC 9110, 13.1.2).
 * @param tag null = the page has none
 * @throws ApiError, also without a session: whoever asks again and again by a clock asks nobody then
 */
export async function askIfChanged(
  path: string,
  tag: string | null,
): Promise<{ readonly document: unknown; readonly tag: string | null } | 'unchanged'> {
  if (session.value === 'unknown' || 'missing' in session.value) {
    throw new ApiError('Nobody has logged in here', { code: 'login-needed', hint: '', status: 401 });
  }
  const response = await send(path, tag === null ? {} : { ifNoneMatch: tag });
  if (response.status === 304) return 'unchanged';
  const document = await documentOf(response);
  if (response.ok && document !== undefined) return { document, tag: response.headers.get('ETag') };
  if (response.status === 401) await openSession();
  throw errorOf(response, document);
}

/** A stream of lines of JSON. @throws ApiError before the first line */
export async function* askLines(path: string, signal: AbortSignal): AsyncGenerator<unknown, void, undefined> {
  const response = await send(path, { signal });
  if (!response.ok || response.body === null) {
    const document = await documentOf(response);
    if (response.status === 401) await openSession();
    throw errorOf(response, document);
  }
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    let rest = '';
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) if (line !== '') yield JSON.parse(line) as unknown;
    }
  } finally {
    void reader.cancel().catch(() => undefined);
  }
}

async function send(path: string, { method = 'GET', body, signal, ifNoneMatch }: Question): Promise<Response> {
  const { value } = session;
  const headers: Record<string, string> = {};
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (ifNoneMatch !== undefined) headers['If-None-Match'] = ifNoneMatch;
  if (method !== 'GET' && value !== 'unknown' && 'csrf' in value) headers['X-Espd-Csrf'] = value.csrf;
  try {
    return await fetch(path, {
      ...{ method, headers, credentials: 'same-origin', cache: 'no-store' },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      ...(signal !== undefined && { signal }),
    });
  } catch (error) {
    signal?.throwIfAborted();
    throw new ApiError('The server of this page does not answer', {
      code: 'unreachable',
      hint: 'Is "espd web" still running? The page goes on by itself once it answers',
      status: 0,
      ...(error instanceof Error && { cause: error }),
    });
  }
}

async function documentOf(response: Response): Promise<unknown> {
  if (response.status === 204) return undefined;
  try {
    return await response.json();
  } catch {
    return undefined;
  }
}

function errorOf(response: Response, problem: unknown): ApiError {
  return new ApiError(
    field(problem, 'detail') || field(problem, 'title') || `The server answered with status ${response.status}`,
    { code: field(problem, 'code') || 'internal', hint: field(problem, 'hint'), status: response.status },
  );
}

function field(document: unknown, name: string): string {
  if (typeof document !== 'object' || document === null) return '';
  const value: unknown = Reflect.get(document, name);
  return typeof value === 'string' ? value : '';
}
