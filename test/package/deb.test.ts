/** The package itself, built once from this checkout: what is in it, and its life on a throw-away copy of this machine. */

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, hostname, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type BuildOptions, pack, settle, stageFiles } from '../../packaging/deb/build.ts';
import type { Architecture } from '../../packaging/deb/control.ts';
import { generatedFiles } from '../../packaging/generated.ts';

const root = join(import.meta.dirname, '../..');
const DATE = new Date('2026-11-26T09:08:07Z');
const LIFE_LIMIT_MS = 10 * 60_000;
/** What npm says where its registry is out of reach. */
const NO_REGISTRY = /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|ENOTCACHED|EIDLETIMEOUT/;

const architecture = ({ x64: 'amd64', arm64: 'arm64' } as Record<string, Architecture | undefined>)[process.arch];
const folder = mkdtempSync(join(tmpdir(), 'espd-package-'));
after(() => rmSync(folder, { recursive: true, force: true }));

interface Member {
  readonly mode: string;
  readonly owner: string;
  readonly time: string;
  readonly path: string;
}

function membersOf(file: string): Member[] {
  const listing = execFileSync('dpkg-deb', ['--contents', file], {
    encoding: 'utf8',
    env: { ...process.env, TZ: 'UTC' },
  });
  return listing
    .trimEnd()
    .split('\n')
    .map((line) => {
      const [mode = '', owner = '', , day = '', time = '', ...path] = line.split(/ +/);
      return { mode, owner, time: `${day} ${time}`, path: path.join(' ') };
    });
}

const reason =
  process.platform !== 'linux' || architecture === undefined
    ? 'no package is made on this machine'
    : spawnSync('dpkg-deb', ['--version']).status !== 0
      ? 'dpkg-deb is not installed'
      : undefined;
if (reason !== undefined) process.stdout.write(`SKIPPED: ${reason}\n`);

describe('the Debian package', { skip: reason ?? false }, () => {
  const stage = join(folder, 'stage');
  const options: BuildOptions = {
    ...{ root, output: join(folder, 'first'), architecture: architecture ?? 'amd64', version: '0.1.0', date: DATE },
  };
  let file = '';
  let members: readonly Member[] = [];
  let without: string | undefined;

  before(() => {
    try {
      stageFiles(stage, options);
    } catch (error) {
      if (!NO_REGISTRY.test((error as Error).message)) throw error;
      without = "npm's registry is out of reach";
      return;
    }
    file = pack(stage, options);
    members = membersOf(file);
  });

  const check = (name: string, work: () => void): void => {
    test(name, (t) => {
      if (without === undefined) work();
      else t.skip(`SKIPPED: ${without}`);
    });
  };

  check('everything belongs to root, with the modes and the time that it should have', () => {
    for (const { mode, owner, time, path } of members) {
      assert.equal(owner, 'root/root', path);
      assert.equal(time, '2026-11-26 09:08', path);
      const isProgram = path === './usr/lib/espd/dist/main.js';
      const wanted = mode.startsWith('d') || isProgram ? 'rwxr-xr-x' : mode.startsWith('l') ? 'rwxrwxrwx' : 'rw-r--r--';
      assert.equal(mode.slice(1), wanted, path);
    }
  });

  check('each file is at its place', () => {
    const paths = new Set(members.map(({ path }) => path.replace(/^\.\//, '/')));
    for (const path of [
      ...['/etc/espd/config.yaml', '/usr/lib/espd/package.json', '/usr/lib/espd/schema/config.schema.json'],
      ...['/usr/lib/systemd/system/espd.service', '/usr/lib/sysusers.d/espd.conf', '/usr/lib/tmpfiles.d/espd.conf'],
      ...['/usr/lib/udev/rules.d/70-espd.rules', '/usr/share/bash-completion/completions/espd'],
      ...['/usr/share/zsh/vendor-completions/_espd', '/usr/share/fish/vendor_completions.d/espd.fish'],
      ...['/usr/share/doc/espd/copyright', '/usr/share/doc/espd/changelog.gz', '/usr/share/doc/espd/docs/install.md'],
      '/usr/bin/espd -> ../lib/espd/dist/main.js',
      ...generatedFiles().man.map(({ name }) => `/usr/share/man/man${name.at(-1)}/${name}.gz`),
    ]) {
      assert.ok(paths.has(path), path);
    }
    // dpkg would remove it with the package.
    assert.deepEqual(
      [...paths].filter((path) => /^\/(?:var|run|usr\/local|home|root)\b/.test(path)),
      [],
    );
  });

  check('of node_modules only what runs here: none for development, of another processor or of musl', () => {
    const packages = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
      packages: Record<string, { dev?: boolean } | undefined>;
    };
    const natives: string[] = [];
    for (const { path } of members) {
      const within =
        /^\.\/usr\/lib\/espd\/(node_modules\/(?:.*node_modules\/)?(?:@[^/]+\/)?[^/]+)\/package\.json$/.exec(path)?.[1];
      if (within !== undefined && within in packages.packages) {
        assert.notEqual(packages.packages[within]?.dev, true, within);
      }
      if (path.endsWith('.node')) natives.push(path);
    }
    assert.equal(natives.length, 3, String(natives));
    for (const path of natives) {
      assert.match(path, process.arch === 'x64' ? /linux-x64/ : /linux-arm64/);
      assert.doesNotMatch(path, /musl/);
    }
    for (const name of ['typescript', 'eslint', 'tsx', '@types/node', 'prettier', 'fast-check']) {
      assert.ok(!members.some(({ path }) => path.includes(`/node_modules/${name}/`)), name);
    }
  });

  check('no file names this machine: its folders, its name, where npm fetched from', () => {
    const registry = execFileSync('npm', ['config', 'get', 'registry'], { cwd: root, encoding: 'utf8' }).trim();
    const host = /^https?:\/\/([^/]+)/.exec(registry)?.[1] ?? '';
    // A host that everybody uses tells nothing, and a short name stands in many words.
    const words = [root, folder, host === 'registry.npmjs.org' ? '' : host, hostname().length > 8 ? hostname() : ''];
    // That of root stands in many texts.
    if (homedir().length > 6) words.push(homedir());
    for (const word of words.filter((text) => text !== '' && text !== '/')) {
      const { status, stdout } = spawnSync('grep', ['-rlFa', '--', word, stage], { encoding: 'utf8' });
      assert.deepEqual([status, stdout], [1, ''], word);
    }
  });

  check('control data: the config is a conffile, and sums and scripts are there', () => {
    const field = (name: string) => execFileSync('dpkg-deb', ['--field', file, name], { encoding: 'utf8' }).trim();
    assert.equal(field('Package'), 'espd');
    assert.equal(field('Architecture'), architecture);
    assert.match(field('Depends'), /^nodejs \(>= 20\.19\), libc6 \(>= 2\.\d+\), /);
    assert.ok(Number(field('Installed-Size')) > 1000);
    assert.equal(readFileSync(join(stage, 'DEBIAN/conffiles'), 'utf8'), '/etc/espd/config.yaml\n');
    const sums = spawnSync('md5sum', ['--check', '--quiet', 'DEBIAN/md5sums'], { cwd: stage, encoding: 'utf8' });
    assert.deepEqual([sums.status, sums.stdout], [0, '']);
    const script = members.find(({ path }) => path.endsWith('dist/main.js'));
    assert.ok(script !== undefined);
    assert.match(readFileSync(join(stage, 'usr/lib/espd/dist/main.js'), 'utf8'), /^#!\/usr\/bin\/node\n/);
  });

  check('the license of each module is told', () => {
    const text = readFileSync(join(stage, 'usr/share/doc/espd/copyright'), 'utf8');
    for (const name of ['koffi', 'usb', 'serialport', 'zod', 'esptool-js', 'winston']) {
      assert.match(
        text,
        new RegExp(`^Files: usr/lib/espd/node_modules/${name}/\\*\nCopyright: .+(?:\n .+)*\nLicense: \\S+\n .+`, 'm'),
      );
    }
    // What is bundled into the page is in no folder of its own.
    assert.match(text, /^Files: usr\/lib\/espd\/dist\/web\/\*\n/m);
    assert.match(text, /^ # preact \d/m);
    assert.doesNotMatch(text, /License: unknown/);
  });

  check('the same files give the same package, whatever the clock, the umask and the order were', () => {
    const again = join(folder, 'again');
    cpSync(stage, again, { recursive: true, verbatimSymlinks: true });
    chmodSync(join(again, 'usr/lib'), 0o700);
    settle(
      again,
      new Set(['usr/lib/espd/dist/main.js', ...['postinst', 'prerm', 'postrm'].map((name) => `DEBIAN/${name}`)]),
      DATE,
    );
    const second = pack(again, { ...options, output: join(folder, 'second') });
    assert.ok(readFileSync(second).equals(readFileSync(file)));
  });

  check('the program runs from where it is, and needs nothing else', () => {
    const program = join(stage, 'usr/lib/espd/dist/main.js');
    const env = { PATH: process.env['PATH'], HOME: folder };
    const version = spawnSync(process.execPath, [program, '--version'], { encoding: 'utf8', env, cwd: folder });
    assert.deepEqual([version.status, version.stderr], [0, '']);
    const list = spawnSync(process.execPath, [program, 'list', '--archive', '/nonexistent'], {
      encoding: 'utf8',
      env,
      cwd: folder,
    });
    assert.deepEqual([list.status, list.signal], [3, null], list.stderr);
  });

  describe('its life', () => {
    let life: ReadonlyMap<string, string> = new Map();
    const told = (step: string) => life.get(step) ?? assert.fail(`no step ${step}`);

    before(() => {
      without ??= unableToInstall();
      if (without !== undefined) return;
      const next = join(folder, 'next');
      cpSync(stage, next, { recursive: true, verbatimSymlinks: true });
      const control = join(next, 'DEBIAN/control');
      writeFileSync(control, readFileSync(control, 'utf8').replace(/^Version: .*$/m, 'Version: 9.9.9'));
      const newer = pack(next, { ...options, output: join(folder, 'newer'), version: '9.9.9' });
      mkdirSync(join(folder, 'overlay'));
      const script = join(import.meta.dirname, 'lifecycle.sh');
      const { status, stdout, stderr } = spawnSync(
        'unshare',
        ['--mount', 'bash', script, file, newer, join(folder, 'overlay')],
        {
          encoding: 'utf8',
          timeout: LIFE_LIMIT_MS,
        },
      );
      assert.equal(status, 0, `${stdout}\n${stderr}`);
      life = new Map(
        stdout
          .split(/^## /m)
          .slice(1)
          .map((text) => [text.slice(0, text.indexOf('\n')), text.slice(text.indexOf('\n') + 1)]),
      );
      assert.ok(life.has('end'), stdout);
    });

    /** What is to be the case after a step, as `lifecycle.sh` prints it. */
    const then = (step: string, facts: Readonly<Record<string, string | RegExp>>) => {
      for (const [key, value] of Object.entries(facts)) {
        const found = [...told(step).matchAll(new RegExp(`^${key}: ?(.*)$`, 'gm'))].at(-1)?.[1];
        if (typeof value === 'string') assert.equal(found?.trim(), value, `${step}: ${key}\n${told(step)}`);
        else assert.match(found ?? '', value, `${step}: ${key}\n${told(step)}`);
      }
    };
    const KEPT = { status: '0', config: '# mine', archive: 'kept', user: 'there' };

    check('installed: the user, the folder, the service enabled and started, the command there', () => {
      then('install', { status: '0', state: 'active', told: 'reload start', enabled: 'yes', user: 'there' });
      then('install', {
        folder: '700 espd espd',
        groups: /\bespd\b.*\bdialout\b/,
        version: /^\d+\.\d+\.\d+$/,
        verify: '',
      });
      then('install', { list: 'No backups yet in /var/lib/espd' });
      assert.doesNotMatch(told('install'), /Killed|rror/);
    });
    check('upgraded while it runs: stopped before its files are replaced, and started again', () => {
      then('upgrade while it runs', { ...KEPT, state: 'active', told: 'stop reload start', enabled: 'yes' });
    });
    check('configured again: nothing else happens', () => {
      then('configured again', { state: 'active', enabled: 'yes', config: '# mine', archive: 'kept' });
      assert.doesNotMatch(told('configured again'), /failed/);
    });
    check('upgraded while it was stopped: it stays stopped, and that is said', () => {
      then('upgrade while it is stopped', { ...KEPT, state: 'inactive', enabled: 'yes' });
      assert.match(told('upgrade while it is stopped'), /was stopped before, and stays so/);
    });
    check('upgraded after a failure: it is started', () => {
      then('upgrade after it failed', { ...KEPT, state: 'active', enabled: 'yes' });
    });
    check('a start that fails does not keep dpkg from its work', () => {
      then('upgrade with a start that fails', { ...KEPT, state: 'failed' });
      assert.match(told('upgrade with a start that fails'), /did not start\. Look at: systemctl status espd/);
    });
    check('removed: stopped and disabled; archive, config and user stay', () => {
      then('remove', { ...KEPT, state: 'inactive', enabled: 'no', told: /^stop / });
      assert.match(told('remove'), /the archive in \/var\/lib\/espd stays/);
      then('install again', { ...KEPT, state: 'active', enabled: 'yes' });
    });
    check('a service that somebody has disabled stays so', () => {
      then('upgrade while it is disabled', { ...KEPT, state: 'inactive', enabled: 'no' });
      then('remove and install while it is disabled', { ...KEPT, state: 'inactive', enabled: 'no' });
    });
    check('what an installation by npm has left is named', () => {
      assert.match(
        told('beside an installation by npm'),
        /\/etc\/systemd\/system\/espd\.service is of an earlier installation/,
      );
    });
    check('purged: config and program are gone, every backup is there, and that is said', () => {
      then('purge', { ...KEPT, config: 'gone', enabled: 'no', left: '' });
      assert.match(told('purge'), /the archive in \/var\/lib\/espd stays.*\n.*elsewhere .*not touched/);
    });
  });
});

/** Why dpkg cannot be tried here; undefined where it can. */
function unableToInstall(): string | undefined {
  if (process.getuid?.() !== 0) return 'only root can try an installation';
  for (const program of ['unshare', 'dpkg', 'systemctl', 'systemd-sysusers', 'systemd-tmpfiles', 'runuser']) {
    if (spawnSync(program, ['--version']).status !== 0) return `${program} is not installed`;
  }
  const nodejs = spawnSync('dpkg-query', ['-W', '-f', '${Version}', 'nodejs'], { encoding: 'utf8' }).stdout;
  if (spawnSync('dpkg', ['--compare-versions', nodejs || '0', 'ge', '20.19']).status !== 0) {
    return 'no package nodejs (>= 20.19) is installed';
  }
  const probe = join(folder, 'probe');
  mkdirSync(probe);
  const mounts =
    'mount -t tmpfs tmpfs "$1" && mkdir "$1/u" "$1/w" "$1/r" && mount -t overlay overlay -o "lowerdir=/,upperdir=$1/u,workdir=$1/w" "$1/r"';
  const { status } = spawnSync('unshare', ['--mount', 'sh', '-c', mounts, basename(import.meta.filename), probe]);
  return status === 0 ? undefined : 'no overlay can be mounted';
}
