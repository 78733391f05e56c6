/**
 * A store of objects with the S3 interface, in memory, that does wrong what it is told to do wrong. It shares no code with
 * the client. Signatures it does not check: the real server of `real-store.test.ts` does.
 */

import { createHash } from 'node:crypto';
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, beforeEach } from 'node:test';

export interface Seen {
  readonly method: string;
  readonly key: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
  readonly sizeBytes: number;
}

/**
 * `cut-before`: the connection goes before anything is done. `cut-after`: it is done, and the answer is lost.
 * `cut-inside`: half of the answer comes. `hang`: nothing ever comes. Else an answer of S3.
 */
export type Fault =
  | 'cut-before'
  | 'cut-after'
  | 'cut-inside'
  | 'hang'
  | { readonly status: number; readonly code: string; readonly headers?: Record<string, string> };

export interface Quirks {
  /** Conditional writes are accepted, and their conditions not looked at. */
  ignoresConditions?: boolean;
  /** If-None-Match is looked at before the body has come, so that two at once both win. */
  racesConditions?: boolean;
  refusesConditions?: boolean;
  ignoresRange?: boolean;
  /** Lists leave out what was put last. */
  staleLists?: boolean;
  /** Bytes are changed before they are stored, and no digest is looked at. */
  corrupts?: boolean;
  noMultipart?: boolean;
  /** Lists begin at their beginning, whatever is asked. */
  ignoresAfter?: boolean;
  capacityBytes?: number;
  /** Its clock is so far ahead of ours. */
  aheadMs?: number;
  /** Lists are late: they name what there was then. */
  listed?: ReadonlyMap<string, Stored>;
  /** The bucket has object lock, and keeps what is removed or overwritten in {@link FakeS3.versions}. */
  objectLock?: boolean;
  /** Encrypted by the server with keys of a key service: no ETag is an MD5. */
  hidesMd5?: boolean;
  /** Keys of objects whose bytes come otherwise than they were put, under the ETag that they had. */
  rotten?: (key: string) => boolean;
  /** Does not say when an object was written. */
  hidesAges?: boolean;
}

export interface Stored {
  readonly bytes: Buffer;
  readonly etag: string;
  /** By its own clock, ms since 1970; absent = now. */
  readonly atMs?: number;
  readonly isHeld?: boolean;
}

interface Reply {
  readonly status: number;
  readonly body: string | Buffer;
  readonly headers: Readonly<Record<string, string>>;
}

const answer = (status: number, body: string | Buffer = '', headers: Reply['headers'] = {}): Reply => ({
  status,
  body,
  headers,
});

const refuse = (status: number, code: string, headers: Reply['headers'] = {}): Reply =>
  answer(status, `<?xml version="1.0"?><Error><Code>${code}</Code><Message>no</Message></Error>`, headers);

const md5 = (bytes: Uint8Array) => createHash('md5').update(bytes).digest('hex');

export class FakeS3 {
  readonly objects = new Map<string, Stored>();
  readonly uploads = new Map<string, { readonly key: string; readonly parts: Map<number, Stored> }>();
  readonly seen: Seen[] = [];
  /** With object lock: what had a key before, in order. */
  readonly versions: (Stored & { readonly key: string })[] = [];
  quirks: Quirks = {};
  bucket = 'boards';
  region = 'us-east-1';
  /** By access key. */
  keys = new Map<string, 'all' | 'read' | 'add' | 'expired'>([['writer', 'all']]);
  /** Asked for every request. */
  fault: (seen: Seen) => Fault | undefined = () => undefined;
  /** Asked for every request before anything is done with it, and waited for. */
  hold: (seen: Seen) => Promise<void> | undefined = () => undefined;
  #uploadCount = 0;
  #last = '';
  readonly #server = createServer((request, response) => {
    void this.#serve(request, response).catch(() => response.destroy());
  });

  async start(port = 0): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(port, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Names of all objects, sorted. */
  get names(): string[] {
    return [...this.objects.keys()].sort();
  }

  /** As somebody would do who is no espd. */
  replace(key: string, bytes: Buffer): void {
    this.objects.set(key, { bytes, etag: md5(bytes), atMs: this.#nowMs() });
  }

  text(key: string): string {
    return this.objects.get(key)?.bytes.toString('utf8') ?? '';
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://fake');
    const [, bucket = '', ...rest] = url.pathname.split('/');
    const key = decodeURIComponent(rest.join('/'));
    const isWonBefore = this.quirks.racesConditions === true && !this.objects.has(key);
    if (isWonBefore) await new Promise((resolve) => setTimeout(resolve, 20));
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const method = request.method ?? '';
    const seen = { method, key, query: url.searchParams, headers: request.headers, sizeBytes: body.length };
    this.seen.push(seen);
    await this.hold(seen);
    const fault = this.fault(seen);
    if (fault === 'hang') return;
    if (fault === 'cut-before') {
      response.destroy();
      return;
    }
    const reply =
      typeof fault === 'object'
        ? refuse(fault.status, fault.code, fault.headers)
        : this.#replyTo(seen, body, bucket, isWonBefore);
    if (fault === 'cut-after') {
      response.destroy();
      return;
    }
    const bytes = Buffer.from(reply.body);
    const date = new Date(this.#nowMs()).toUTCString();
    response.writeHead(reply.status, { date, 'content-length': String(bytes.length), ...reply.headers });
    if (fault === 'cut-inside') response.write(bytes.subarray(0, bytes.length >> 1), () => response.destroy());
    else response.end(method === 'HEAD' ? undefined : bytes);
  }

  #replyTo({ method, key, query, headers }: Seen, sent: Buffer, bucket: string, isWonBefore: boolean): Reply {
    let body = sent;
    const refusal = this.#refusal(headers, bucket, method, query);
    if (refusal !== undefined) return refuse(...refusal);
    if (this.quirks.corrupts !== true && headers['content-md5'] !== undefined) {
      if (createHash('md5').update(body).digest('base64') !== headers['content-md5']) {
        return refuse(400, 'BadDigest');
      }
    }
    if (this.quirks.corrupts === true && body.length > 0) body = Buffer.from([...body].reverse());

    if (query.has('object-lock') || query.has('legal-hold')) return this.#lock(method, key, query, body);
    const uploadId = query.get('uploadId');
    if (key === '' && method === 'GET') return answer(200, this.#list(query));
    if (method === 'POST' && query.has('uploads')) {
      if (this.quirks.noMultipart === true) return refuse(501, 'NotImplemented');
      const id = `upload/${++this.#uploadCount}`;
      this.uploads.set(id, { key, parts: new Map() });
      return answer(200, `<InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`);
    }
    if (uploadId !== null) {
      const upload = this.uploads.get(uploadId);
      if (upload === undefined) return refuse(404, 'NoSuchUpload');
      if (method === 'PUT') {
        if (!this.#hasRoomFor(body.length)) return refuse(507, 'InsufficientStorage');
        upload.parts.set(Number(query.get('partNumber')), { bytes: body, etag: md5(body) });
        return answer(200, '', { etag: `"${md5(body)}"` });
      }
      if (method === 'DELETE') {
        this.uploads.delete(uploadId);
        return answer(204);
      }
      const sorted = [...upload.parts].sort(([a], [b]) => a - b);
      if (method === 'GET') {
        const parts = sorted.map(
          ([number, part]) =>
            `<Part><PartNumber>${number}</PartNumber><ETag>&quot;${part.etag}&quot;</ETag><Size>${part.bytes.length}</Size></Part>`,
        );
        return answer(200, `<ListPartsResult><IsTruncated>false</IsTruncated>${parts.join('')}</ListPartsResult>`);
      }
      const told = [...body.toString().matchAll(/<PartNumber>(\d+)<\/PartNumber>/g)].map(([, number]) =>
        Number(number),
      );
      const parts = told.map((number) => upload.parts.get(number));
      if (parts.length === 0 || parts.includes(undefined)) return refuse(400, 'InvalidPart');
      const whole = parts as Stored[];
      const etag = `${md5(Buffer.from(whole.map((part) => part.etag).join(''), 'hex'))}-${whole.length}`;
      this.objects.set(key, { bytes: Buffer.concat(whole.map((part) => part.bytes)), etag, atMs: this.#nowMs() });
      this.uploads.delete(uploadId);
      this.#last = key;
      const text = `<CompleteMultipartUploadResult><ETag>"${etag}"</ETag></CompleteMultipartUploadResult>`;
      return answer(200, text);
    }

    const there = this.#sealed(this.objects.get(key));
    const sse: Reply['headers'] = this.quirks.hidesMd5 === true ? { 'x-amz-server-side-encryption': 'aws:kms' } : {};
    const keepVersion = () => {
      if (this.quirks.objectLock === true && there !== undefined) this.versions.push({ ...there, key });
    };
    if (method === 'PUT') {
      const { 'if-none-match': ifNone, 'if-match': ifMatch } = headers;
      if (this.quirks.refusesConditions === true && (ifNone ?? ifMatch) !== undefined)
        return refuse(501, 'NotImplemented');
      if (this.quirks.ignoresConditions !== true) {
        if (ifNone === '*' && there !== undefined && !isWonBefore) return refuse(412, 'PreconditionFailed');
        if (ifMatch !== undefined && ifMatch !== `"${there?.etag}"`) return refuse(412, 'PreconditionFailed');
      }
      if (!this.#hasRoomFor(body.length)) return refuse(507, 'InsufficientStorage');
      keepVersion();
      this.objects.set(key, { bytes: body, etag: md5(body), atMs: this.#nowMs() });
      this.#last = key;
      const version = this.quirks.objectLock === true ? { 'x-amz-version-id': `v${this.versions.length}` } : {};
      const { etag = '' } = this.#sealed(this.objects.get(key)) ?? {};
      return answer(200, '', { etag: `"${etag}"`, ...version, ...sse });
    }
    if (method === 'DELETE') {
      keepVersion();
      this.objects.delete(key);
      return answer(204);
    }
    if (there === undefined) return refuse(404, 'NoSuchKey');
    const modified = this.quirks.hidesAges === true ? {} : { 'last-modified': this.#modified(there).toUTCString() };
    const etag = { etag: `"${there.etag}"`, ...modified, ...sse };
    if (method === 'HEAD') {
      return answer(200, there.bytes, {
        ...etag,
        ...(there.isHeld === true ? { 'x-amz-object-lock-legal-hold': 'ON' } : {}),
      });
    }
    const range = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? '');
    const bytes = Buffer.from(there.bytes);
    const middle = bytes.length >> 1;
    if (this.quirks.rotten?.(key) === true) bytes[middle] = (bytes[middle] ?? 0) ^ 1;
    if (range === null || this.quirks.ignoresRange === true) return answer(200, bytes, etag);
    const first = Number(range[1]);
    if (first >= there.bytes.length) return refuse(416, 'InvalidRange');
    const part = bytes.subarray(first, Number(range[2]) + 1);
    const place = `bytes ${first}-${first + part.length - 1}/${there.bytes.length}`;
    return answer(206, part, { ...etag, 'content-range': place });
  }

  #lock(method: string, key: string, query: URLSearchParams, body: Buffer): Reply {
    const has = this.quirks.objectLock === true;
    if (query.has('object-lock')) {
      if (!has) return refuse(404, 'ObjectLockConfigurationNotFoundError');
      const enabled = '<ObjectLockEnabled>Enabled</ObjectLockEnabled>';
      return answer(200, `<ObjectLockConfiguration>${enabled}</ObjectLockConfiguration>`);
    }
    const there = this.objects.get(key);
    if (!has) return refuse(400, 'InvalidRequest');
    if (there === undefined || method !== 'PUT') return refuse(404, 'NoSuchKey');
    this.objects.set(key, { ...there, isHeld: body.includes('<Status>ON</Status>') });
    return answer(200);
  }

  /** As it is told of. */
  #sealed(stored: Stored | undefined): Stored | undefined {
    if (stored === undefined || this.quirks.hidesMd5 !== true) return stored;
    return { ...stored, etag: md5(Buffer.from(`sealed ${stored.etag}`)) };
  }

  #nowMs(): number {
    return Date.now() + (this.quirks.aheadMs ?? 0);
  }

  #modified({ atMs }: Stored): Date {
    return new Date(atMs ?? this.#nowMs());
  }

  #hasRoomFor(bytes: number): boolean {
    const stored = [
      ...this.objects.values(),
      ...[...this.uploads.values()].flatMap(({ parts }) => [...parts.values()]),
    ];
    const used = stored.reduce((sum, each) => sum + each.bytes.length, 0);
    return used + bytes <= (this.quirks.capacityBytes ?? Number.POSITIVE_INFINITY);
  }

  #refusal(
    headers: IncomingMessage['headers'],
    bucket: string,
    method: string,
    query: URLSearchParams,
  ): [status: number, code: string, headers?: Record<string, string>] | undefined {
    const match = /Credential=([^/]+)\/\d+\/([^/]+)\//.exec(headers.authorization ?? '');
    const rights = this.keys.get(match?.[1] ?? '');
    if (rights === undefined) return [403, 'InvalidAccessKeyId'];
    const at = String(headers['x-amz-date']).replace(/^(....)(..)(..T..)(..)(..Z)$/, '$1-$2-$3:$4:$5');
    if (Math.abs(Date.parse(at) - this.#nowMs()) > 15 * 60_000) {
      return [403, 'RequestTimeTooSkewed'];
    }
    if (match?.[2] !== this.region)
      return [400, 'AuthorizationHeaderMalformed', { 'x-amz-bucket-region': this.region }];
    if (rights === 'expired') return [400, 'ExpiredToken'];
    if (bucket !== this.bucket) return [404, 'NoSuchBucket'];
    const isRead = method === 'GET' || method === 'HEAD';
    const isMore = method === 'DELETE' || query.has('legal-hold');
    if (!isRead && (rights === 'read' || (rights === 'add' && isMore))) return [403, 'AccessDenied'];
    return undefined;
  }

  #list(query: URLSearchParams): string {
    const prefix = query.get('prefix') ?? '';
    const limit = Math.min(1000, Number(query.get('max-keys') ?? 1000));
    const from = query.get('continuation-token') ?? '';
    const listed = this.quirks.listed ?? this.objects;
    const names = [...listed.keys()]
      .sort()
      .filter((key) => key.startsWith(prefix) && !(this.quirks.staleLists === true && key === this.#last));
    const entries = new Map<string, string>();
    for (const key of names) {
      const slash = key.indexOf('/', prefix.length);
      const folder = query.get('delimiter') === '/' && slash !== -1 ? key.slice(0, slash + 1) : undefined;
      const stored = listed.get(key) ?? { bytes: Buffer.alloc(0), etag: '' };
      const { bytes, etag } = stored;
      const told =
        this.quirks.hidesAges === true ? '' : `<LastModified>${this.#modified(stored).toISOString()}</LastModified>`;
      const name = encodeURIComponent(folder ?? key);
      entries.set(
        folder ?? key,
        folder === undefined
          ? `<Contents><Key>${name}</Key><ETag>&quot;${etag}&quot;</ETag><Size>${bytes.length}</Size>${told}</Contents>`
          : `<CommonPrefixes><Prefix>${name}</Prefix></CommonPrefixes>`,
      );
    }
    const after = query.get('start-after') ?? '';
    const left = [...entries].filter(
      ([name]) => name > from && name > (this.quirks.ignoresAfter === true ? '' : after),
    );
    const page = left.slice(0, limit);
    const isCut = left.length > page.length;
    const next = isCut ? `<NextContinuationToken>${page.at(-1)?.[0]}</NextContinuationToken>` : '';
    return (
      `<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">` +
      `<EncodingType>url</EncodingType><IsTruncated>${isCut}</IsTruncated>${next}` +
      `${page.map(([, xml]) => xml).join('')}</ListBucketResult>`
    );
  }
}

/**
 * Serves all tests of the suite in which it is called, each of which finds it empty and without faults.
 * @param onStarted is told its endpoint before the first of them
 */
export function serveSuite(fake: FakeS3, onStarted: (endpoint: string) => void): void {
  before(async () => onStarted(await fake.start()));
  after(() => fake.stop());
  beforeEach(() => {
    fake.objects.clear();
    fake.uploads.clear();
    fake.versions.length = 0;
    fake.seen.length = 0;
    fake.quirks = {};
    fake.keys = new Map([['writer', 'all']]);
    fake.fault = () => undefined;
    fake.hold = () => undefined;
  });
}
