/** What the build of the page makes: small, of one piece, and nothing from elsewhere. */

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'vite';

const PAGE = fileURLToPath(new URL('../../dist/web', import.meta.url));
const MOST_BYTES = 100 * 1000;

const files = readdirSync(PAGE, { recursive: true, encoding: 'utf8' }).filter((file) => /\.\w+$/.test(file));
const read = (file: string) => readFileSync(join(PAGE, file));

test('the first view is under 100 KB compressed: all that there is, but for licences', () => {
  const loaded = files.filter((file) => file !== 'licences.txt');
  assert.ok(loaded.some((file) => file.endsWith('.js')) && loaded.includes('index.html'));
  const bytes = loaded.reduce((sum, file) => sum + gzipSync(read(file)).length, 0);
  assert.ok(bytes < MOST_BYTES, `${bytes} bytes`);
});

test('nothing from elsewhere, and nothing inline that a strict content security policy forbids', () => {
  // Names of XML, which are no addresses that anything is loaded from.
  const names = /^http:\/\/www\.w3\.org\/(?:2000\/svg|1999\/xhtml|1998\/Math\/MathML|1999\/xlink)$/;
  for (const file of files.filter((name) => name !== 'licences.txt')) {
    const text = read(file).toString('utf8');
    const addresses = [...text.matchAll(/https?:\/\/[\w./-]+/g)].map(([address]) => address);
    assert.deepEqual(
      addresses.filter((address) => !names.test(address)),
      [],
      file,
    );
    assert.doesNotMatch(text, /\beval\(|new Function\(/, file);
  }
  const html = read('index.html').toString('utf8');
  assert.doesNotMatch(html, /<style|style=|<script(?![^>]*\bsrc=)|\son\w+=/);
});

test('the licences of what is bundled go with it, of each package and of no other', async () => {
  // Made once more, to look into the bundle instead of believing what stands beside it.
  const config = fileURLToPath(new URL('../../web/vite.config.mjs', import.meta.url));
  const { output } = (await build({ configFile: config, build: { write: false } })) as {
    output: readonly { readonly type: string; readonly moduleIds?: readonly string[] }[];
  };
  const modules = output.flatMap(({ moduleIds = [] }) => moduleIds);
  assert.ok(modules.some((id) => id.endsWith('/web/main.tsx')));
  const packages = modules.flatMap((id) => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(id)?.[1] ?? []);
  const text = read('licences.txt').toString('utf8');
  const named = [...text.matchAll(/^# (\S+) (\S+) \((\S+)\)\n\n(.+)$/gm)];
  assert.deepEqual(
    named.map(([, name]) => name),
    [...new Set(packages)].sort(),
  );
  assert.ok(named.length >= 3);
  for (const [, , version, licence, first] of named) {
    assert.match(version ?? '', /^\d+\.\d+\.\d+/);
    assert.equal(licence, 'MIT');
    assert.match(first ?? '', /MIT License/);
  }
});
