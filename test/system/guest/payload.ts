/** The guest's second disk: espd as `npm pack` packs it and `npm install --global` lays it out, and the agent. */

import { cp, mkdir, readdir, rm, symlink } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { execute } from './execute.ts';

const REPOSITORY = join(import.meta.dirname, '../../..');
/** Room for file system and growth beside the files, in MiB. */
const SPARE_MIB = 32;

/** Makes the disk in `folder`. The checkout must be built. @returns the path of the disk */
export async function buildPayload(folder: string): Promise<string> {
  const payload = join(folder, 'payload');
  const modules = join(payload, 'local/lib/node_modules');
  await mkdir(modules, { recursive: true });
  await unpackTarball(folder, join(modules, 'espd'));
  await copyDependencies(join(modules, 'espd/node_modules'));
  await mkdir(join(payload, 'local/bin'));
  await symlink('../lib/node_modules/espd/dist/main.js', join(payload, 'local/bin/espd'));
  await cp(join(import.meta.dirname, 'agent.mjs'), join(payload, 'agent.mjs'));

  const { stdout } = await execute('du', ['-sm', payload]);
  const disk = join(folder, 'payload.img');
  await execute('mke2fs', ['-q', '-t', 'ext4', '-d', payload, disk, `${Number.parseInt(stdout) + SPARE_MIB}M`]);
  await rm(payload, { recursive: true });
  return disk;
}

/** What would be published: a file that `package.json` forgets is missing in the guest, too. */
async function unpackTarball(folder: string, target: string): Promise<void> {
  const pack = ['pack', '--ignore-scripts', '--silent', '--pack-destination', folder];
  await execute('npm', pack, 180_000, REPOSITORY);
  const tarball = (await readdir(folder)).find((name) => name.endsWith('.tgz'));
  if (tarball === undefined) throw new Error('npm pack made no tarball');
  await mkdir(target);
  await execute('tar', ['-xzf', join(folder, tarball), '-C', target, '--strip-components=1', '--no-same-owner']);
  // npm makes the files of `bin` executable when it installs them.
  await execute('chmod', ['+x', join(target, 'dist/main.js')]);
}

/** The guest has no network for `npm install`, so it gets what npm installed here, without what is for development. */
async function copyDependencies(target: string): Promise<void> {
  const { stdout } = await execute('npm', ['ls', '--omit=dev', '--all', '--parseable'], 180_000, REPOSITORY);
  const packages = stdout.split('\n').filter((path) => path.includes('/node_modules/'));
  for (const path of packages) {
    const within = relative(join(REPOSITORY, 'node_modules'), path);
    // A package inside another one comes along with it.
    if (within.includes('/node_modules/')) continue;
    await cp(path, join(target, within), { recursive: true });
  }
}
