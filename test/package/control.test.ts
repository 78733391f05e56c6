/** The texts of the Debian package, and the maintainer scripts as shells read them. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { changelog, controlFile, copyrightFile, debianVersion } from '../../packaging/deb/control.ts';
import { isNeeded, packagedConfig, packagedMain, packagedTmpfiles, packagedUnit } from '../../packaging/deb/layout.ts';
import { neededGlibc, pageFacts } from '../../packaging/deb/modules.ts';

const root = join(import.meta.dirname, '../..');
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const SCRIPTS = join(root, 'packaging/deb/scripts');

test('versions: a commit that is no release sorts behind it, and by its time', () => {
  const commit = { date: new Date('2026-11-26T09:08:07Z'), id: 'abcdef0123456789', isDirty: false };
  assert.equal(debianVersion('0.1.0', undefined), '0.1.0');
  assert.equal(debianVersion('0.1.0', commit), '0.1.0+git20261126.090807.abcdef01');
  assert.equal(debianVersion('0.1.0', { ...commit, isDirty: true }), '0.1.0+git20261126.090807.abcdef01.dirty');
  for (const bad of ['1.0', '1.0.0-beta', 'x', '1.0.0\nDepends: sudo'])
    assert.throws(() => debianVersion(bad, undefined));
  if (spawnSync('dpkg', ['--version']).error !== undefined) return;
  const later = debianVersion('0.1.0', { ...commit, date: new Date('2026-11-26T09:08:08Z') });
  for (const [a, b] of [
    ['0.1.0', debianVersion('0.1.0', commit)],
    [debianVersion('0.1.0', commit), later],
    [later, '0.1.1'],
  ]) {
    assert.equal(spawnSync('dpkg', ['--compare-versions', a!, 'lt', b!]).status, 0, `${a} < ${b}`);
  }
});

test('control: what espd needs, of the Node that package.json wants', () => {
  const facts = {
    version: '1.2.3',
    architecture: 'arm64',
    nodeRange: '>=20.19',
    glibc: '2.28',
    installedKib: 9,
    maintainer: 'A <a@b>',
  } as const;
  const text = controlFile(facts);
  assert.match(text, /^Package: espd\nVersion: 1\.2\.3\nArchitecture: arm64\nMaintainer: A <a@b>\nInstalled-Size: 9\n/);
  assert.match(text, /^Depends: nodejs \(>= 20\.19\), libc6 \(>= 2\.28\), .*\bsystemd \| /m);
  for (const line of text.split('\n')) assert.ok(line.length <= 80 || line.startsWith('Depends:'), line);
  assert.throws(() => controlFile({ ...facts, nodeRange: '^20' }));
});

test('changelog and copyright have the forms that Debian wants', () => {
  const log = changelog('1.2.3', 'A <a@b>', new Date('2026-11-26T09:08:07Z'));
  assert.match(
    log,
    /^espd \(1\.2\.3\) unstable; urgency=medium\n\n {2}\* .*\n\n -- A <a@b> {2}Thu, 26 Nov 2026 09:08:07 \+0000\n$/,
  );
  const modules = [
    {
      path: 'usr/lib/espd/node_modules/a',
      license: '(MIT OR Zlib)',
      text: 'MIT\n\nCopyright (c) 2020 Ann\nmore\n',
      author: 'Bob',
    },
    { path: 'usr/lib/espd/node_modules/b', license: 'Apache-2.0', text: 'Apache text', author: 'Bob' },
    { path: 'usr/lib/espd/node_modules/c', license: 'ISC', text: undefined, author: undefined },
  ];
  const text = copyrightFile({ license: 'MIT', text: 'Copyright (c) 2026 espd contributors\n' }, modules);
  assert.match(text, /^Files: \*\nCopyright: \(c\) 2026 espd contributors\nLicense: MIT\n Copyright \(c\) 2026/m);
  assert.match(text, /^Files: .*\/a\/\*\nCopyright: \(c\) 2020 Ann\nLicense: MIT or Zlib\n MIT\n \.\n Copyright/m);
  assert.match(text, /^Files: .*\/b\/\*\nCopyright: Bob\nLicense: Apache-2\.0\n .*common-licenses\/Apache-2\.0\.$/m);
  assert.match(text, /^Files: .*\/c\/\*\nCopyright: its authors/m);
});

test('copyright: what is bundled into the built page, with each of its holders and espd itself', () => {
  const own = { license: 'MIT', text: read('LICENSE') };
  const text = copyrightFile(own, [pageFacts(root, own)]);
  const [, ofPage = ''] = text.split('Files: usr/lib/espd/dist/web/*\n');
  assert.match(ofPage, /^Copyright: \(c\) .*espd.*\n(?: .*\n)*License: MIT\n/);
  for (const name of ['preact', '@preact/signals', '@preact/signals-core']) {
    assert.match(ofPage, new RegExp(`^ # ${name} \\d+\\.\\S+ \\(MIT\\)$`, 'm'), name);
  }
  assert.match(ofPage, /^ \(c\) 2015-present Jason Miller$/m);
  assert.match(ofPage, /^ \(c\) 2022-present Preact Team$/m);
  assert.throws(() => pageFacts(join(root, 'test'), own));
});

test('the unit, tmpfiles and the config, with the paths of a package', () => {
  const unit = packagedUnit(read('systemd/espd.service'));
  assert.match(unit, /^\[Unit\]\nDescription=/m);
  assert.equal(unit.match(/^\[Unit\]/gm)?.length, 1);
  assert.match(unit, /^ExecStart=\/usr\/bin\/espd daemon --config \/etc\/espd\/config\.yaml$/m);
  assert.match(unit, /^RuntimeDirectory=espd\nRuntimeDirectoryMode=0750$/m);
  assert.ok(!unit.includes('/usr/local'));
  assert.throws(() => packagedUnit(unit));
  const tmpfiles = packagedTmpfiles(read('systemd/tmpfiles.d/espd.conf'));
  assert.deepEqual(
    tmpfiles.split('\n').filter((line) => /^[a-zA-Z]/.test(line)),
    ['d /var/lib/espd 0700 espd espd -'],
  );
  assert.throws(() => packagedTmpfiles(''));
  assert.match(
    packagedConfig(read('config.example.yaml')),
    /^# yaml.*\$schema=\/usr\/lib\/espd\/schema\/config\.schema\.json$/m,
  );
  assert.equal(packagedMain('#!/usr/bin/env node\nx'), '#!/usr/bin/node\nx');
  assert.throws(() => packagedMain('x'));
});

test('of a module only what runs on this processor with the C library of Debian', () => {
  const needed = [
    'koffi/index.js',
    'koffi/src/koffi/index.cjs',
    '@koromix/koffi-linux-x64/linux_x64/koffi.node',
    '@serialport/bindings-cpp/prebuilds/linux-x64/@serialport+bindings-cpp.glibc.node',
    '@node-usb/usb-linux-x64-gnu/usb.linux-x64-gnu.node',
    'mqtt/build/index.js',
    'zod/LICENSE',
    'esptool-js/lib/targets/stub_flasher/stub_flasher_32.json',
  ];
  const others = [
    '@koromix/koffi-linux-x64/musl_x64/koffi.node',
    '@serialport/bindings-cpp/prebuilds/linux-x64/@serialport+bindings-cpp.musl.node',
    '@serialport/bindings-cpp/prebuilds/linux-arm64/@serialport+bindings-cpp.armv8.glibc.node',
    '@serialport/bindings-cpp/prebuilds/win32-x64/@serialport+bindings-cpp.node',
    '@serialport/bindings-cpp/src/serialport.cpp',
    'mqtt/dist/mqtt.js',
    'koffi/vendor/node-addon-api/LICENSE.md',
    '.package-lock.json',
    'zod/README.md',
    'zod/index.d.ts',
  ];
  assert.deepEqual(
    needed.filter((path) => !isNeeded(path, 'x64')),
    [],
  );
  assert.deepEqual(
    others.filter((path) => isNeeded(path, 'x64')),
    [],
  );
  assert.ok(
    isNeeded('@serialport/bindings-cpp/prebuilds/linux-arm64/@serialport+bindings-cpp.armv8.glibc.node', 'arm64'),
  );
});

test('the C library that is needed is the newest that a module names', () => {
  const bytes = (text: string) => Buffer.from(text, 'latin1');
  assert.equal(neededGlibc([bytes('\0GLIBC_2.2.5\0GLIBC_2.17\0'), bytes('GLIBC_2.4\0')]), '2.17');
  assert.throws(() => neededGlibc([bytes('none')]));
});

test('maintainer scripts: every shell that may run them reads them, and an unknown argument fails', (t) => {
  const names = readdirSync(SCRIPTS).sort();
  assert.deepEqual(names, ['postinst', 'postrm', 'prerm']);
  const shells = ['sh', 'dash', 'bash'].filter((shell) => spawnSync(shell, ['-c', 'true']).status === 0);
  if (!shells.includes('dash')) t.diagnostic('SKIPPED for dash, which is not installed');
  for (const name of names) {
    const path = join(SCRIPTS, name);
    assert.match(readFileSync(path, 'utf8'), /^#!\/bin\/sh\n(?:#.*\n)*set -e\n/);
    for (const shell of shells) {
      const { status, stderr } = spawnSync(shell, ['-n', path], { encoding: 'utf8' });
      assert.deepEqual([status, stderr], [0, ''], `${shell} -n ${name}`);
      assert.equal(spawnSync(shell, [path, 'frobnicate']).status, 1, name);
    }
    // The archive is never removed.
    assert.doesNotMatch(
      readFileSync(path, 'utf8'),
      /\b(?:rm|rmdir|find|userdel|deluser)\b[^\n]*(?:\/var\/lib|\bespd\b(?!\.))/,
    );
  }
});
