/** Requests held against their schemas. */

import type { z } from 'zod';
import { printable } from '../printable.ts';
import { HttpError } from './problem.ts';

/** So many faults are told. */
const MOST_FAULTS = 5;

/** @throws HttpError 400, naming what is wrong */
export function validate<T extends z.ZodType>(schema: T, value: unknown): z.output<T> {
  const { data, error } = schema.safeParse(value);
  if (error === undefined) return data;
  const faults = error.issues.slice(0, MOST_FAULTS).map(({ path, message }) => {
    const key = path.map(String).join('.');
    return printable(key === '' ? message : `${key}: ${message}`);
  });
  throw new HttpError(400, `The request is not understood: ${faults.join('; ')}`, 'GET /v1/openapi.json describes it');
}

/** A query as an object; a name that comes twice is a fault of its own. @throws HttpError 400 */
export function queryOf(query: URLSearchParams): Record<string, string> {
  const names = [...query.keys()];
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new HttpError(400, `${printable(twice)} stands twice in the query`);
  return Object.fromEntries(query);
}
