/** The OpenAPI 3.1 document (https://spec.openapis.org/oas/v3.1.0), made of the schemas that requests are held against. */

import { z } from 'zod';
import { VERSION } from '../version.ts';
import { API_PATHS, type Operation } from './contract/operations.ts';
import { PROBLEM_TYPE } from './problem.ts';

const PROBLEM_SCHEMA = {
  type: 'object',
  required: ['title', 'status', 'detail', 'code', 'hint'],
  properties: {
    type: { type: 'string' },
    title: { type: 'string', description: 'What the code means.' },
    status: { type: 'integer' },
    detail: { type: 'string', description: 'What happened, one sentence.' },
    code: { type: 'string', description: 'A code of espd, stable.' },
    hint: { type: 'string', description: 'What can be done about it.' },
  },
};

export function openApi(): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const operation of API_PATHS) {
    (paths[operation.path] ??= {})[operation.method.toLowerCase()] = operationJson(operation);
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'espd',
      version: VERSION,
      description: "The daemon's API, on its unix socket. Errors are problem documents (RFC 9457) with a code of espd.",
    },
    paths,
    components: { schemas: { Problem: PROBLEM_SCHEMA } },
  };
}

function operationJson({ id, path, summary, body, query, answer }: Operation): object {
  const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    ...{ name, in: 'path', required: true },
    schema: { type: 'string' },
  }));
  const inQuery = query === undefined ? [] : queryParameters(query);
  const problem = { [PROBLEM_TYPE]: { schema: { $ref: '#/components/schemas/Problem' } } };
  return {
    operationId: id,
    summary,
    ...(inPath.length + inQuery.length > 0 && { parameters: [...inPath, ...inQuery] }),
    ...(body && {
      requestBody: { content: { 'application/json': { schema: z.toJSONSchema(body, { io: 'input' }) } } },
    }),
    responses: {
      [answer.status]: {
        description: answer.what,
        ...(answer.type !== '' && { content: { [answer.type]: {} } }),
      },
      default: { description: 'what went wrong', content: problem },
    },
  };
}

function queryParameters(query: z.ZodType): object[] {
  const { properties = {} } = z.toJSONSchema(query, { io: 'input', unrepresentable: 'any' }) as {
    properties?: Record<string, object>;
  };
  return Object.entries(properties).map(([name, schema]) => ({ name, in: 'query', required: false, schema }));
}
