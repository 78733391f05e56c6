/** The OpenAPI 3.1 document (https://spec.openapis.org/oas/v3.1.0), made of the schemas that requests and answers are held against. */

import { z } from 'zod';
import { VERSION } from '../version.ts';
import { problemAnswer } from './contract/answers.ts';
import { API_PATHS, type Operation } from './contract/operations.ts';
import { PROBLEM_TYPE } from './problem.ts';

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
    components: { schemas: { Problem: schemaOf(problemAnswer) } },
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
        ...(answer.type !== '' && {
          content: { [answer.type]: answer.schema === undefined ? {} : { schema: schemaOf(answer.schema) } },
        }),
      },
      default: { description: 'what went wrong', content: problem },
    },
  };
}

/** Of what is told. */
function schemaOf(schema: z.ZodType): object {
  const all = Object.entries(z.toJSONSchema(schema, { io: 'output' }));
  // The document says once which dialect it speaks.
  return Object.fromEntries(all.filter(([key]) => key !== '$schema'));
}

function queryParameters(query: z.ZodType): object[] {
  const { properties = {} } = z.toJSONSchema(query, { io: 'input', unrepresentable: 'any' }) as {
    properties?: Record<string, object>;
  };
  return Object.entries(properties).map(([name, schema]) => ({ name, in: 'query', required: false, schema }));
}
