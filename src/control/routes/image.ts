/** The image of a backup over HTTP: whole, or one range of bytes (RFC 9110, 14). */

import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { ImageReader } from '../../archive/types.ts';
import { piecesOf } from '../../transfer/pieces.ts';
import { HttpError } from '../problem.ts';

const PIECE_BYTES = 256 * 1024;

export interface ByteRange {
  readonly offset: number;
  readonly sizeBytes: number;
}

/**
 * The bytes that a Range header asks for; undefined where it is absent, or is to be ignored (another unit, several
 * ranges, nonsense: RFC 9110 14.2).
 * @throws HttpError 416 where nothing of it is in the image
 */
export function rangeOf(header: string | undefined, sizeBytes: number): ByteRange | undefined {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header?.trim() ?? '');
  if (match === null) return undefined;
  const [, first = '', last = ''] = match;
  if (first === '' && last === '') return undefined;
  const offset = first === '' ? Math.max(0, sizeBytes - Number(last)) : Number(first);
  const end = first === '' || last === '' ? sizeBytes : Math.min(sizeBytes, Number(last) + 1);
  if (first !== '' && last !== '' && Number(last) < Number(first)) return undefined;
  if (offset >= sizeBytes || end <= offset) {
    throw new HttpError(416, 'The range is not in the image', '', { 'Content-Range': `bytes */${sizeBytes}` });
  }
  return { offset, sizeBytes: end - offset };
}

/** Sends the image as fast as the client reads. */
export async function sendImage(
  image: ImageReader,
  response: ServerResponse,
  facts: { readonly fileName: string; readonly sha256: string; readonly signal: AbortSignal },
): Promise<void> {
  const { headers, method } = response.req;
  const tag = `"${facts.sha256}"`;
  // RFC 9110 13.1.5: another image than the one that the client has a part of is sent whole.
  const isSame = headers['if-range'] === undefined || headers['if-range'] === tag;
  const range = isSame ? rangeOf(headers.range, image.sizeBytes) : undefined;
  const region = range ?? { offset: 0, sizeBytes: image.sizeBytes };
  const end = region.offset + region.sizeBytes;
  response.writeHead(range === undefined ? 200 : 206, {
    'Content-Type': 'application/octet-stream',
    'Content-Length': region.sizeBytes,
    'Content-Disposition': `attachment; filename="${facts.fileName}"`,
    'Accept-Ranges': 'bytes',
    ETag: tag,
    ...(range === undefined ? {} : { 'Content-Range': `bytes ${region.offset}-${end - 1}/${image.sizeBytes}` }),
  });
  if (method !== 'HEAD') {
    for await (const { bytes } of piecesOf(image, region, PIECE_BYTES)) {
      facts.signal.throwIfAborted();
      if (!response.write(bytes)) await once(response, 'drain', { signal: facts.signal });
    }
  }
  response.end();
}
