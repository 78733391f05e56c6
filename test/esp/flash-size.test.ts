import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EspdError, type ErrorCode } from '../../src/errors.ts';
import { flashFacts } from '../../src/esp/flash-size.ts';

const MIB = 1024 * 1024;
const chip = { title: 'ESP32', maxFlashBytes: 16 * MIB };
const known = { manufacturer: 'ef', device: '4016' };
const unknown = { manufacturer: 'ef', device: '4099' };

function refused(jedec: typeof known, told: number | undefined, code: ErrorCode, says: RegExp): void {
  assert.throws(
    () => flashFacts(jedec, chip, told),
    (error) => {
      assert.ok(error instanceof EspdError);
      assert.equal(error.code, code);
      assert.match(`${error.message}. ${error.hint}`, says);
      return true;
    },
  );
}

test('the id decides, and what a person says only where the id does not tell', () => {
  assert.deepEqual(flashFacts(known, chip), { ...known, sizeBytes: 4 * MIB, sizeFrom: 'id' });
  assert.deepEqual(flashFacts(known, chip, 4 * MIB), { ...known, sizeBytes: 4 * MIB, sizeFrom: 'id' });
  assert.deepEqual(flashFacts(unknown, chip, 2 * MIB), { ...unknown, sizeBytes: 2 * MIB, sizeFrom: 'person' });
});

test('nothing is guessed, and nobody is believed against the id or the chip', () => {
  refused(unknown, undefined, 'flash-unknown', /ef 4099 is not known\..*--flash-size/);
  refused(known, 2 * MIB, 'usage', /\(ef 4016\) says 4194304 bytes, and --flash-size says 2097152\. Leave out/);
  refused(known, 8 * MIB, 'usage', /Leave out --flash-size/);
  refused(unknown, 32 * MIB, 'usage', /--flash-size says 33554432 bytes, and an ESP32 addresses at most 16777216/);
  refused({ ...known, device: '4019' }, undefined, 'flash-unknown', /more than an ESP32 addresses/);
});
