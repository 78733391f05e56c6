/**
 * Builds the Debian package: a folder with everything at its place, and dpkg-deb over it. Nothing of the time or the place
 * of the build is in it: the same commit gives the same bytes (https://reproducible-builds.org/specs/source-date-epoch/).
 */

import { createHash } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, relative, sep } from 'node:path';
import { gzipSync } from 'node:zlib';
import { generatedFiles } from '../generated.ts';
import { ARCHITECTURES, type Architecture, MAINTAINER, changelog, controlFile, copyrightFile } from './control.ts';
import { CONFIG, PROGRAM, isLicense, packagedConfig, packagedMain, packagedTmpfiles, packagedUnit } from './layout.ts';
import { checkLoads, filesOf, installModules, moduleFacts, neededGlibc, pageFacts } from './modules.ts';
import { run } from './run.ts';

export interface BuildOptions {
  /** The checkout, compiled to `dist`. */
  readonly root: string;
  /** Where the package goes. */
  readonly output: string;
  readonly architecture: Architecture;
  readonly version: string;
  /** Of the commit: the time of all files. */
  readonly date: Date;
  readonly maintainer?: string | undefined;
}

interface PackageJson {
  readonly name: string;
  readonly version: string;
  readonly license: string;
  readonly type: string;
  readonly engines: { readonly node: string };
  readonly dependencies: Readonly<Record<string, string>>;
  readonly optionalDependencies: Readonly<Record<string, string>>;
}

const SCRIPTS = ['postinst', 'prerm', 'postrm'];

/** @returns the path of the package. @throws Error with what a program said that failed */
export function buildPackage(options: BuildOptions): string {
  const workshop = mkdtempSync(join(tmpdir(), 'espd-deb-'));
  try {
    const stage = join(workshop, 'stage');
    stageFiles(stage, options);
    return pack(stage, options);
  } finally {
    rmSync(workshop, { recursive: true, force: true });
  }
}

/** Everything of the package at its place below `stage`. */
export function stageFiles(stage: string, options: BuildOptions): void {
  const { root, architecture, version, date, maintainer = MAINTAINER } = options;
  const read = (path: string) => readFileSync(join(root, path), 'utf8');
  const write = (path: string, content: string | Buffer) => {
    mkdirSync(dirname(join(stage, path)), { recursive: true });
    writeFileSync(join(stage, path), content);
  };
  const own = JSON.parse(read('package.json')) as PackageJson;

  const program = join(stage, PROGRAM);
  mkdirSync(program, { recursive: true });
  installModules(root, program, architecture);
  const isOurs = process.platform === 'linux' && process.arch === ARCHITECTURES[architecture];
  if (isOurs) checkLoads(program, Object.keys({ ...own.dependencies, ...own.optionalDependencies }));
  copyCompiled(join(root, 'dist'), join(program, 'dist'));
  const main = `${PROGRAM}/dist/main.js`;
  write(main, packagedMain(readFileSync(join(stage, main), 'utf8')));
  const { name, license, type, engines } = own;
  const about = { name, version: own.version, private: true, license, type, engines };
  write(`${PROGRAM}/package.json`, `${JSON.stringify(about, null, 2)}\n`);
  cpSync(join(root, 'schema'), join(program, 'schema'), { recursive: true });
  mkdirSync(join(stage, 'usr/bin'));
  symlinkSync('../lib/espd/dist/main.js', join(stage, 'usr/bin/espd'));

  write(CONFIG, packagedConfig(read('config.example.yaml')));
  write('usr/lib/systemd/system/espd.service', packagedUnit(read('systemd/espd.service')));
  write('usr/lib/sysusers.d/espd.conf', read('systemd/sysusers.d/espd.conf'));
  write('usr/lib/tmpfiles.d/espd.conf', packagedTmpfiles(read('systemd/tmpfiles.d/espd.conf')));
  write('usr/lib/udev/rules.d/70-espd.rules', read('systemd/udev/70-espd.rules'));

  const { man, completions } = generatedFiles();
  for (const page of man) write(`usr/share/man/man${page.name.at(-1)}/${page.name}.gz`, zipped(page.text));
  write('usr/share/bash-completion/completions/espd', completions.bash.text);
  write('usr/share/zsh/vendor-completions/_espd', completions.zsh.text);
  write('usr/share/fish/vendor_completions.d/espd.fish', completions.fish.text);

  const doc = 'usr/share/doc/espd';
  for (const page of ['README.md', 'FORMAT.md', 'config.example.yaml']) write(`${doc}/${page}`, read(page));
  for (const page of filesOf(join(root, 'docs'))) {
    write(`${doc}/docs/${relative(join(root, 'docs'), page)}`, readFileSync(page));
  }
  write(`${doc}/CHANGELOG.md.gz`, zipped(read('CHANGELOG.md')));
  write(`${doc}/changelog.gz`, zipped(changelog(version, maintainer, date)));
  const modules = moduleFacts(stage, join(program, 'node_modules'));
  const ours = { license: own.license, text: read('LICENSE') };
  write(`${doc}/copyright`, copyrightFile(ours, [...modules, pageFacts(root, ours)]));
  // Their texts are all in that file now.
  for (const file of filesOf(join(program, 'node_modules'))) if (isLicense(basename(file))) rmSync(file);

  const files = filesOf(stage).filter((file) => lstatSync(file).isFile());
  const natives = files.filter((file) => file.endsWith('.node')).map((file) => readFileSync(file));
  const installedKib = files.reduce((sum, file) => sum + Math.ceil(lstatSync(file).size / 1024), 0);
  const facts = { version, architecture, nodeRange: own.engines.node, installedKib, maintainer };
  const sums = files.map((file) => `${md5(readFileSync(file))}  ${relative(stage, file)}\n`);
  write('DEBIAN/control', controlFile({ ...facts, glibc: neededGlibc(natives) }));
  write('DEBIAN/conffiles', `/${CONFIG}\n`);
  write('DEBIAN/md5sums', sums.join(''));
  for (const script of SCRIPTS) write(`DEBIAN/${script}`, read(`packaging/deb/scripts/${script}`));
  settle(stage, new Set([main, ...SCRIPTS.map((script) => `DEBIAN/${script}`)]), date);
}

/** What was built, without source maps: the sources that they speak of do not come along. */
function copyCompiled(dist: string, target: string): void {
  for (const file of filesOf(dist)) {
    const isOfPage = relative(dist, file).split(sep)[0] === 'web';
    if (!file.endsWith('.js') && !isOfPage) continue;
    const copy = join(target, relative(dist, file));
    mkdirSync(dirname(copy), { recursive: true });
    writeFileSync(copy, readFileSync(file, 'utf8').replace(/\n\/\/# sourceMappingURL=.*\n?$/, '\n'));
  }
}

/** Modes and times of all that is staged, whatever the umask and the clock were. */
export function settle(stage: string, executables: ReadonlySet<string>, date: Date): void {
  const entries = readdirSync(stage, { recursive: true, withFileTypes: true });
  for (const entry of entries) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isDirectory()) chmodSync(path, 0o755);
    else if (entry.isFile()) chmodSync(path, executables.has(relative(stage, path)) ? 0o755 : 0o644);
    lutimesSync(path, date, date);
  }
  chmodSync(stage, 0o755);
  lutimesSync(stage, date, date);
}

/** @returns the path of the package */
export function pack(stage: string, { output, version, architecture, date }: BuildOptions): string {
  mkdirSync(output, { recursive: true });
  const file = join(output, `espd_${version}_${architecture}.deb`);
  // xz splits its work by the number of threads, and its output with it.
  const env = { SOURCE_DATE_EPOCH: String(Math.floor(date.getTime() / 1000)), DPKG_DEB_THREADS_MAX: '1' };
  run('dpkg-deb', ['--build', '--root-owner-group', '-Zxz', stage, file], { env });
  return file;
}

function zipped(text: string): Buffer {
  return gzipSync(text, { level: 9 });
}

function md5(bytes: Buffer): string {
  return createHash('md5').update(bytes).digest('hex');
}
