/** Paths of the API to what answers them. Pure. */

import { HttpError } from './problem.ts';

export type Method = 'GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE';

export interface Route<T> {
  readonly method: Method;
  /** `/v1/boards/{mac}`: a part in braces is any one segment. */
  readonly path: string;
  readonly value: T;
}

export interface Match<T> {
  readonly value: T;
  /** Decoded, by name. */
  readonly params: Readonly<Record<string, string>>;
}

/** What a path may have in all; longer ones are no path of ours. */
const MOST_SEGMENTS = 12;

/**
 * @param path of the request, without its query; may come from anybody
 * @throws HttpError 404, 405 with the methods that are allowed, or 400 where it cannot be decoded
 */
export function matchRoute<T>(routes: readonly Route<T>[], method: string, path: string): Match<T> {
  const segments = segmentsOf(path);
  const fitting = routes.flatMap((route) => {
    const params = paramsOf(route.path, segments);
    return params === undefined ? [] : [{ route, params }];
  });
  if (fitting.length === 0) {
    throw new HttpError(404, 'There is no such path in this API', 'GET /v1/openapi.json lists the paths');
  }
  // RFC 9110 9.3.2: HEAD is GET without the content.
  const wanted = method === 'HEAD' ? 'GET' : method;
  const found = fitting.find(({ route }) => route.method === wanted);
  if (found !== undefined) return { value: found.route.value, params: found.params };
  const allowed = fitting.map(({ route }) => route.method);
  const names = [...new Set([...allowed, ...(allowed.includes('GET') ? ['HEAD'] : [])])].join(', ');
  throw new HttpError(405, `This path does not know ${/^[A-Z]{1,16}$/.test(method) ? method : 'this method'}`, names, {
    Allow: names,
  });
}

function segmentsOf(path: string): string[] {
  const raw = path.split('/', MOST_SEGMENTS + 2).slice(1);
  if (raw.length > MOST_SEGMENTS) return [];
  try {
    return raw.map(decodeURIComponent);
  } catch {
    throw new HttpError(400, 'The path is not well encoded', 'Percent-encode what is no letter or digit');
  }
}

function paramsOf(template: string, segments: readonly string[]): Record<string, string> | undefined {
  const wanted = template.split('/').slice(1);
  if (wanted.length !== segments.length) return undefined;
  const params: Record<string, string> = {};
  for (const [index, part] of wanted.entries()) {
    const segment = segments[index] ?? '';
    const name = /^\{(\w+)\}$/.exec(part)?.[1];
    if (name === undefined ? part !== segment : segment === '') return undefined;
    if (name !== undefined) params[name] = segment;
  }
  return params;
}
