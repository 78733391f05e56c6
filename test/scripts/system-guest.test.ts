/** What the system tests do on a machine that gets no Debian: programs that fail stand in for apt and debootstrap. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';

const root = path.dirname(path.dirname(import.meta.dirname));
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'espd-system-guest-'));
after(() => fs.rmSync(folder, { recursive: true }));

/** A folder of programs for PATH, each a shell script. */
function programs(name: string, scripts: Readonly<Record<string, string>>): string {
  const bin = path.join(folder, name);
  fs.mkdirSync(bin);
  for (const [program, script] of Object.entries(scripts)) {
    fs.writeFileSync(path.join(bin, program), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  }
  return `${bin}:/usr/bin:/bin`;
}

function build(PATH: string) {
  const args = ['--import', 'tsx', 'test/system/guest/build.ts'];
  const env = { ...process.env, NODE_TEST_CONTEXT: undefined, PATH, XDG_CACHE_HOME: path.join(folder, 'cache') };
  return spawnSync(process.execPath, args, { cwd: root, env, encoding: 'utf8' });
}

for (const { title, scripts, reason } of [
  {
    title: 'debootstrap that reaches no mirror',
    scripts: {
      'apt-get': 'echo http://mirror.example/debian',
      debootstrap: 'echo "I: Retrieving InRelease"; echo "E: Failed getting release file" >&2; exit 1',
    },
    reason: 'debootstrap: E: Failed getting release file\n',
  },
  {
    title: 'apt sources of another distribution',
    scripts: { 'apt-get': 'true', debootstrap: 'exit 1' },
    reason: 'the apt sources of this machine have no Debian bookworm\n',
  },
]) {
  test(`${title}: unavailable, with the reason, and nothing is left in the cache`, { skip: skipReason() }, () => {
    const { status, stdout, stderr } = build(programs(title, scripts));
    assert.deepEqual([status, stdout], [69, reason], stderr);
    assert.deepEqual(fs.readdirSync(path.join(folder, 'cache/espd-system-tests')), []);
  });
}

function skipReason(): string | false {
  return process.platform === 'linux' ? false : 'the guest is built on Linux only';
}
