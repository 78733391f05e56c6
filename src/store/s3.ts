/**
 * The S3 interface of an {@link ObjectStore}: what is asked by which request, and what an answer proves. One try each.
 *
 * Bytes that go up are covered by the signature, by Content-MD5 and by x-amz-checksum-sha256 (not every server looks at
 * all three), and the ETag that comes back is compared. https://docs.aws.amazon.com/AmazonS3/latest/API/
 */

import { createHash } from 'node:crypto';
import { EspdError } from '../errors.ts';
import { printable } from '../printable.ts';
import { md5Of, sha256Of } from './digests.ts';
import { faultOf, s3Code } from './faults.ts';
import type { HttpAnswer } from './http.ts';
import type { SignedHttp } from './signed-http.ts';
import { MAX_PIECE_BYTES } from './types.ts';
import type {
  Cancel,
  Condition,
  ListOptions,
  ListedPage,
  ObjectFacts,
  ObjectStore,
  Upload,
  UploadedPart,
} from './types.ts';
import { type XmlElement, childrenOf, escaped, parseXml, textOf } from './xml.ts';

/** 1,000 entries with keys of 1,024 bytes, each three times as long by its encoding. */
const MAX_LIST_BYTES = 8 * 1024 * 1024;
const NOTHING = Buffer.alloc(0);

export function openS3(http: SignedHttp): ObjectStore {
  return new S3Store(http);
}

class S3Store implements ObjectStore {
  readonly place: string;
  readonly #http: SignedHttp;

  constructor(http: SignedHttp) {
    this.#http = http;
    this.place = http.place;
  }

  now(): number {
    return this.#http.now();
  }

  async put(
    key: string,
    bytes: Uint8Array,
    { condition, signal }: Parameters<ObjectStore['put']>[2] = {},
  ): ReturnType<ObjectStore['put']> {
    checkPiece(bytes);
    const { md5, headers } = await digestsOf(bytes);
    for (const conditional of conditionHeaders(condition)) {
      const all = { ...headers, ...conditional };
      const answer = await this.#http.send({ method: 'PUT', key, headers: all, body: bytes, signal });
      // AWS answers 404 where If-Match names an object that is not there.
      const isRefused = answer.status === 412 || s3Code(answer) === 'NoSuchKey';
      if (condition !== undefined && isRefused) continue;
      this.#check(answer, `the upload of ${named(key)}`);
      const version = answer.headers['x-amz-version-id'] ?? 'null';
      return { etag: this.#checkEtag(answer, md5), ...(version === 'null' ? {} : { isVersion: true }) };
    }
    return undefined;
  }

  async get(key: string, { range, signal }: Parameters<ObjectStore['get']>[1] = {}): ReturnType<ObjectStore['get']> {
    if (range?.length === 0) throw new RangeError('a range of no bytes');
    if (range !== undefined && range.length > MAX_PIECE_BYTES) throw new RangeError(`${range.length} bytes at once`);
    const headers: Record<string, string> = {};
    if (range !== undefined) headers['range'] = `bytes=${range.offset}-${range.offset + range.length - 1}`;
    const answer = await this.#http.send({ method: 'GET', key, headers, signal, maxAnswerBytes: MAX_PIECE_BYTES });
    if (answer.status === 404 && s3Code(answer) === 'NoSuchKey') return undefined;
    // The page of a proxy, or of a network that wants a login: no espd has put one.
    if (/html/i.test(answer.headers['content-type'] ?? '')) throw this.#unusable('with a page for a browser');
    if (answer.status === 416 && range !== undefined) return this.#behindEnd(key, signal);
    this.#check(answer, `the download of ${named(key)}`);
    const etag = etagOf(answer);
    const checkWhole = async () => {
      if (isMd5(answer, etag) && (await md5Of(answer.body)) !== etag) {
        throw this.#damaged(`the bytes of ${key} are not those that its ETag stands for`);
      }
    };
    if (range === undefined) {
      await checkWhole();
      return { key, etag, bytes: answer.body, sizeBytes: answer.body.length, ...ageOf(answer) };
    }
    const place = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(answer.headers['content-range'] ?? '');
    const [first, last, sizeBytes] = place?.slice(1).map(Number) ?? [];
    if (answer.status !== 206 || first !== range.offset || sizeBytes === undefined) {
      throw new EspdError('store-failed', `The object store (${this.place}) does not give parts of an object`, {
        hint: 'espd needs Range requests; docs/fleet.md names what else',
      });
    }
    const expected = Math.min(range.length, sizeBytes - range.offset);
    if (answer.body.length !== expected || last !== range.offset + expected - 1) {
      throw this.#damaged(`another part of ${key} came than was asked for`);
    }
    if (range.checksWhole === true && answer.body.length === sizeBytes) await checkWhole();
    return { key, etag, bytes: answer.body, sizeBytes, ...ageOf(answer) };
  }

  async head(key: string, { signal }: Cancel = {}): Promise<ObjectFacts | undefined> {
    const answer = await this.#http.send({ method: 'HEAD', key, signal });
    if (answer.status === 404) return undefined;
    this.#check(answer, `the look at ${named(key)}`);
    const sizeBytes = Number(answer.headers['content-length'] ?? Number.NaN);
    const isHeld = answer.headers['x-amz-object-lock-legal-hold'] === 'ON';
    return { key, etag: etagOf(answer), sizeBytes, ...ageOf(answer), ...(isHeld ? { isHeld } : {}) };
  }

  async list({ prefix, folders = false, from = null, after, limit, signal }: ListOptions): Promise<ListedPage> {
    const query: Record<string, string> = { 'list-type': '2', prefix, 'encoding-type': 'url' };
    if (folders) query['delimiter'] = '/';
    if (from !== null) query['continuation-token'] = from;
    else if (after !== undefined) query['start-after'] = after;
    if (limit !== undefined) query['max-keys'] = String(limit);
    const answer = await this.#http.send({ method: 'GET', key: '', query, signal, maxAnswerBytes: MAX_LIST_BYTES });
    this.#check(answer, 'the list of objects');
    const result = this.#xml(answer, 'ListBucketResult');
    const isEncoded = textOf(result, 'EncodingType') === 'url';
    const keyOf = (element: XmlElement, name: string) => {
      const text = textOf(element, name);
      return isEncoded ? decodeKey(text) : text;
    };
    const next = textOf(result, 'NextContinuationToken');
    return {
      objects: childrenOf(result, 'Contents').map((each) => ({
        key: keyOf(each, 'Key'),
        sizeBytes: Number(textOf(each, 'Size')),
        etag: unquoted(textOf(each, 'ETag')),
        ...ageOf(answer, textOf(each, 'LastModified')),
      })),
      folders: childrenOf(result, 'CommonPrefixes').map((each) => keyOf(each, 'Prefix')),
      next: textOf(result, 'IsTruncated') === 'true' && next !== '' ? next : null,
    };
  }

  async remove(key: string, { asOf, signal }: Parameters<ObjectStore['remove']>[1] = {}): Promise<void> {
    const answer = await this.#http.send({ method: 'DELETE', key, signal, ...(asOf === undefined ? {} : { asOf }) });
    if (answer.status !== 404 || s3Code(answer) === 'NoSuchBucket') this.#check(answer, `the removal of ${named(key)}`);
  }

  async canHold({ signal }: Cancel = {}): Promise<boolean> {
    const answer = await this.#http.send({ method: 'GET', key: '', query: { 'object-lock': '' }, signal });
    const code = s3Code(answer);
    // Stores without the feature answer that they have no such thing, or take it for another request.
    if (code === 'ObjectLockConfigurationNotFoundError' || [400, 405, 501].includes(answer.status)) return false;
    if (answer.status === 404 && code !== 'NoSuchBucket') return false;
    this.#check(answer, 'the look at the object lock of the bucket');
    const found = parseXml(answer.body.toString('utf8'));
    return found?.name === 'ObjectLockConfiguration' && textOf(found, 'ObjectLockEnabled') === 'Enabled';
  }

  async hold(key: string, isHeld: boolean, { signal }: Cancel = {}): Promise<boolean> {
    const body = Buffer.from(`<LegalHold><Status>${isHeld ? 'ON' : 'OFF'}</Status></LegalHold>`);
    const headers = { 'content-md5': Buffer.from(await md5Of(body), 'hex').toString('base64') };
    const query = { 'legal-hold': '' };
    const answer = await this.#http.send({ method: 'PUT', key, query, headers, body, signal });
    // AWS answers 405 where a delete marker has the key.
    if (answer.status === 405 || (answer.status === 404 && s3Code(answer) === 'NoSuchKey')) return false;
    this.#check(answer, isHeld ? 'a legal hold' : 'the end of a legal hold');
    return true;
  }

  async beginUpload(key: string, { signal }: Cancel = {}): Promise<Upload> {
    const answer = await this.#http.send({ method: 'POST', key, query: { uploads: '' }, signal });
    this.#check(answer, 'the begin of an upload');
    const id = textOf(this.#xml(answer, 'InitiateMultipartUploadResult'), 'UploadId');
    if (id === '' || id.length > 2048) throw this.#unusable('an upload without an id');
    return { key, id };
  }

  async putPart(
    { key, id }: Upload,
    number: number,
    bytes: Uint8Array,
    { signal }: Cancel = {},
  ): Promise<UploadedPart> {
    checkPiece(bytes);
    const { md5, headers } = await digestsOf(bytes);
    // Only an upload that was begun with an algorithm takes checksums of its parts.
    delete headers['x-amz-checksum-sha256'];
    const query = { partNumber: String(number), uploadId: id };
    const answer = await this.#http.send({ method: 'PUT', key, query, headers, body: bytes, signal });
    this.#check(answer, 'the upload of a part');
    return { number, etag: this.#checkEtag(answer, md5), sizeBytes: bytes.length };
  }

  async parts({ key, id }: Upload, { signal }: Cancel = {}): Promise<readonly UploadedPart[] | undefined> {
    const parts: UploadedPart[] = [];
    for (let marker = ''; ;) {
      const query: Record<string, string> = { uploadId: id };
      if (marker !== '') query['part-number-marker'] = marker;
      const answer = await this.#http.send({ method: 'GET', key, query, signal, maxAnswerBytes: MAX_LIST_BYTES });
      // radosgw 16 says NoSuchKey.
      if (['NoSuchUpload', 'NoSuchKey'].includes(s3Code(answer))) return undefined;
      this.#check(answer, 'the list of parts');
      const result = this.#xml(answer, 'ListPartsResult');
      for (const part of childrenOf(result, 'Part')) {
        const [number, sizeBytes] = [Number(textOf(part, 'PartNumber')), Number(textOf(part, 'Size'))];
        parts.push({ number, sizeBytes, etag: unquoted(textOf(part, 'ETag')) });
      }
      const next = textOf(result, 'NextPartNumberMarker');
      if (textOf(result, 'IsTruncated') !== 'true' || Number(next) <= Number(marker)) return parts;
      marker = next;
    }
  }

  async completeUpload(
    { key, id }: Upload,
    parts: readonly UploadedPart[],
    { signal }: Cancel = {},
  ): Promise<{ readonly etag: string }> {
    const list = parts.map(
      ({ number, etag }) => `<Part><PartNumber>${number}</PartNumber><ETag>"${escaped(etag)}"</ETag></Part>`,
    );
    const body = Buffer.from(`<CompleteMultipartUpload>${list.join('')}</CompleteMultipartUpload>`);
    const answer = await this.#http.send({ method: 'POST', key, query: { uploadId: id }, body, signal });
    // AWS may begin to answer 200, and say in the body that it has failed.
    if (answer.status !== 200 || s3Code(answer) !== '') throw faultOf(answer, 'the end of an upload', this.place);
    const told = unquoted(textOf(this.#xml(answer, 'CompleteMultipartUploadResult'), 'ETag'));
    // radosgw 16 leaves it empty.
    const etag = told === '' ? ((await this.head(key, { signal }))?.etag ?? '') : told;
    const expected = etagOfParts(parts);
    if (/^[0-9a-f]{32}-\d+$/.test(etag) && expected !== undefined && etag !== expected) {
      throw this.#damaged(`the parts of ${key} were put together otherwise than they were sent`);
    }
    return { etag };
  }

  async abandonUpload({ key, id }: Upload, { signal }: Cancel = {}): Promise<void> {
    const answer = await this.#http.send({ method: 'DELETE', key, query: { uploadId: id }, signal });
    if (answer.status !== 404) this.#check(answer, 'the end of an upload');
  }

  async #behindEnd(key: string, signal: AbortSignal | undefined): ReturnType<ObjectStore['get']> {
    const facts = await this.head(key, { signal });
    return facts && { ...facts, bytes: NOTHING };
  }

  #check(answer: HttpAnswer, what: string): void {
    if (answer.status < 200 || answer.status >= 300) throw faultOf(answer, what, this.place);
  }

  #checkEtag(answer: HttpAnswer, md5: string): string {
    const etag = etagOf(answer);
    if (isMd5(answer, etag) && etag !== md5) throw this.#damaged('it confirms other bytes than were sent');
    return etag;
  }

  #xml(answer: HttpAnswer, name: string): XmlElement {
    const element = parseXml(answer.body.toString('utf8'));
    if (element?.name !== name) throw this.#unusable(`no ${name}`);
    return element;
  }

  #unusable(what: string): EspdError {
    return new EspdError('store-failed', `The object store (${this.place}) answers ${what}`, {
      hint: 'Does store.endpoint name an S3 interface, and not a page or a proxy?',
    });
  }

  #damaged(what: string): EspdError {
    return new EspdError('store-damaged', `The object store (${this.place}): ${printable(what)}`, {
      hint: 'Its disks or memory may be faulty, or something between here and there',
    });
  }
}

/** A key has 1,024 bytes at most, and ours a hundred. */
const named = (key: string) => printable(key).slice(0, 200);

/**
 * One try each, until one is not refused. RFC 9110 wants ETags quoted; radosgw 16 compares the bytes of the header with
 * the ETag without quotes (rgw_rados.cc, `RGWRados::Object::Write`), so that a quoted one never fits.
 */
function conditionHeaders(condition: Condition | undefined): readonly Record<string, string>[] {
  if (condition === undefined) return [{}];
  if (condition === 'if-absent') return [{ 'if-none-match': '*' }];
  return [{ 'if-match': `"${condition.ifMatch}"` }, { 'if-match': condition.ifMatch }];
}

function checkPiece(bytes: Uint8Array): void {
  if (bytes.length > MAX_PIECE_BYTES) throw new RangeError(`${bytes.length} bytes at once`);
}

async function digestsOf(
  bytes: Uint8Array,
): Promise<{ readonly md5: string; readonly headers: Record<string, string> }> {
  const md5 = await md5Of(bytes);
  const sha256 = await sha256Of(bytes);
  return {
    md5,
    headers: {
      'content-md5': Buffer.from(md5, 'hex').toString('base64'),
      'x-amz-content-sha256': sha256.toString('hex'),
      'x-amz-checksum-sha256': sha256.toString('base64'),
    },
  };
}

/** The ETag of an object made of these parts: AWS's, which others follow. Undefined where theirs are no MD5s. */
function etagOfParts(parts: readonly UploadedPart[]): string | undefined {
  if (parts.some(({ etag }) => !/^[0-9a-f]{32}$/.test(etag))) return undefined;
  const together = Buffer.from(parts.map(({ etag }) => etag).join(''), 'hex');
  return `${createHash('md5').update(together).digest('hex')}-${parts.length}`;
}

function etagOf({ headers }: HttpAnswer): string {
  return unquoted(headers['etag'] ?? '');
}

/** How long ago an object was written, by two times of one server. An object of the same second may be from its future. */
function ageOf(
  { headers }: HttpAnswer,
  modified = headers['last-modified'] ?? '',
): Pick<ObjectFacts, 'ageMs' | 'writtenMs'> {
  const writtenMs = Date.parse(modified);
  const ageMs = Date.parse(headers['date'] ?? '') - writtenMs;
  return {
    ...(Number.isFinite(writtenMs) ? { writtenMs: Math.floor(writtenMs / 1000) * 1000 } : {}),
    ...(Number.isFinite(ageMs) ? { ageMs: Math.max(0, ageMs) } : {}),
  };
}

/** With keys of a key service, or of the client's, an ETag is no MD5. */
function isMd5({ headers }: HttpAnswer, etag: string): boolean {
  const isOpaque =
    (headers['x-amz-server-side-encryption'] ?? 'AES256') !== 'AES256' ||
    headers['x-amz-server-side-encryption-customer-algorithm'] !== undefined;
  return !isOpaque && /^[0-9a-f]{32}$/.test(etag);
}

const unquoted = (etag: string) => etag.replace(/^(?:W\/)?"?|"$/g, '');

function decodeKey(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    return text;
  }
}
