import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { giveBackFreedMemory } from '../../src/daemon/freed-memory.ts';

const MODULE = new URL('../../src/daemon/freed-memory.ts', import.meta.url).href;
const TSX = new URL('../../scripts/tsx.mjs', import.meta.url).href;

/**
 * Buffers of 100 KB, each with a small one behind it that stays: glibc by itself keeps the holes. Said is how much of what
 * they took the process still holds when they are gone.
 */
const HOLES = `
const resident = () => Number(/^VmRSS:\\s+(\\d+)/m.exec(fs.readFileSync('/proc/self/status', 'utf8'))[1]) * 1024;
const before = resident();
let large = [];
const small = [];
for (let i = 0; i < 1000; i++) {
  large.push(Buffer.allocUnsafeSlow(100_000).fill(1));
  small.push(Buffer.allocUnsafeSlow(1000).fill(1));
}
const full = resident();
large = [];
for (let i = 0; i < 20; i++) { gc(); await new Promise(setImmediate); }
console.log((resident() - before) / (full - before), small.length);
`;

function heldOf(isTold: boolean): number {
  const call = isTold ? `await (await import(${JSON.stringify(MODULE)})).giveBackFreedMemory();` : '';
  const script = `import fs from 'node:fs';\n${call}\n${HOLES}`;
  const args = ['--expose-gc', '--import', TSX, '--input-type=module', '-e', script];
  const isOfMalloc = (name: string) => name.startsWith('MALLOC_') || name === 'GLIBC_TUNABLES';
  const { stdout, stderr } = spawnSync(process.execPath, args, {
    env: Object.fromEntries(Object.entries(process.env).filter(([name]) => !isOfMalloc(name))),
    cwd: fileURLToPath(new URL('../..', import.meta.url)),
    encoding: 'utf8',
  });
  assert.equal(stderr, '');
  return Number(stdout.split(' ')[0]);
}

const hasGlibc = () => {
  const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
  return header.glibcVersionRuntime !== undefined;
};

test('holes between what is in use go back to the system', { skip: !hasGlibc() && 'another C library' }, () => {
  assert.ok(heldOf(false) > 0.5, 'without it the holes stay');
  assert.ok(heldOf(true) < 0.3);
});

test('it never rejects, twice neither', async () => {
  await giveBackFreedMemory();
  await giveBackFreedMemory();
});
