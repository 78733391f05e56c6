import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LatestLines } from '../../../src/archive/elsewhere/latest-lines.ts';
import {
  type StoredLine,
  keyOf,
  latestOf,
  outdates,
  readStoredClaim,
  readStoredLine,
  toStoredLine,
} from '../../../src/archive/elsewhere/stored-lines.ts';
import { MAC, OTHER_MAC, image } from '../support.ts';
import { OTHER_STATION, stored } from './support.ts';

const bytesOf = (json: unknown) => Buffer.from(JSON.stringify(json));

const sound = [stored({}, image(100, 1)), stored({ station: OTHER_STATION }, image(100, 2))];
const elsewhere = stored({ store: 'f'.repeat(16) }, image(100, 1));
/** All that stands beside the manifest is sound. */
const unsound: readonly object[] = [
  { ...sound[0]?.manifest, formatVersion: 99 },
  stored({ mac: OTHER_MAC }).manifest,
  { ...sound[0]?.manifest, blocks: { sizeBytes: 65536, sha256: [], md5: [] } },
  {},
];

const line = fc.record({
  /** The manifest, as espd writes it. */
  isLast: fc.boolean(),
  at: fc.constantFrom(...[10, 11, 11, 12, 13].map((hour) => `2026-11-23T${hour}:00:00.000Z`)),
  what: fc.oneof(
    fc.constantFrom(...sound, elsewhere).map((backup) => toStoredLine({ removed: false, ...backup })),
    fc
      .tuple(fc.constantFrom(...sound), fc.constantFrom(...unsound))
      .map(([backup, manifest]) => ({ ...toStoredLine({ removed: false, ...backup }), manifest })),
    fc.tuple(fc.constantFrom(...sound, elsewhere), fc.boolean()).map(([{ id, store, folder }, missing]) => ({
      id,
      store,
      folder,
      removed: true,
      ...(missing ? { missing } : {}),
    })),
  ),
});

test('law: it is the latest of the lines that are sound, as if each had been looked at as a whole', () => {
  fc.assert(
    fc.property(fc.array(line, { maxLength: 12 }), (events) => {
      const latest = new LatestLines();
      const expected = new Map<string, StoredLine>();
      for (const { at, what, isLast } of events) {
        const json: unknown = isLast ? { at, ...what } : { ...what, at };
        const claim = readStoredClaim(MAC, bytesOf(json));
        if (claim !== undefined) latest.take(claim);
        const whole = readStoredLine(MAC, json);
        if (whole === undefined) continue;
        const known = expected.get(keyOf(whole));
        if (outdates(latestOf(whole), known && latestOf(known))) expected.set(keyOf(whole), whole);
      }
      const found = new Map([...latest.lines()].map((each) => [keyOf(each.line), each.line] as const));
      assert.deepEqual(found, expected);
    }),
    { numRuns: 500 },
  );
});

test('what was removed keeps the digest of what was said last of it, of whatever time', () => {
  const [one, other] = sound.map((backup) => ({ ...toStoredLine({ removed: false, ...backup }) }));
  const removal = { at: '2026-11-23T12:00:00.000Z', removed: true };
  const { id, store, folder } = sound[0] ?? assert.fail();
  const digestOf = (...jsons: readonly object[]) => {
    const latest = new LatestLines();
    for (const json of jsons) latest.take(readStoredClaim(MAC, bytesOf(json)) ?? assert.fail());
    return [...latest.lines()].map((each) => [each.line.removed, each.manifestSha256]);
  };
  const gone = { id, store, folder, ...removal };
  assert.deepEqual(digestOf(gone), [[true, null]]);
  assert.deepEqual(digestOf({ ...one }, gone), [[true, sound[0]?.manifestSha256]]);
  assert.deepEqual(digestOf({ ...one }, { ...other }, gone), [[true, sound[1]?.manifestSha256]]);
  assert.deepEqual(digestOf(gone, { ...one }), [[true, sound[0]?.manifestSha256]]);
});

test('a line that only looks like one with its manifest last is read as a whole', () => {
  const [backup] = sound;
  assert.ok(backup !== undefined);
  const json = toStoredLine({ removed: false, ...backup });
  const texts: Record<string, readonly [string, boolean]> = {
    'as espd writes it': [JSON.stringify(json), true],
    'keys of a later espd behind it': [JSON.stringify({ ...json, later: { manifest: {} } }), true],
    'a key of a later espd in front, with a manifest of its own': [
      JSON.stringify({ x: 1, y: { z: 1, manifest: {} }, ...json }),
      true,
    ],
    'a text with such a key': [JSON.stringify({ x: ',"manifest":{', ...json }), true],
    spaces: [JSON.stringify(json, null, 1).replaceAll('\n', ''), true],
    'cut off': [JSON.stringify(json).slice(0, -1), false],
    'another folder behind it': [`${JSON.stringify(json).slice(0, -1)},"folder":"x"}`, false],
    'gone behind it': [`${JSON.stringify(json).slice(0, -1)},"removed":true}`, false],
    'a manifest that is a text': [JSON.stringify({ ...json, manifest: 'x' }), false],
    nothing: ['', false],
  };
  for (const [what, [text, isSound]] of Object.entries(texts)) {
    const line = readStoredClaim(MAC, Buffer.from(text))?.check();
    assert.deepEqual(line, isSound ? { removed: false, ...backup } : undefined, what);
  }
});

test('a line keeps what it says when the memory that it was read from is read into again', () => {
  const [backup] = sound;
  assert.ok(backup !== undefined);
  const bytes = bytesOf(toStoredLine({ removed: false, ...backup }));
  const claim = readStoredClaim(MAC, bytes);
  bytes.fill(0x20);
  assert.deepEqual(claim?.check(), { removed: false, ...backup });
});
