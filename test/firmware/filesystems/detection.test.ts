import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { readFileSystem } from '../../../src/firmware/filesystems/index.ts';
import { ReadingBuilder, decodeName } from '../../../src/firmware/filesystems/reading.ts';
import { filler } from '../builder.ts';
import { fixtureImage, fixtures, listingOf } from './fixtures.ts';

describe('what is no file system', () => {
  const MIB = 1024 * 1024;
  const nothing: readonly (readonly [name: string, partition: Buffer])[] = [
    ['no bytes', Buffer.alloc(0)],
    ['blank', Buffer.alloc(MIB, 0xff)],
    ['zeros', Buffer.alloc(MIB)],
    ['noise, as of an encrypted partition', filler(MIB)],
    ['a text about littlefs', Buffer.from('This is not a littlefs partition. '.repeat(5000))],
    ['a counter', Buffer.from(Uint16Array.from({ length: MIB / 2 }, (_, index) => index & 0xffff).buffer)],
  ];
  for (const [name, partition] of nothing) {
    test(name, () => assert.equal(readFileSystem(partition), undefined));
  }

  test('a view into a larger buffer is read where it lies', () => {
    const image = fixtureImage('littlefs-2.1-128.bin');
    const around = Buffer.concat([Buffer.alloc(13, 0x55), image, Buffer.alloc(7, 0xaa)]);
    const reading = readFileSystem(new Uint8Array(around.buffer, around.byteOffset + 13, image.length));
    assert.ok(reading);
    assert.deepEqual(reading.problems, []);
    assert.equal(reading.entries.length, 5);
  });
});

/** Everything that a caller may ask, on what nobody made. */
function exhaust(partition: Uint8Array): void {
  const before = Buffer.from(partition);
  const reading = readFileSystem(partition);
  if (reading === undefined) return;
  const { files } = listingOf(reading);
  let content = 0;
  for (const facts of Object.values(files)) if (typeof facts !== 'string') content += facts.size;
  assert.ok(content <= partition.length, 'more content than there are bytes');
  assert.ok(reading.problems.length <= 51);
  assert.equal(new Set(reading.entries.map(({ path }) => path)).size, reading.entries.length);
  for (const { path } of reading.entries) assert.ok(path.startsWith('/') && path.length > 1);
  for (const problem of reading.problems) assert.doesNotMatch(problem, /\p{Cc}/u);
  assert.ok(before.equals(partition), 'the partition is not changed');
}

describe('hostile partitions never throw, and never give more than is there', () => {
  test('noise', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 20_000 }), exhaust), { numRuns: 200 });
  });

  const small = ['littlefs-2.1-128.bin', 'littlefs-2.1-512-many.bin', 'spiffs-small.bin', 'spiffs-esp8266-4096.bin'];
  for (const name of small) {
    const image = fixtureImage(name);
    test(`${name} with bytes replaced and pieces copied`, () => {
      const edge = Math.min(image.length - 1, 8192);
      const place = fc.oneof(fc.nat(edge), fc.nat(image.length - 1));
      const change = fc.oneof(
        fc.record({ at: place, bytes: fc.uint8Array({ minLength: 1, maxLength: 8 }) }),
        fc.record({ at: place, from: place, length: fc.constantFrom(2, 4, 8, 128, 256, 4096) }),
      );
      const law = fc.property(fc.array(change, { minLength: 1, maxLength: 12 }), (changes) => {
        const mutated = Buffer.from(image);
        for (const one of changes) {
          if ('bytes' in one) mutated.set(one.bytes.subarray(0, mutated.length - one.at), one.at);
          else mutated.copyWithin(one.at, one.from, one.from + one.length);
        }
        exhaust(mutated);
      });
      fc.assert(law, { numRuns: 300 });
    });
  }

  test('every fixture is of the kind that it is, whatever stands behind it', () => {
    for (const fixture of [...fixtures('littlefs'), ...fixtures('spiffs')]) {
      const image = fixtureImage(fixture.image);
      assert.equal(readFileSystem(Buffer.concat([image, filler(4096)]))?.kind, fixture.kind, fixture.image);
    }
  });
});

describe('what the readers share', () => {
  test('names: UTF-8 where they are that, else one character a byte', () => {
    assert.equal(decodeName(Buffer.from('größe.txt')), 'größe.txt');
    assert.equal(decodeName(Buffer.from([0x61, 0xff, 0x62])), 'a\u00ffb');
    assert.equal(decodeName(Buffer.from([0xef, 0xbb, 0xbf, 0x61])), '\ufeffa');
  });

  test('paths and problems are bounded', () => {
    const builder = new ReadingBuilder('fat');
    assert.equal(builder.folder(`/${'x'.repeat(1023)}`), true);
    assert.equal(builder.folder(`/${'x'.repeat(1024)}`), false);
    for (let index = 0; index < 200; index++) builder.problem(`problem ${index}`);
    builder.problem('problem 0');
    const reading = builder.build();
    assert.equal(reading.entries.length, 1);
    assert.equal(reading.problems.length, 51);
    assert.equal(reading.problems.at(-1), '151 more problems');
  });

  test('files are bounded in number', () => {
    const builder = new ReadingBuilder('fat');
    const read = () => ({ bytes: new Uint8Array(), problem: null });
    for (let index = 0; index < 65_536; index++) assert.equal(builder.file(`/${index}`, 0, read), true);
    assert.equal(builder.file('/more', 0, read), false);
    assert.equal(builder.build().problems.length, 1);
  });
});
