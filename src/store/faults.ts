/** What an answer of S3 that is no success means, in words that say what to do. Pure. */

import { EspdError, type ErrorCode } from '../errors.ts';
import { printable } from '../printable.ts';
import type { HttpAnswer } from './http.ts';
import { parseXml, textOf } from './xml.ts';

/** https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html; Ceph's: rgw_common.cc, `rgw_http_s3_errors`. */
const CODES: Readonly<Record<string, ErrorCode>> = {
  NoSuchBucket: 'store-missing',
  InvalidBucketName: 'store-missing',
  AccessDenied: 'store-denied',
  AllAccessDisabled: 'store-denied',
  AccountProblem: 'store-denied',
  UserSuspended: 'store-denied',
  // Of S3 Glacier, until it was restored there: https://docs.aws.amazon.com/AmazonS3/latest/userguide/restoring-objects.html
  InvalidObjectState: 'store-archived',
  MethodNotAllowed: 'store-denied',
  InvalidAccessKeyId: 'store-credentials',
  SignatureDoesNotMatch: 'store-credentials',
  ExpiredToken: 'store-credentials',
  TokenRefreshRequired: 'store-credentials',
  InvalidToken: 'store-credentials',
  InvalidClientTokenId: 'store-credentials',
  RequestTimeTooSkewed: 'store-clock',
  RequestExpired: 'store-clock',
  AuthorizationHeaderMalformed: 'store-region',
  PermanentRedirect: 'store-region',
  TemporaryRedirect: 'store-busy',
  IllegalLocationConstraintException: 'store-region',
  QuotaExceeded: 'store-full',
  InsufficientStorage: 'store-full',
  XMinioStorageFull: 'store-full',
  StorageFull: 'store-full',
  SlowDown: 'store-busy',
  ServiceUnavailable: 'store-busy',
  InternalError: 'store-busy',
  RequestTimeout: 'store-busy',
  OperationAborted: 'store-busy',
  ConditionalRequestConflict: 'store-busy',
  NotImplemented: 'store-failed',
  BadDigest: 'store-damaged',
  XAmzContentSHA256Mismatch: 'store-damaged',
  XAmzContentChecksumMismatch: 'store-damaged',
};

const BY_STATUS: Readonly<Record<number, ErrorCode>> = {
  301: 'store-region',
  307: 'store-busy',
  401: 'store-credentials',
  403: 'store-denied',
  408: 'store-busy',
  409: 'store-busy',
  425: 'store-busy',
  429: 'store-busy',
  507: 'store-full',
};

const SENTENCES: Partial<Record<ErrorCode, string>> = {
  'store-missing': 'has no bucket of this name',
  'store-denied': 'does not allow this to these credentials',
  'store-archived': 'has moved an object to an archive class',
  'store-credentials': 'does not accept the credentials',
  'store-clock': 'finds the clock of this machine too wrong',
  'store-region': 'has this bucket in another region or at another endpoint',
  'store-full': 'has no room left, or its quota is used up',
  'store-busy': 'cannot serve now',
  'store-damaged': 'received other bytes than were sent',
  'store-failed': 'answers something that espd cannot use',
};

const HINTS: Partial<Record<ErrorCode, string>> = {
  'store-missing': 'Make the bucket, or correct store.bucket: espd makes none',
  'store-denied':
    'To look and to fetch they need the rights to list and to read, to push also to put; docs/fleet.md has the least rights',
  'store-archived':
    'Restore it there (aws s3api restore-object), and take the prefix of espd out of that lifecycle rule',
  'store-credentials': 'Correct or renew them (store.credentials); they are read again at the next try',
  'store-clock': 'Set the clock: timedatectl',
  'store-region': 'Correct store.region and store.endpoint',
  'store-full': 'Make room there. Backups stay on this machine until it has some',
  'store-busy': 'Try again later; the daemon does so by itself',
  'store-failed': 'Does store.endpoint name an S3 interface, and not a page or a proxy?',
  'store-damaged': 'A faulty network card, proxy or memory between here and there',
};

/** Code of S3 that an answer bears; empty where it bears none. */
export function s3Code({ body }: Pick<HttpAnswer, 'body'>): string {
  if (body.length > 64 * 1024) return '';
  const error = parseXml(body.toString('utf8'));
  return error?.name === 'Error' ? textOf(error, 'Code') : '';
}

/** An error for an answer to `what` (`PUT of an object`) at `place`. */
export function faultOf(answer: HttpAnswer, what: string, place: string): EspdError {
  const named = s3Code(answer);
  const code = CODES[named] ?? BY_STATUS[answer.status] ?? (answer.status >= 500 ? 'store-busy' : 'store-failed');
  const region = code === 'store-region' ? regionOf(answer) : '';
  const told = printable(named === '' ? '' : `, ${named}`).slice(0, 80);
  const hint = region === '' ? (HINTS[code] ?? '') : `The store names the region ${region}: correct store.region`;
  const expired = named === 'ExpiredToken' ? ': they have expired' : '';
  const message = `The object store (${place}) ${SENTENCES[code] ?? ''}${expired}: ${what} was answered ${answer.status}${told}`;
  return new EspdError(code, message, { hint });
}

function regionOf({ body, headers }: HttpAnswer): string {
  const named = headers['x-amz-bucket-region'] ?? textOf(parseXml(body.toString('utf8')), 'Region');
  return /^[a-z0-9-]{1,64}$/.test(named) ? named : '';
}
