import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';

import fc from 'fast-check';

import { Flash, jedecFor } from '../../src/simulator/flash.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const make = (more: Partial<ConstructorParameters<typeof Flash>[0]> = {}) =>
  new Flash({ sizeBytes: 256 * KIB, jedec: [0xef, 0x40, 0x12], ...more });

test('a new chip is blank', () => {
  const flash = make();
  assert.ok(flash.snapshot().every((byte) => byte === 0xff));
  assert.equal(flash.snapshot().length, 256 * KIB);
});

test('behaves as a plain array with NOR rules, whatever is done to it', () => {
  const operation = fc.record({
    kind: fc.constantFrom('program', 'erase', 'read', 'load'),
    address: fc.nat(256 * KIB - 9000),
    length: fc.integer({ min: 0, max: 9000 }),
    seed: fc.nat(255),
  });
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 12 }), (operations) => {
      const flash = make();
      const model = Buffer.alloc(256 * KIB, 0xff);
      for (const { kind, address, length, seed } of operations) {
        const data = Buffer.from(Array.from({ length }, (_, index) => (seed * 31 + index * 7) & 0xff));
        if (kind === 'program') {
          flash.program(address, data);
          data.forEach((byte, index) => (model[address + index]! &= byte));
        } else if (kind === 'load') {
          flash.load(address, data);
          data.copy(model, address);
        } else if (kind === 'erase') {
          flash.erase(address, length);
          const end = Math.ceil((address + length) / 4096) * 4096;
          if (length > 0) model.fill(0xff, Math.floor(address / 4096) * 4096, end);
        }
        assert.ok(flash.read(address, length).equals(model.subarray(address, address + length)));
      }
      assert.ok(flash.snapshot().equals(model));
    }),
    { numRuns: 40 },
  );
});

test('programming only clears bits', () => {
  const flash = make();
  flash.program(10, Buffer.from([0xf0]));
  flash.program(10, Buffer.from([0x0f]));
  assert.equal(flash.read(10, 1)[0], 0);
  flash.erase(0, 1);
  assert.equal(flash.read(10, 1)[0], 0xff);
});

test('erasing works by sectors and chip', () => {
  const flash = make({ content: Buffer.alloc(256 * KIB) });
  flash.erase(4096, 65536);
  assert.equal(flash.read(4095, 1)[0], 0);
  assert.equal(flash.read(4096, 1)[0], 0xff);
  assert.equal(flash.read(4096 + 65535, 1)[0], 0xff);
  assert.equal(flash.read(4096 + 65536, 1)[0], 0);
  flash.eraseChip();
  assert.ok(flash.snapshot().every((byte) => byte === 0xff));
});

test('erasing nothing erases nothing, wherever it begins', () => {
  for (const address of [0, 1, 4095, 4096, 5000]) {
    const flash = make({ content: Buffer.alloc(256 * KIB) });
    flash.erase(address, 0);
    assert.ok(
      flash.snapshot().every((byte) => byte === 0),
      `at ${String(address)}`,
    );
  }
});

test('128 MiB cost no memory until written', () => {
  const flash = new Flash({ sizeBytes: 128 * MIB, jedec: jedecFor(128 * MIB) });
  flash.program(127 * MIB, Buffer.from('end'));
  assert.equal(flash.read(127 * MIB, 3).toString(), 'end');
  assert.deepEqual(flash.jedec, [0xef, 0x40, 0x21]);
});

test('a counterfeit wraps: its halves are equal though not blank', () => {
  const flash = make({ aliasedAtBytes: 128 * KIB });
  flash.program(0, Buffer.from('hello'));
  assert.equal(flash.read(128 * KIB, 5).toString(), 'hello');
  flash.program(128 * KIB + 4096, Buffer.from('there'));
  assert.equal(flash.read(4096, 5).toString(), 'there');
  assert.deepEqual(flash.md5(0, 128 * KIB), flash.md5(128 * KIB, 128 * KIB));
  flash.erase(128 * KIB, 4096);
  assert.equal(flash.read(0, 1)[0], 0xff);
  assert.equal(flash.read(128 * KIB - 2, 4).toString('hex'), 'ffffffff');
});

test('a worn sector keeps bits', () => {
  const flash = make({ wornSectors: [1] });
  flash.program(0, Buffer.alloc(8192));
  assert.ok(flash.read(0, 4096).every((byte) => byte === 0));
  assert.equal(flash.read(4096, 1)[0], 0x80);
  assert.equal(flash.read(4097, 1)[0], 0);
});

test('flipped reads show in bytes and digests', () => {
  const flash = make({ flippedReads: [5] });
  assert.equal(flash.read(5, 1)[0], 0xfe);
  assert.equal(flash.read(6, 1)[0], 0xff);
  const expected = Buffer.alloc(16, 0xff);
  expected[5] = 0xfe;
  assert.deepEqual(flash.md5(0, 16), createHash('md5').update(expected).digest());
});

test('impossible chips are refused', () => {
  for (const sizeBytes of [0, 128 * KIB, 3 * MIB, 256 * MIB, 1.5]) {
    assert.throws(() => make({ sizeBytes }), RangeError);
  }
  for (const aliasedAtBytes of [0, 100, 512 * KIB]) assert.throws(() => make({ aliasedAtBytes }), RangeError);
  assert.throws(() => make({ content: Buffer.alloc(256 * KIB + 1) }), RangeError);
});

test('JEDEC ids', () => {
  assert.deepEqual(jedecFor(256 * KIB), [0xef, 0x40, 0x12]);
  assert.deepEqual(jedecFor(4 * MIB, 0x5e), [0x5e, 0x40, 0x16]);
  assert.deepEqual(jedecFor(32 * MIB), [0xef, 0x40, 0x19]);
  assert.deepEqual(jedecFor(64 * MIB), [0xef, 0x40, 0x20]);
});
