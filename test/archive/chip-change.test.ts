/** Two looks at one MAC: one chip, another one, or another flash chip. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type ChipFacts, chipChange, chipChangeText } from '../../src/archive/chip-change.ts';

const hexWord = (value: number) => (value >>> 0).toString(16).padStart(8, '0');
const FAMILIES = ['esp8266', 'esp32', 'esp32s3', 'esp32c3'] as const;

/** Words of two blocks, as numbers. */
type Words = Readonly<Record<'BLOCK0' | 'BLOCK3', readonly number[]>>;
const anyWord = fc.oneof(fc.constantFrom(0, 0xffffffff, 0x80000000), fc.integer({ min: 0, max: 0xffffffff }));
const anyWords: fc.Arbitrary<Words> = fc.record({
  BLOCK0: fc.array(anyWord, { minLength: 7, maxLength: 7 }),
  BLOCK3: fc.array(anyWord, { minLength: 8, maxLength: 8 }),
});
const anyFacts = fc.record({
  family: fc.constantFrom(...FAMILIES),
  revision: fc.constantFrom('v1.0', 'v3.1'),
  device: fc.constantFrom<string>('4016', '6018'),
  words: anyWords,
});
type Facts = typeof anyFacts extends fc.Arbitrary<infer T> ? T : never;

function factsOf({ family, revision, device, words }: Facts): ChipFacts {
  const efuses = Object.fromEntries(Object.entries(words).map(([name, values]) => [name, values.map(hexWord)]));
  return { chip: { family, revision }, flash: { manufacturer: 'ef', device }, efuses };
}

/** The same words with `bits` burnt in addition. */
function burnt(words: Words, bits: Words): Words {
  const block = (name: keyof Words) => words[name].map((word, index) => (word | (bits[name][index] ?? 0)) >>> 0);
  return { BLOCK0: block('BLOCK0'), BLOCK3: block('BLOCK3') };
}

describe('two looks at one chip', () => {
  it('never differ by what a chip can do: burn more eFuses', () => {
    fc.assert(
      fc.property(anyFacts, anyWords, (facts, bits) => {
        const now = { ...facts, words: burnt(facts.words, bits) };
        assert.equal(chipChange(factsOf(facts), factsOf(now)), null);
      }),
    );
  });

  it('never differ by words that one of them has not read', () => {
    fc.assert(
      fc.property(
        anyFacts,
        fc.array(fc.boolean(), { minLength: 15, maxLength: 15 }),
        fc.boolean(),
        (facts, hide, now) => {
          const whole = factsOf(facts);
          let index = 0;
          const efuses = Object.fromEntries(
            Object.entries(whole.efuses).map(([name, words]) => [
              name,
              words.map((word) => (hide[index++] === true ? null : word)),
            ]),
          );
          const partial = { ...whole, efuses };
          assert.equal(now ? chipChange(whole, partial) : chipChange(partial, whole), null);
          assert.equal(chipChange(whole, { ...whole, efuses: {} }), null);
        },
      ),
    );
  });

  it('never differ by what an ESP32 does not let be read any more', () => {
    const facts = { family: 'esp32', revision: 'v3.1', device: '4016' } as const;
    const before: Words = { BLOCK0: [0, 1, 2, 3, 4, 5, 6], BLOCK3: [1, 2, 3, 4, 5, 6, 7, 8] };
    const now: Words = { BLOCK0: [0x0c0000, 1, 2, 3, 4, 0, 0], BLOCK3: [0, 0, 0, 0, 0, 0, 0, 0] };
    assert.equal(chipChange(factsOf({ ...facts, words: before }), factsOf({ ...facts, words: now })), null);
    // The same words of a chip without that bit, or of one whose bits mean something else.
    const readable = { ...now, BLOCK0: [0, 1, 2, 3, 4, 0, 0] };
    assert.equal(
      chipChange(factsOf({ ...facts, words: before }), factsOf({ ...facts, words: readable }))?.kind,
      'chip',
    );
    const other = { ...facts, family: 'esp32c3' } as const;
    assert.equal(chipChange(factsOf({ ...other, words: before }), factsOf({ ...other, words: now }))?.kind, 'chip');
  });
});

describe('another chip', () => {
  it('is told by any single eFuse bit that was set and is not', () => {
    fc.assert(
      fc.property(
        anyFacts.filter(({ family }) => family !== 'esp32'),
        anyWords,
        fc.nat(14),
        fc.nat(31),
        (facts, bits, place, bit) => {
          const block = place < 7 ? 'BLOCK0' : 'BLOCK3';
          const index = place < 7 ? place : place - 7;
          const lost = (words: Words, set: boolean): Words => ({
            ...words,
            [block]: words[block].map((word, at) =>
              at !== index ? word : set ? (word | (1 << bit)) >>> 0 : (word & ~(1 << bit)) >>> 0,
            ),
          });
          const before = factsOf({ ...facts, words: lost(facts.words, true) });
          const now = factsOf({ ...facts, words: lost(burnt(facts.words, bits), false) });
          const change = chipChange(before, now);
          assert.equal(change?.kind, 'chip');
          assert.match(change.details.join(), new RegExp(`eFuse ${block} word ${index} `));
          assert.equal(change.details.length, 1);
        },
      ),
    );
  });

  it('is told by family and revision', () => {
    fc.assert(
      fc.property(anyFacts, anyFacts, (one, other) => {
        fc.pre(one.family !== other.family || one.revision !== other.revision);
        const change = chipChange(factsOf(one), factsOf({ ...other, words: one.words }));
        assert.equal(change?.kind, 'chip');
        assert.match(change.details[0] ?? '', one.family === other.family ? /^revision v/ : /^chip esp/);
      }),
    );
  });

  it('is not told by a revision that nobody knew', () => {
    const facts = factsOf({ family: 'esp32', revision: 'v3.1', device: '4016', words: { BLOCK0: [], BLOCK3: [] } });
    assert.equal(chipChange({ ...facts, chip: { family: 'esp32', revision: null } }, facts), null);
  });
});

describe('another flash chip', () => {
  it('is told as such while the chip is the same, in either direction', () => {
    fc.assert(
      fc.property(anyFacts, anyWords, (facts, bits) => {
        const now = { ...facts, device: facts.device === '4016' ? '6018' : '4016', words: burnt(facts.words, bits) };
        const change = chipChange(factsOf(facts), factsOf(now));
        assert.deepEqual(change, {
          kind: 'flash',
          details: [`flash id ef ${facts.device} -> ef ${now.device}`],
        });
        const text = chipChangeText({ ...change, since: '2026-11-23T10-00-00Z' });
        assert.match(text, /^The flash chip was changed, compared with backup 2026-11-23T10-00-00Z: flash id/);
      }),
    );
  });

  it('is one detail more of another chip', () => {
    const words: Words = { BLOCK0: [1], BLOCK3: [] };
    const facts = { family: 'esp32c3', revision: 'v3.1', device: '4016', words } as const;
    const now = { ...facts, device: '6018', words: { ...words, BLOCK0: [2] } };
    const change = chipChange(factsOf(facts), factsOf(now));
    assert.equal(change?.kind, 'chip');
    assert.deepEqual(change.details, ['eFuse BLOCK0 word 0 00000001 -> 00000002', 'flash id ef 4016 -> ef 6018']);
  });
});

it('texts of a manifest are made printable, and names of blocks are only names', () => {
  const facts = { chip: { family: '\u001b[31mx', revision: null }, flash: { manufacturer: 'ef', device: '4016' } };
  const efuses = { ['__proto__']: ['00000001'], constructor: ['00000001'] };
  const change = chipChange({ ...facts, efuses }, { ...facts, chip: { family: 'esp32', revision: null }, efuses: {} });
  assert.equal(change?.kind, 'chip');
  assert.equal(change.details.join().includes('\u001b'), false);
});
