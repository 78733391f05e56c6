/** The packages that espd runs with, installed from the lock file for another machine's processor, and thinned out. */

import { cpSync, existsSync, lstatSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { ARCHITECTURES, type Architecture, type ModuleFacts } from './control.ts';
import { PROGRAM, isLicense, isNeeded } from './layout.ts';
import { run } from './run.ts';

/**
 * Puts `node_modules` into `folder`: what package-lock.json wants but for development, for Debian's libc.
 * No script of a package runs.
 * @throws Error with what npm said
 */
export function installModules(root: string, folder: string, architecture: Architecture): void {
  for (const name of ['package.json', 'package-lock.json', '.npmrc']) {
    if (existsSync(join(root, name))) cpSync(join(root, name), join(folder, name));
  }
  const cpu = ARCHITECTURES[architecture];
  const platform = ['--os=linux', `--cpu=${cpu}`, '--libc=glibc'];
  const quiet = [
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
    '--no-update-notifier',
    '--loglevel=error',
    '--prefer-offline',
  ];
  // What an `npm run` around this has set would be taken for its own.
  const env = Object.fromEntries(
    Object.keys(process.env)
      .filter((name) => /^npm_(?:config_(?:omit|include|production|prefix|global)|package_|lifecycle_)/i.test(name))
      .map((name) => [name, undefined]),
  );
  run('npm', ['ci', '--omit=dev', ...platform, ...quiet], { cwd: folder, env });
  for (const name of ['package.json', 'package-lock.json', '.npmrc']) rmSync(join(folder, name), { force: true });
  const modules = join(folder, 'node_modules');
  for (const file of filesOf(modules)) {
    if (!isNeeded(relative(modules, file), cpu)) rmSync(file);
  }
  removeEmptyFolders(modules);
  const natives = filesOf(modules).filter((file) => file.endsWith('.node'));
  // koffi, usb and serialport have one each.
  if (natives.length !== 3) {
    throw new Error(`3 native modules for linux-${cpu} are wanted, these are there: ${natives.join(', ')}`);
  }
}

/**
 * Loads each package that espd itself imports, so that one of which too much was taken away is found here.
 * @throws Error with what node said
 */
export function checkLoads(folder: string, names: readonly string[]): void {
  for (const name of names) {
    // Its code is not for us, but its data (see test/architecture.test.ts).
    if (name === 'esptool-js') continue;
    run(process.execPath, ['--input-type=module', '--eval', `await import(${JSON.stringify(name)})`], { cwd: folder });
  }
}

/** Paths of all files and links below a folder, sorted. */
export function filesOf(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

function removeEmptyFolders(folder: string): void {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    if (!lstatSync(path).isDirectory()) continue;
    removeEmptyFolders(path);
    if (readdirSync(path).length === 0) rmSync(path, { recursive: true });
  }
}

/** @param folder the root of the package; paths of the result are relative to it */
export function moduleFacts(folder: string, modules: string): ModuleFacts[] {
  return filesOf(modules)
    .filter((file) => /node_modules\/(?:@[^/]+\/)?[^/]+\/package\.json$/.test(file))
    .map((file) => {
      const path = file.slice(0, -'/package.json'.length);
      const facts = JSON.parse(readFileSync(file, 'utf8')) as {
        license?: string | { type?: string };
        author?: string | { name?: string };
      };
      const { license, author } = facts;
      const licenseFile = readdirSync(path).find(isLicense);
      return {
        path: relative(folder, path),
        license: (typeof license === 'string' ? license : license?.type) ?? 'unknown',
        text: licenseFile === undefined ? undefined : readFileSync(join(path, licenseFile), 'utf8'),
        author: typeof author === 'string' ? author : author?.name,
      };
    });
}

/**
 * What the built page has of other packages, as one, because they are in the same files: npm's packages of the program do
 * not show them.
 * @param own text of espd's own license, which those files are under as well
 * @throws Error where the page was built without its licences
 */
export function pageFacts(root: string, own: { license: string; text: string }): ModuleFacts {
  const text = readFileSync(join(root, 'dist', 'web', 'licences.txt'), 'utf8');
  const licenses = Array.from(text.matchAll(/^# \S+ \S+ \((.+)\)$/gm), ([, license = '']) => license);
  if (licenses.length === 0) throw new Error('dist/web/licences.txt names no package: npm run build makes it');
  const all = [...new Set([own.license, ...licenses])];
  return {
    path: `${PROGRAM}/dist/web`,
    license: all.join(' AND '),
    text: `# espd\n\n${own.text.trim()}\n\n${text}`,
    author: undefined,
  };
}

/** The newest version of the C library that a native module names: 2.x of its symbols GLIBC_2.x. */
export function neededGlibc(natives: readonly Buffer[]): string {
  const minors = natives.flatMap((bytes) =>
    Array.from(bytes.toString('latin1').matchAll(/GLIBC_2\.(\d{1,3})(?![\d])/g), ([, minor]) => Number(minor)),
  );
  if (minors.length === 0) throw new Error('no native module names a version of the C library');
  return `2.${Math.max(...minors)}`;
}
