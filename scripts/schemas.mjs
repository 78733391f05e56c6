// Writes the published JSON Schemas of manifests and of the config file, from the zod schemas that the code itself
// checks with. Runs after tsc, on its output.

import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { format, resolveConfig } from 'prettier';
import { z } from 'zod';

const root = new URL('../', import.meta.url);
const schemas = [
  { module: 'dist/archive/manifest.js', name: 'manifestSchema', output: 'schema/manifest.schema.json' },
  { module: 'dist/config/schema.js', name: 'configSchema', output: 'schema/config.schema.json' },
];

await mkdir(new URL('schema/', root), { recursive: true });
for (const { module, name, output } of schemas) {
  if (!existsSync(new URL(module, root))) {
    console.error(`schemas: ${output} is not written, because ${module} does not exist`);
    continue;
  }
  const schema = (await import(new URL(module, root).href))[name];
  if (schema === undefined) throw new Error(`${module} does not export ${name}`);
  // `input`: what a file may hold. Defaults may be left out there, and readers ignore keys that they do not know.
  const json = JSON.stringify(z.toJSONSchema(schema, { io: 'input' }), null, 2);
  const target = new URL(output, root);
  const style = await resolveConfig(target, { editorconfig: false });
  await writeFile(target, await format(json, { ...style, parser: 'json' }));
}
