/** `GET /v1/boards`: all of them, unless the client has them already, or only those that it names. */

import type { BoardList } from '../board-list.ts';
import { boardsQuery } from '../contract/requests.ts';
import type { ApiAnswer, ApiRequest } from '../server.ts';
import { queryOf, validate } from '../validate.ts';

export async function sendBoards(
  boards: BoardList,
  { query, request, signal }: Pick<ApiRequest, 'query' | 'request' | 'signal'>,
): Promise<ApiAnswer> {
  const { only } = validate(boardsQuery, queryOf(query));
  if (only !== undefined) return { status: 200, document: await boards.some(only, signal) };
  const { text, tag } = await boards.all(signal);
  const headers = { ETag: tag };
  return hasTag(request.headers['if-none-match'], tag)
    ? { status: 304, text: '', headers }
    : { status: 200, text, headers };
}

/** RFC 9110, 13.1.2: a list, compared weakly; `*` is whatever there is. */
function hasTag(header: string | undefined, tag: string): boolean {
  const tags = (header ?? '').split(',').map((one) => one.trim().replace(/^W\//, ''));
  return tags.includes(tag) || tags.includes('*');
}
