/** The version of espd, out of its package.json: one place to change it. */

import { createRequire } from 'node:module';

const packageJson = createRequire(import.meta.url)('../package.json') as { version: string };

export const VERSION = packageJson.version;
