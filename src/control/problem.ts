/** Errors as HTTP tells them: RFC 9457 (https://www.rfc-editor.org/rfc/rfc9457), with espd's code and hint beside. */

import { STATUS_CODES } from 'node:http';
import { ERROR_CODES, EXIT, type ErrorCode, EspdError } from '../errors.ts';

/** An error that has a status of its own, because it is of HTTP and not of espd. */
export class HttpError extends EspdError {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, message: string, hint = '', headers: Readonly<Record<string, string>> = {}) {
    super('usage', message, { hint });
    this.status = status;
    this.headers = headers;
  }
}

export const PROBLEM_TYPE = 'application/problem+json';

export interface Problem {
  readonly type: 'about:blank';
  /** What the code means. */
  readonly title: string;
  readonly status: number;
  /** What happened, one clear sentence. */
  readonly detail: string;
  /** A code of espd: docs/errors.md. */
  readonly code: ErrorCode;
  /** What can be done about it; empty where nothing useful can be said. */
  readonly hint: string;
}

export function problemOf(error: EspdError): Problem {
  const { code, message, hint } = error;
  const title = error instanceof HttpError ? (STATUS_CODES[error.status] ?? '') : ERROR_CODES[code].meaning;
  return { type: 'about:blank', title, status: statusOf(error), detail: message, code, hint };
}

/** By the code, and else by the exit status that a command would end with. */
export function statusOf(error: EspdError): number {
  if (error instanceof HttpError) return error.status;
  switch (error.code) {
    case 'login-needed':
    case 'login-refused':
      return 401;
    case 'forbidden':
      return 403;
    case 'login-limited':
      return 429;
    case 'port-busy':
    case 'label-taken':
    case 'archive-elsewhere':
      return 409;
    case 'interrupted':
    case 'daemon-busy':
      return 503;
    case 'disk-full':
      return 507;
    default:
  }
  switch (error.exitStatus) {
    case EXIT.usage:
      return 400;
    case EXIT.notFound:
      return 404;
    case EXIT.refused:
      return 409;
    default:
      return 500;
  }
}
