/** espd.yaml(5), made of the config's JSON Schema. Pure. */

import { seeAlso } from './command-pages.ts';
import type { Block, ManPage } from './roff.ts';

/** As much of JSON Schema as zod writes for the config. */
export interface JsonSchema {
  readonly description?: string;
  readonly type?: string;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly const?: string | number | boolean | null;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly anyOf?: readonly JsonSchema[];
  readonly items?: JsonSchema;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly additionalProperties?: boolean | JsonSchema;
}

export function configPage(schema: JsonSchema): ManPage {
  return {
    name: 'espd.yaml',
    section: 5,
    summary: 'config of espd',
    blocks: [
      { section: 'DESCRIPTION' },
      {
        paragraph: [
          'A file in YAML. espd takes the first of: ',
          { bold: '--config' },
          ', ',
          { italic: '$ESPD_CONFIG' },
          ', ',
          { italic: '$XDG_CONFIG_HOME/espd/config.yaml' },
          ' (',
          { italic: '~/.config/espd/config.yaml' },
          '), ',
          { italic: '/etc/espd/config.yaml' },
          '. Without any of them it runs with the defaults that are given here.',
        ],
      },
      {
        paragraph: [
          'An unknown key is an error, told with line and column. A running daemon takes up most changes by itself; while the file is faulty the old config stays in force.',
        ],
      },
      { section: 'KEYS' },
      ...keyBlocks(schema, ''),
      { section: 'FILES' },
      { term: [{ italic: '/etc/espd/config.yaml' }], meaning: ['The config of the service.'] },
      ...seeAlso(['espd(1)', 'espd-daemon(1)', 'espd.service(8)']),
    ],
  };
}

/** Each key with its path; a section is a subsection of the page. */
function keyBlocks({ properties = {} }: JsonSchema, path: string): Block[] {
  return Object.entries(properties).flatMap(([name, schema]): Block[] => {
    const key = path === '' ? name : `${path}.${name}`;
    if (path === '' && schema.properties !== undefined) {
      const about: Block[] = schema.description === undefined ? [] : [{ paragraph: [schema.description] }];
      return [{ subsection: name }, ...about, ...keyBlocks(schema, key)];
    }
    const facts = [valuesOf(schema), defaultOf(schema)].filter((text) => text !== '').join('; ');
    const about = schema.description ?? '';
    const block: Block = {
      term: [{ bold: key }, ...(facts === '' ? [] : [` (${facts})`])],
      meaning: [about === '' ? `See the other keys of ${path}.` : about],
    };
    return [block, ...keyBlocks(partsOf(schema), `${key}${schema.items === undefined ? '' : '[]'}`)];
  });
}

/** What has keys of its own within a key: the object, or the entries of a list. */
function partsOf(schema: JsonSchema): JsonSchema {
  return schema.items ?? schema;
}

/** What a key may hold, in few words; its description and the checks say more. */
export function valuesOf(schema: JsonSchema): string {
  const { enum: values, anyOf, type, minimum, maximum, items } = schema;
  if (schema.const !== undefined) return String(schema.const);
  if (values !== undefined) return values.map(String).join(', ');
  if (anyOf !== undefined) return [...new Set(anyOf.map(valuesOf))].filter((text) => text !== '').join(', or ');
  if (type === 'integer' || type === 'number') return `number${rangeOf(minimum, maximum)}`;
  if (type === 'boolean') return 'true, false';
  if (type === 'array') return items?.type === 'object' ? 'list of groups of keys' : 'list';
  if (type === 'object') return 'group of keys';
  if (type === 'string') return 'text';
  return type ?? '';
}

function rangeOf(minimum: number | undefined, maximum: number | undefined): string {
  const isBound = (value: number | undefined) => value !== undefined && Math.abs(value) < Number.MAX_SAFE_INTEGER;
  if (isBound(minimum) && isBound(maximum)) return ` from ${minimum} to ${maximum}`;
  if (isBound(minimum)) return ` from ${minimum}`;
  return isBound(maximum) ? ` up to ${maximum}` : '';
}

function defaultOf({ default: value }: JsonSchema): string {
  return value === undefined ? '' : `default ${typeof value === 'string' ? value : JSON.stringify(value)}`;
}
