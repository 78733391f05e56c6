import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isSecureDownload, parseSecurityInfo, securityFromInfo } from '../../src/esp/security-info.ts';

const info = (hex: string) => parseSecurityInfo(Buffer.from(hex, 'hex'));

test('20 bytes: an ESP32-C3 as in the traces', () => {
  assert.deepEqual(info('000000000000000000000000' + '05000000' + '03000000'), {
    flags: 0,
    flashCryptCount: 0,
    keyPurposes: [0, 0, 0, 0, 0, 0, 0],
    chipId: 5,
    apiVersion: 3,
  });
});

test('12 bytes: an ESP32-S2 sends no chip id', () => {
  assert.deepEqual(info('05040000' + '07' + '040009000a0000'), {
    flags: 0x405,
    flashCryptCount: 7,
    keyPurposes: [4, 0, 9, 0, 10, 0, 0],
    chipId: null,
    apiVersion: null,
  });
});

test('a view into a larger buffer is read at its own place', () => {
  const bytes = new Uint8Array(32).fill(0xee);
  bytes.set([1, 0, 0, 0, 1, 4, 0, 0, 0, 0, 0, 0], 7);
  assert.equal(parseSecurityInfo(bytes.subarray(7, 19)).flags, 1);
});

test('any other length is refused, more than 20 bytes are not', () => {
  for (let length = 0; length < 20; length++) {
    if (length === 12) continue;
    assert.throws(() => parseSecurityInfo(new Uint8Array(length)), { code: 'chip-error' }, String(length));
  }
  assert.equal(parseSecurityInfo(new Uint8Array(24)).chipId, 0);
});

test('flags', () => {
  const state = (flags: number, count = 0) =>
    securityFromInfo({ flags, flashCryptCount: count, keyPurposes: [], chipId: null, apiVersion: null });
  assert.deepEqual(state(0), { flashEncryption: false, secureBoot: false, secureDownload: false });
  assert.deepEqual(state(1), { flashEncryption: false, secureBoot: true, secureDownload: false });
  assert.deepEqual(state(4), { flashEncryption: false, secureBoot: false, secureDownload: true });
  assert.deepEqual(state(0xfffffffa), { flashEncryption: false, secureBoot: false, secureDownload: false });
  assert.deepEqual(state(0, 1), { flashEncryption: true, secureBoot: false, secureDownload: false });
  assert.deepEqual(state(0, 3), { flashEncryption: false, secureBoot: false, secureDownload: false });
  assert.deepEqual(state(0, 7), { flashEncryption: true, secureBoot: false, secureDownload: false });
});

test('every answer of a known length is understood', () => {
  const body = fc.oneof(
    fc.uint8Array({ minLength: 12, maxLength: 12 }),
    fc.uint8Array({ minLength: 20, maxLength: 20 }),
  );
  fc.assert(
    fc.property(body, (bytes) => {
      const parsed = parseSecurityInfo(bytes);
      assert.equal(parsed.keyPurposes.length, 7);
      assert.equal(parsed.chipId === null, bytes.length === 12);
      assert.equal(isSecureDownload(parsed), ((bytes[0] ?? 0) & 4) !== 0);
      assert.ok(parsed.flags >= 0 && parsed.flags <= 0xffffffff);
    }),
  );
});
