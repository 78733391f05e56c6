/** All manual pages of espd. */

import type { ProgramFacts } from '../../src/cli/completion/command-line.ts';
import { commandPages } from './command-pages.ts';
import { type JsonSchema, configPage } from './config-page.ts';
import type { ManPage } from './roff.ts';
import { SERVICE_PAGE } from './service-page.ts';

export function manPages(program: ProgramFacts, configSchema: JsonSchema): ManPage[] {
  return [...commandPages(program), configPage(configSchema), SERVICE_PAGE];
}
