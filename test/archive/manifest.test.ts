import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import fc from 'fast-check';
import { z } from 'zod';
import {
  contradictions,
  formatManifest,
  manifestSchema,
  parseManifest,
  versionOf,
} from '../../src/archive/manifest.ts';
import type { Manifest } from '../../src/archive/manifest.ts';
import { ID0, content, image, md5, sha256 } from './support.ts';

const bytes = image(70_000);
const blocks = [bytes.subarray(0, 65536), bytes.subarray(65536)];
const manifest: Manifest = {
  formatVersion: 1,
  createdBy: 'espd 0.0.0-test',
  id: ID0,
  ...content(bytes),
  image: { file: 'flash.bin', sizeBytes: bytes.length, sha256: sha256(bytes), md5: md5(bytes) },
  blocks: { sizeBytes: 65536, sha256: blocks.map(sha256), md5: blocks.map(md5) },
};

test('a manifest is read as it was written, and unknown keys are ignored', () => {
  assert.deepEqual(parseManifest(formatManifest(manifest)), { kind: 'read', manifest });
  const more = { ...manifest, label: 'kitchen', chip: { ...manifest.chip, package: 'QFN32' } };
  assert.deepEqual(parseManifest(JSON.stringify(more)), { kind: 'read', manifest });
});

test('a newer format is told apart from damage', () => {
  const newer = { formatVersion: 3, createdBy: 'espd 9.1.0', anything: [] };
  assert.deepEqual(parseManifest(JSON.stringify(newer)), { kind: 'newer', formatVersion: 3, createdBy: 'espd 9.1.0' });
  assert.equal(parseManifest('{"formatVersion": 7}').kind, 'newer');
  for (const version of [0, -1, 1.5, '2', null, [2]]) {
    assert.equal(parseManifest(JSON.stringify({ ...manifest, formatVersion: version })).kind, 'damaged');
  }
});

/** What the first manifests of this version do not have: read as nothing; a flash's size was always from its id. */
const LATER = ['reason', 'file', 'sizeFrom', 'zero', 'olderBackup', 'leftover', 'fleet', 'recovery', 'phases'];

test('a manifest of the first espd is read, with nothing where later ones tell more', () => {
  const { explained, ...transfer } = manifest.transfer!;
  const { blank, sameAsBackup } = explained;
  const known = Object.fromEntries(Object.entries(transfer).filter(([key]) => !LATER.includes(key)));
  const { sizeFrom, ...flash } = manifest.flash;
  const { reason, source, ...others } = manifest;
  const { port, usb, host } = source;
  assert.equal(reason, null);
  assert.equal(sizeFrom, 'id');
  const first = {
    ...others,
    source: { port, usb, host },
    flash,
    transfer: { ...known, explained: { blank, sameAsBackup } },
  };
  const reading = parseManifest(JSON.stringify(first));
  assert.ok(reading.kind === 'read');
  assert.deepEqual(reading.manifest.transfer!.explained, {
    ...{ blank, sameAsBackup },
    ...{ zero: 0, olderBackup: 0, leftover: 0, fleet: 0 },
  });
  assert.equal(reading.manifest.transfer!.recovery.romReads, 0);
  assert.equal(reading.manifest.flash.sizeFrom, 'id');
  assert.equal(reading.manifest.reason, null);
  assert.equal(reading.manifest.source.file, null);
  assert.deepEqual(contradictions(reading.manifest), []);
});

/** What an image from a file does not tell. */
const UNKNOWN = {
  confirmed: (value: Manifest): Manifest => ({ ...value, confirmed: null }),
  security: (value: Manifest): Manifest => ({ ...value, security: null }),
  transfer: (value: Manifest): Manifest => ({ ...value, transfer: null }),
  'flash.manufacturer': (value: Manifest): Manifest => ({ ...value, flash: { ...value.flash, manufacturer: null } }),
  'flash.device': (value: Manifest): Manifest => ({ ...value, flash: { ...value.flash, device: null } }),
  'source.port': (value: Manifest): Manifest => ({
    ...value,
    source: { ...value.source, port: null, file: 'old.bin' },
  }),
};

test('what a board was asked for is said in version 1; what nobody knows raises the version', () => {
  assert.equal(versionOf(manifest, 'flash.bin.gz'), 1);
  assert.equal(versionOf(manifest, 'flash.bin.zst'), 2);
  for (const [name, forget] of Object.entries(UNKNOWN)) {
    const forgotten = forget(manifest);
    assert.equal(versionOf(forgotten, 'flash.bin'), 2, name);
    const strange = parseManifest(formatManifest(forgotten));
    assert.ok(strange.kind === 'read', name);
    assert.match(contradictions(strange.manifest)[0] ?? '', new RegExp(`says nothing of ${name}, which version 1`));
    const reading = parseManifest(formatManifest({ ...forgotten, formatVersion: 2 }));
    assert.ok(reading.kind === 'read', name);
    assert.deepEqual(contradictions(reading.manifest), [], name);
  }
});

test('any value of a wrong type, and any missing key, is found', () => {
  const damaged = (value: unknown) =>
    assert.equal(parseManifest(JSON.stringify(value)).kind, 'damaged', JSON.stringify(value));
  const walk = (value: Record<string, unknown>, rebuild: (changed: Record<string, unknown>) => unknown) => {
    for (const [key, child] of Object.entries(value)) {
      damaged(rebuild({ ...value, [key]: typeof child === 'object' && child !== null ? 7 : {} }));
      const isLater = LATER.includes(key) && !(key === 'file' && 'sha256' in value);
      if (!isLater) {
        damaged(rebuild(Object.fromEntries(Object.entries(value).filter(([other]) => other !== key))));
      }
      if (typeof child === 'object' && child !== null && !Array.isArray(child) && key !== 'efuses') {
        walk(child as Record<string, unknown>, (changed) => rebuild({ ...value, [key]: changed }));
      }
    }
  };
  walk(manifest, (changed) => changed);
});

test('hostile text never throws', () => {
  for (const text of [
    '',
    'null',
    '[]',
    '7',
    '"x"',
    '{',
    '{}',
    '\0',
    '['.repeat(500_000),
    '{"__proto__": {"formatVersion": 9}}',
    '{"formatVersion": 1e999}',
  ]) {
    assert.notEqual(parseManifest(text).kind, 'read', text.slice(0, 40));
  }
  fc.assert(fc.property(fc.json(), (text) => void parseManifest(text)));
  const stored = formatManifest(manifest);
  fc.assert(
    fc.property(fc.integer({ min: 0, max: stored.length - 2 }), (length) => {
      assert.equal(parseManifest(stored.slice(0, length)).kind, 'damaged');
    }),
  );
});

test('contradictions within a manifest', () => {
  assert.deepEqual(contradictions(manifest), []);
  assert.match(
    contradictions({ ...manifest, blocks: { ...manifest.blocks, sha256: [] } })[0] ?? '',
    /0 block digests where 2/,
  );
  assert.match(
    contradictions({ ...manifest, confirmed: { ...manifest.confirmed!, md5: md5(Buffer.from('x')) } })[0] ?? '',
    /confirmed another image/,
  );
});

test('the published JSON Schema is that of the code', async () => {
  const published = JSON.parse(
    await readFile(new URL('../../schema/manifest.schema.json', import.meta.url), 'utf8'),
  ) as unknown;
  assert.deepEqual(published, JSON.parse(JSON.stringify(z.toJSONSchema(manifestSchema, { io: 'input' }))));
});
