/** `npm run build`: man pages for the npm package, into the folder `man` (package.json, `directories`). */

import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { generatedFiles } from './generated.ts';

const folder = join(import.meta.dirname, '../man');
rmSync(folder, { recursive: true, force: true });
mkdirSync(folder);
for (const { name, text } of generatedFiles().man) writeFileSync(join(folder, name), text);
