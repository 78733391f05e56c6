import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatChecksums, parseChecksums } from '../../src/archive/checksums.ts';
import { sha256, temporaryFolder } from './support.ts';

const digest = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('hex'));
const name = fc
  .oneof(
    fc.string({ minLength: 1, unit: 'grapheme' }),
    fc.string({ minLength: 1, unit: fc.constantFrom('\\', '\n', '\r', 'n', ' ', '*', 'a') }),
  )
  .filter((text) => !/[/\0]/.test(text));

test('what is written is read back, whatever the names', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(name, digest), { minLength: 1, maxLength: 6 }), (pairs) => {
      const checksums = new Map(pairs);
      assert.deepEqual(parseChecksums(formatChecksums(checksums)), checksums);
    }),
  );
});

test('hostile text is refused or read, and never thrown at', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('a', '0', ' ', '*', '\\', '\n', '\r') }), (text) => {
      parseChecksums(text);
    }),
  );
  const hex = 'ab'.repeat(32);
  const bad = ['', '\n', hex, `${hex}  a`, `${hex} a\n`, `${hex}  \n`, `${hex.slice(1)}  a\n`, `\\${hex}  a\\x\n`, `\\${hex}  a\\\n`,
    `${hex}  a\n${hex}  a\n`, `${hex}  a\n\n`, `x${hex}  a\n`, `SHA256 (a) = ${hex}\n`]; // prettier-ignore
  for (const text of bad) assert.equal(parseChecksums(text), undefined, JSON.stringify(text));
  assert.deepEqual(parseChecksums(`${hex.toUpperCase()} *a b\n`), new Map([['a b', hex]]));
});

test('sha256sum and espd read what the other writes', async (t) => {
  if (spawnSync('sha256sum', ['--version']).error) {
    t.skip('SKIPPED: no sha256sum on this machine');
    return;
  }
  const folder = await temporaryFolder(t);
  const names = ['flash.bin', 'with blank', '*star', 'back\\slash', 'line\nfeed', 'back\\nslash', 'ünï'];
  const ours = new Map<string, string>();
  for (const file of names) {
    await writeFile(join(folder, file), `content of ${file}`);
    ours.set(file, sha256(Buffer.from(`content of ${file}`)));
  }
  const theirs = execFileSync('sha256sum', ['--', ...names], { cwd: folder, encoding: 'utf8' });
  assert.deepEqual(parseChecksums(theirs), ours);
  assert.equal(formatChecksums(ours), theirs);
  await writeFile(join(folder, 'SUMS'), formatChecksums(ours));
  execFileSync('sha256sum', ['--strict', '-c', 'SUMS'], { cwd: folder });
  await writeFile(join(folder, 'line\nfeed'), await readFile(join(folder, 'flash.bin')));
  assert.notEqual(spawnSync('sha256sum', ['--strict', '-c', 'SUMS'], { cwd: folder }).status, 0);
});
