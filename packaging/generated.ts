/**
 * The files that are made of the command definitions and the config's schema: man pages and completions. They are not in
 * the repository, so none of them can be out of date: `npm run build` and `npm run package:deb` write them.
 */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describeProgram } from '../src/cli/completion/command-line.ts';
import { completionScript } from '../src/cli/completion/script.ts';
import { programForReading } from '../src/cli/program.ts';
import { VERSION } from '../src/version.ts';
import type { JsonSchema } from './man/config-page.ts';
import { manPages } from './man/pages.ts';
import { manFileName, renderManPage } from './man/roff.ts';

export interface GeneratedFile {
  readonly name: string;
  readonly text: string;
}

export interface GeneratedFiles {
  /** `espd-backup.1`. */
  readonly man: readonly GeneratedFile[];
  /** By shell, named as each wants it. */
  readonly completions: Readonly<Record<'bash' | 'zsh' | 'fish', GeneratedFile>>;
}

export function generatedFiles(): GeneratedFiles {
  const program = describeProgram(programForReading());
  const schema = JSON.parse(
    readFileSync(join(import.meta.dirname, '../schema/config.schema.json'), 'utf8'),
  ) as JsonSchema;
  return {
    man: manPages(program, schema).map((page) => ({
      name: manFileName(page),
      text: renderManPage(page, `espd ${VERSION}`),
    })),
    completions: {
      bash: { name: 'espd', text: completionScript('bash', program) },
      zsh: { name: '_espd', text: completionScript('zsh', program) },
      fish: { name: 'espd.fish', text: completionScript('fish', program) },
    },
  };
}
