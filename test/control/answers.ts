/** Holds an answer of the API against what its contract says, the one that OpenAPI is made of. */

import assert from 'node:assert/strict';
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
  }
  checkedOperations.add(operation.id);
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
