/** One POST: signed, bounded in time and in what is read. A redirect is never followed, wherever it leads. */

import { createHmac } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Clock } from '../clock.ts';
import { systemCode } from '../errors.ts';

/** From the beginning to the end of the answer. */
export const POST_LIMIT_MS = 15_000;
/** More of an answer is not read: nothing of it is used. */
const MAX_ANSWER_BYTES = 64 * 1024;

export interface Post {
  /** `http:` or `https:`. */
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** `again`: it may go well later. `never`: the server has understood, and does not want it. */
export interface PostEnd {
  readonly result: 'done' | 'again' | 'never';
  /** Empty where it is done. Holds no part of the URL, which may be a secret. */
  readonly reason: string;
}

/** Never rejects. */
export function post({ url, headers, body, clock, signal }: Post): Promise<PostEnd> {
  return new Promise((resolve) => {
    const open = url.protocol === 'https:' ? httpsRequest : httpRequest;
    const bytes = Buffer.from(body);
    let isOver = false;
    const finish = (end: PostEnd) => {
      if (isOver) return;
      isOver = true;
      cancel();
      signal.removeEventListener('abort', onAbort);
      resolve(end);
      request?.destroy();
    };
    const cancel = clock.schedule(POST_LIMIT_MS, () =>
      finish({ result: 'again', reason: `no whole answer within ${POST_LIMIT_MS / 1000} s` }),
    );
    const onAbort = () => finish({ result: 'again', reason: 'the service stops' });
    let request: ReturnType<typeof httpRequest> | undefined;
    try {
      request = open(url, { method: 'POST', agent: false, headers: { ...headers, 'content-length': bytes.length } });
    } catch (error) {
      finish({ result: 'never', reason: `it cannot be sent (${systemCode(error) ?? 'unknown fault'})` });
      return;
    }
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    request.on('error', (error) =>
      finish({ result: 'again', reason: `the server cannot be reached (${systemCode(error) ?? 'unknown fault'})` }),
    );
    request.on('response', (response) => {
      const end = judge(response.statusCode ?? 0);
      let readBytes = 0;
      response.on('data', (chunk: Buffer) => {
        readBytes += chunk.length;
        if (readBytes > MAX_ANSWER_BYTES) finish(end);
      });
      response.on('end', () => finish(end));
      response.on('error', () => finish(end));
    });
    request.end(bytes);
  });
}

/** 408, 425 and 429 pass by themselves (RFC 9110, 8470, 6585); other refusals do not. */
function judge(status: number): PostEnd {
  if (status >= 200 && status < 300) return { result: 'done', reason: '' };
  if (status >= 300 && status < 400) {
    return {
      result: 'never',
      reason: `the server redirects (${status}), which is not followed: give the URL it leads to`,
    };
  }
  const isPassing = status < 400 || status >= 500 || [408, 425, 429].includes(status);
  return { result: isPassing ? 'again' : 'never', reason: `the server answers ${status}` };
}

/**
 * The headers of https://www.standardwebhooks.com: HMAC-SHA256 in base64 over `id.timestamp.body`. A secret that begins
 * with `whsec_` is base64, any other one is taken as its UTF-8 bytes.
 */
export function signatureHeaders(
  secret: string,
  { id, atSeconds, body }: { readonly id: string; readonly atSeconds: number; readonly body: string },
): Record<string, string> {
  const key = secret.startsWith('whsec_') ? Buffer.from(secret.slice('whsec_'.length), 'base64') : Buffer.from(secret);
  const signature = createHmac('sha256', key).update(`${id}.${atSeconds}.${body}`).digest('base64');
  return { 'webhook-id': id, 'webhook-timestamp': String(atSeconds), 'webhook-signature': `v1,${signature}` };
}
