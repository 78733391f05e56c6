/** Holds an answer of the API against what its contract says, the one that OpenAPI is made of. */

import assert from 'node:assert/strict';
import { z } from 'zod';
import { problemAnswer } from '../../src/control/contract/answers.ts';
import { API_PATHS, type Operation, type OperationId } from '../../src/control/contract/operations.ts';

/** Operations whose answers were held against their schema, in this process. */
export const checkedOperations = new Set<OperationId>();

export interface CheckedAnswer {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly status: number;
  readonly type: string;
  readonly text: string;
}

/** Fails where an answer in JSON is not as the contract says; other answers have no form. */
export function checkAnswer({ method, path, status, type, text }: CheckedAnswer): void {
  if (method === 'HEAD' || text === '' || !type.includes('json')) return;
  if (status >= 400) {
    problemAnswer.parse(JSON.parse(text));
    return;
  }
  const operation = operationAt(method, path);
  assert.ok(operation !== undefined, `no operation ${method} ${path}`);
  const { schema } = operation.answer;
  assert.ok(schema !== undefined, `${operation.id} answers JSON of which no schema tells`);
  assert.equal(status, operation.answer.status, operation.id);
  const documents = type.includes('ndjson') ? text.split('\n').filter((line) => line !== '') : [text];
  for (const document of documents) {
    const { success, error } = schema.safeParse(JSON.parse(document));
    assert.ok(success, `${operation.id}: ${error?.message ?? ''}\n${document.slice(0, 2000)}`);
    assert.deepEqual(untold(schema, JSON.parse(document)), [], `${operation.id} does not tell of these fields`);
  }
  checkedOperations.add(operation.id);
}

interface Told {
  readonly properties?: Readonly<Record<string, Told>>;
  readonly additionalProperties?: boolean | Told;
  readonly items?: Told;
  readonly anyOf?: readonly Told[];
  readonly oneOf?: readonly Told[];
  readonly allOf?: readonly Told[];
}

/** Paths of all fields of a document of which its schema does not tell, as OpenAPI has it. */
export function untold(schema: z.ZodType, document: unknown): string[] {
  return [...new Set(fieldsUntold(z.toJSONSchema(schema, { unrepresentable: 'any' }) as Told, document, ''))];
}

function fieldsUntold(told: Told, value: unknown, path: string): string[] {
  const ways = told.anyOf ?? told.oneOf;
  if (ways !== undefined) {
    // The one that fits best: null has no fields, and of a union one tells most.
    const found = ways.map((way) => fieldsUntold(way, value, path));
    return found.reduce((best, one) => (one.length < best.length ? one : best));
  }
  if (Array.isArray(value))
    return value.flatMap((one) => (told.items ? fieldsUntold(told.items, one, `${path}[]`) : []));
  // What has no form of its own (the document of a command) may be anything.
  if (typeof value !== 'object' || value === null || Object.keys(told).every((key) => key === 'description')) return [];
  return Object.entries(value).flatMap(([key, inner]) => {
    const further = told.properties?.[key] ?? (told.properties === undefined ? told.additionalProperties : undefined);
    if (further === undefined || further === false) return [`${path}.${key}`];
    return further === true ? [] : fieldsUntold(further, inner, `${path}.${key}`);
  });
}

function operationAt(method: string, path: string): Operation | undefined {
  const [plain = ''] = path.split('?');
  // What stands there as it is comes before what is a parameter.
  const fitting = API_PATHS.filter(
    (operation) =>
      operation.method === method && new RegExp(`^${operation.path.replace(/\{\w+\}/g, '[^/]+')}$`).test(plain),
  );
  return fitting.sort((one, other) => one.path.split('{').length - other.path.split('{').length)[0];
}
