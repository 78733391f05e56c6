/**
 * Requests to one bucket, signed (AWS Signature Version 4, by aws4fetch): where a key is found, with whose credentials,
 * and at which time. A machine whose clock is wrong signs with the time of the server instead.
 */

import { AwsV4Signer } from 'aws4fetch';
import { createHash } from 'node:crypto';
import type { Clock } from '../clock.ts';
import type { Logger } from '../log.ts';
import { type Credentials, type SecretPlace, readCredentials } from './credentials.ts';
import { s3Code } from './faults.ts';
import { type HttpAnswer, HttpClient, type HttpParts } from './http.ts';

export interface BucketPlace {
  /** `https://s3.eu-central-1.amazonaws.com`. */
  readonly endpoint: string;
  readonly bucket: string;
  readonly region: string;
  /** `path`: the bucket is the first part of the path. `host`: it stands in front of the host's name. */
  readonly addressing: 'path' | 'host';
  readonly credentials: SecretPlace | null;
}

export interface SignedRequest {
  readonly method: string;
  /** Empty: the bucket itself. */
  readonly key: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  /** Default: 1 MiB. */
  readonly maxAnswerBytes?: number;
  /** The time that it is signed with, of {@link SignedHttp.now}; absent = now. */
  readonly asOf?: number;
  readonly signal: AbortSignal | undefined;
}

export interface SignedHttpParts extends HttpParts {
  readonly clock: Clock;
  readonly log: Logger;
  /** Credentials may be in it. */
  readonly env: NodeJS.ProcessEnv;
}

const NOTHING = Buffer.alloc(0);
const SHA256_OF_NOTHING = createHash('sha256').digest('hex');
const DEFAULT_ANSWER_BYTES = 1024 * 1024;
/** Servers take signatures that are at most 15 minutes off. */
const NEWS_MS = 60_000;
/** What credentials say is read again so often, and at once when they are refused. */
const CREDENTIALS_MS = 60_000;

export class SignedHttp {
  /** Without secrets. */
  readonly place: string;
  readonly #place: BucketPlace;
  readonly #parts: SignedHttpParts;
  readonly #http: HttpClient;
  /** Of the server's time over ours. */
  #aheadMs = 0;
  #credentials: { readonly value: Credentials; readonly atMs: number } | undefined;
  readonly #signingKeys = new Map<string, ArrayBuffer>();

  constructor(place: BucketPlace, parts: SignedHttpParts) {
    this.#place = place;
    this.#parts = parts;
    this.#http = new HttpClient(parts);
    this.place = `${place.bucket} at ${new URL(place.endpoint).host}`;
  }

  close(): void {
    this.#http.close();
  }

  /** The time that a request is signed with now, ms since 1970. */
  now(): number {
    return this.#parts.clock.date().getTime() + this.#aheadMs;
  }

  /** @throws EspdError `store-unreachable`, `store-credentials`, `store-failed`; the signal's reason */
  async send(request: SignedRequest): Promise<HttpAnswer> {
    const answer = await this.#sendOnce(request);
    const code = s3Code(answer);
    // The answer to a HEAD says no more than that it is refused; the time in it may be why.
    const isLate = code === 'RequestTimeTooSkewed' || (request.method === 'HEAD' && answer.status === 403);
    const isNews = isLate && this.#takeTimeOf(answer);
    // Whoever binds a request to a time has it refused later.
    if (isNews && request.asOf === undefined) return this.#sendOnce(request);
    // A HEAD that is refused has no code.
    if (answer.status === 403 || code.startsWith('Expired')) this.#credentials = undefined;
    return answer;
  }

  async #sendOnce({
    method,
    key,
    query = {},
    headers,
    body = NOTHING,
    signal,
    asOf = this.now(),
    ...rest
  }: SignedRequest): Promise<HttpAnswer> {
    const { accessKeyId, secretAccessKey, sessionToken } = await this.#readCredentials();
    if (this.#signingKeys.size > 8) this.#signingKeys.clear();
    const signer = new AwsV4Signer({
      ...{ method, accessKeyId, secretAccessKey, service: 's3', region: this.#place.region },
      ...(sessionToken === null ? {} : { sessionToken }),
      url: this.#urlOf(key, query).href,
      headers: { 'x-amz-content-sha256': body.length === 0 ? SHA256_OF_NOTHING : sha256Of(body, headers), ...headers },
      datetime: new Date(asOf).toISOString().replace(/[:-]|\.\d{3}/g, ''),
      cache: this.#signingKeys,
    });
    const signed = await signer.sign();
    return this.#http.send({
      ...{ method, url: signed.url, body, signal },
      headers: { 'user-agent': 'espd', ...Object.fromEntries(signed.headers) },
      maxAnswerBytes: rest.maxAnswerBytes ?? DEFAULT_ANSWER_BYTES,
    });
  }

  #urlOf(key: string, query: Readonly<Record<string, string>>): URL {
    const { endpoint, bucket, addressing } = this.#place;
    const url = new URL(endpoint);
    const folder = url.pathname.replace(/\/$/, '');
    const path = key.split('/').map(encodeURIComponent).join('/');
    if (addressing === 'host') url.hostname = `${bucket}.${url.hostname}`;
    url.pathname = addressing === 'host' ? `${folder}/${path}` : `${folder}/${bucket}${key === '' ? '' : `/${path}`}`;
    // Spaces as %20, for the server and for the signature.
    const pairs = Object.entries(query).map(
      ([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`,
    );
    url.search = pairs.join('&');
    return url;
  }

  async #readCredentials(): Promise<Credentials> {
    const { clock, env } = this.#parts;
    if (this.#credentials === undefined || clock.now() - this.#credentials.atMs > CREDENTIALS_MS) {
      this.#credentials = { value: await readCredentials(this.#place.credentials, env), atMs: clock.now() };
    }
    return this.#credentials.value;
  }

  /** Whether that is news, so that another try may succeed. */
  #takeTimeOf({ headers }: HttpAnswer): boolean {
    const { clock, log } = this.#parts;
    const theirsMs = Date.parse(headers['date'] ?? '');
    const aheadMs = theirsMs - clock.date().getTime();
    if (!Number.isFinite(aheadMs) || Math.abs(aheadMs - this.#aheadMs) < NEWS_MS) return false;
    this.#aheadMs = aheadMs;
    const minutes = Math.round(aheadMs / 60_000);
    log.warn('The clock of this machine differs from that of the object store, whose time signs the requests', {
      minutes,
    });
    return true;
  }
}

/** The digest that was calculated already, if it was. */
function sha256Of(body: Uint8Array, headers: Readonly<Record<string, string>> = {}): string {
  return headers['x-amz-content-sha256'] ?? createHash('sha256').update(body).digest('hex');
}
