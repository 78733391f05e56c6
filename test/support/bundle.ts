/** Programs for tests that start one many times: made into a single file each, one starts in half of the time or less. */

import { symlink, writeFile } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const PROJECT = fileURLToPath(new URL('../../', import.meta.url));

/** Packages with native parts, which look for their files beside themselves. */
const NATIVE = ['koffi', 'serialport', 'usb'];

/** What is CommonJS in the packages calls `require`. The other name may be that of an import of the program itself. */
const BANNER = `import { createRequire as requireOf } from 'node:module';
const require = requireOf(import.meta.url);`;

/**
 * @param folder is there, and empty
 * @param entries paths from the project's root; a script that starts a thread needs the thread's file as an entry, too
 * @returns for each the path of what node runs
 */
export async function bundle(folder: string, ...entries: readonly string[]): Promise<string[]> {
  await build({
    absWorkingDir: PROJECT,
    entryPoints: [...entries],
    entryNames: '[name]',
    outdir: folder,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    external: NATIVE,
    banner: { js: BANNER },
    logLevel: 'error',
  });
  await writeFile(join(folder, 'package.json'), '{"type": "module"}');
  await symlink(join(PROJECT, 'node_modules'), join(folder, 'node_modules'));
  return entries.map((entry) => join(folder, `${basename(entry, extname(entry))}.js`));
}
