/**
 * `npm run package:deb [-- --arch amd64|arm64] [--output DIR]`: builds espd's Debian package from this checkout. Needs git,
 * dpkg-deb and npm's registry. `SOURCE_DATE_EPOCH` is the time of its files, default that of the last commit; `DEBFULLNAME`
 * and `DEBEMAIL` name its maintainer, as for Debian's own tools.
 */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { buildPackage } from './build.ts';
import { ARCHITECTURES, type Architecture, debianVersion } from './control.ts';
import { run } from './run.ts';

const root = join(import.meta.dirname, '../..');

interface Origin {
  readonly date: Date;
  readonly version: string;
}

/** @throws Error without git's history and without SOURCE_DATE_EPOCH */
function originOf(release: string): Origin {
  const epoch = process.env['SOURCE_DATE_EPOCH'];
  const told = epoch === undefined ? undefined : new Date(Number(epoch) * 1000);
  try {
    const git = (...args: string[]) => run('git', args, { cwd: root }).trim();
    const [id = '', seconds = ''] = git('log', '-1', '--format=%H %ct').split(' ');
    const isDirty = git('status', '--porcelain') !== '';
    const isRelease = git('tag', '--points-at', 'HEAD').split('\n').includes(`v${release}`) && !isDirty;
    const date = new Date(Number(seconds) * 1000);
    return { date: told ?? date, version: debianVersion(release, isRelease ? undefined : { date, id, isDirty }) };
  } catch (error) {
    if (told === undefined) throw error;
    return { date: told, version: debianVersion(release, undefined) };
  }
}

function architectureOf(text: string | undefined): Architecture {
  const names = Object.keys(ARCHITECTURES) as Architecture[];
  const found = names.find((name) => (text === undefined ? ARCHITECTURES[name] === process.arch : name === text));
  if (found === undefined)
    throw new Error(`${text ?? process.arch} is no architecture of the package: ${names.join(', ')}`);
  return found;
}

const { values } = parseArgs({ options: { arch: { type: 'string' }, output: { type: 'string' } } });
const { version: release } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
const { DEBFULLNAME: name, DEBEMAIL: email } = process.env;
try {
  const file = buildPackage({
    ...{ root, output: values.output ?? root, architecture: architectureOf(values.arch) },
    ...originOf(release),
    maintainer: name && email ? `${name} <${email}>` : undefined,
  });
  process.stdout.write(`${file}\n`);
} catch (error) {
  process.stderr.write(`espd: no package was built: ${(error as Error).message}\n`);
  process.exitCode = 1;
}
