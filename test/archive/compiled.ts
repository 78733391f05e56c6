import { mkdir } from 'node:fs/promises';
import { bundle } from '../support/bundle.ts';

/** Where a script of this folder lies that is a program: without TypeScript, and with the archive in the same file. */
export async function compiled(folder: string, script: 'breaker' | 'committer' | 'noter' | 'pruner'): Promise<string> {
  await mkdir(folder);
  const [program = ''] = await bundle(folder, `test/archive/${script}.ts`, 'src/archive/hash-worker.ts');
  return program;
}
