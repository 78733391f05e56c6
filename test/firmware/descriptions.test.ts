import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { parseAppDescription, parseBootloaderDescription } from '../../src/firmware/descriptions.ts';
import { appDescription, bootloaderDescription } from './builder.ts';

describe('parseAppDescription', () => {
  test('reads every field', () => {
    assert.deepEqual(parseAppDescription(appDescription()), {
      secureVersion: 7,
      version: '1.2.3',
      project: 'thermostat',
      built: 'Mar 14 2024 10:11:12',
      idfVersion: 'v5.1.4',
      elfSha256: 'ab'.repeat(32),
    });
  });

  test('blank fields are null (reproducible builds leave out date and time)', () => {
    const blank = { project: '', version: '  ', idf: '', elfSha256: Buffer.alloc(32) };
    assert.deepEqual(parseAppDescription(appDescription({ ...blank, date: '', time: '' })), {
      secureVersion: 7,
      version: null,
      project: null,
      built: null,
      idfVersion: null,
      elfSha256: null,
    });
    assert.equal(parseAppDescription(appDescription({ time: '' }))?.built, 'Mar 14 2024');
  });

  test('texts that fill their field, and hostile ones', () => {
    const description = parseAppDescription(appDescription({ project: 'p'.repeat(40), version: '\x1b]0;x\x07' }));
    assert.equal(description?.project, 'p'.repeat(32));
    assert.equal(description.version, '\\x1b]0;x\\x07');
  });

  test('needs the magic and all of its bytes', () => {
    const bytes = appDescription();
    for (let length = 0; length < 256; length += 1) assert.equal(parseAppDescription(bytes.subarray(0, length)), null);
    for (let bit = 0; bit < 32; bit += 1) {
      const wrong = Buffer.from(bytes);
      wrong[bit >> 3] = (wrong[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      assert.equal(parseAppDescription(wrong), null);
    }
  });

  test('never throws, always printable', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 252, maxLength: 300 }), (rest) => {
        const description = parseAppDescription(Buffer.concat([appDescription().subarray(0, 4), rest]));
        assert.match(JSON.stringify(Object.values(description ?? {}).join('')), /^[\x20-\x7e]*$/);
      }),
    );
  });
});

describe('parseBootloaderDescription', () => {
  test('reads every field', () => {
    assert.deepEqual(parseBootloaderDescription(bootloaderDescription()), {
      version: 1,
      idfVersion: 'v5.1.4',
      built: 'Mar 14 2024 10:10:00',
    });
  });

  test('is not taken in by code that begins with the magic byte', () => {
    const bytes = bootloaderDescription();
    for (let length = 0; length < 80; length += 1)
      assert.equal(parseBootloaderDescription(bytes.subarray(0, length)), null);
    assert.equal(parseBootloaderDescription(Buffer.alloc(80, 80).fill(0x13, 8)), null);
    assert.equal(parseBootloaderDescription(Buffer.concat([Buffer.from([80]), Buffer.alloc(79)])), null);
    bytes[0] = 81;
    assert.equal(parseBootloaderDescription(bytes), null);
  });
});
