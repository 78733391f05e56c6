import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { bootOrder, otaDataPartition, parseOtaSelect } from '../../src/firmware/boot-order.ts';
import { parsePartitionTable } from '../../src/firmware/partitions.ts';
import { MIB, otaRecord, tableSector, TWO_OTA, type Row } from './builder.ts';

const BLANK = Buffer.alloc(32, 0xff);

function partitionsOf(rows: readonly Row[]) {
  return parsePartitionTable(tableSector(rows), 0x8000, { sizeBytes: 16 * MIB, family: 'esp32' })?.partitions ?? [];
}
/** App partitions by their subtypes, named after them. */
function apps(...subtypes: number[]): Row[] {
  return subtypes.map((subtype, index) => {
    const label = subtype === 0 ? 'factory' : subtype === 0x20 ? 'test' : `ota_${subtype - 0x10}`;
    return { label, type: 0, subtype, offset: (index + 1) * 0x10000, size: 0x10000 };
  });
}
function order(rows: readonly Row[], ...records: Buffer[]): string[] {
  return bootOrder(partitionsOf(rows), records.length ? records.map(parseOtaSelect) : null).map(({ name }) => name);
}

describe('parseOtaSelect', () => {
  test('knows the record that boards carry after their first update', () => {
    // The bytes that otatool.py writes for slot 0 of a new board.
    const record = Buffer.from('01000000' + 'ff'.repeat(24) + '9a984347', 'hex');
    assert.deepEqual(parseOtaSelect(record), { sequence: 1, crcOk: true, usable: true });
    assert.deepEqual(otaRecord(1), record);
  });

  test('the CRC covers the sequence number', () => {
    for (const sequence of [0, 1, 2, 255, 0x12345678, 0xfffffffe]) {
      assert.equal(parseOtaSelect(otaRecord(sequence)).crcOk, true);
      assert.equal(parseOtaSelect(otaRecord(sequence, 2)).crcOk, true);
      assert.equal(parseOtaSelect(otaRecord(sequence, 2, 0)).crcOk, false);
    }
  });

  test('blank, invalid and aborted are not usable; new, pending, valid and undefined are', () => {
    assert.equal(parseOtaSelect(BLANK).usable, false);
    const usable = [0, 1, 2, 3, 4, 0xffffffff].map((state) => parseOtaSelect(otaRecord(1, state)).usable);
    assert.deepEqual(usable, [true, true, true, false, false, true]);
  });

  test('a record cut at any byte is not usable', () => {
    for (let length = 0; length < 32; length += 1) {
      assert.equal(parseOtaSelect(otaRecord(1).subarray(0, length)).usable, false);
    }
  });
});

describe('bootOrder', () => {
  test('without otadata: the factory app', () => {
    assert.deepEqual(order(apps(0x10, 0x11, 0)), ['factory', 'ota_0', 'ota_1']);
  });

  test('blank otadata: the factory app, else slot 0', () => {
    assert.deepEqual(order(apps(0, 0x10, 0x11), BLANK, BLANK), ['factory', 'ota_0', 'ota_1']);
    assert.deepEqual(order(apps(0x10, 0x11), BLANK, BLANK), ['ota_0', 'ota_1']);
  });

  test('the higher sequence number selects, modulo the number of slots', () => {
    const rows = apps(0, 0x10, 0x11, 0x12);
    assert.equal(order(rows, otaRecord(1), BLANK)[0], 'ota_0');
    assert.equal(order(rows, otaRecord(1), otaRecord(2))[0], 'ota_1');
    assert.equal(order(rows, otaRecord(3), otaRecord(2))[0], 'ota_2');
    assert.equal(order(rows, otaRecord(4), otaRecord(3))[0], 'ota_0');
    assert.equal(order(rows, otaRecord(0xfffffffe), otaRecord(3))[0], 'ota_1');
    assert.equal(order(rows, otaRecord(0), BLANK)[0], 'ota_0');
  });

  test('a wrong CRC or an aborted update does not select', () => {
    const rows = apps(0, 0x10, 0x11);
    assert.equal(order(rows, otaRecord(1), otaRecord(2, 2, 0))[0], 'ota_0');
    assert.equal(order(rows, otaRecord(1), otaRecord(2, 4))[0], 'ota_0');
    assert.equal(order(rows, otaRecord(1, 3), otaRecord(2, 4))[0], 'factory');
    assert.equal(order(rows, otaRecord(1, 2, 0), BLANK)[0], 'factory');
  });

  test('falls back downwards to the factory app, then upwards, then to the test app', () => {
    const rows = apps(0x20, 0, 0x10, 0x11, 0x12, 0x13);
    assert.deepEqual(order(rows, otaRecord(3), BLANK), ['ota_2', 'ota_1', 'ota_0', 'factory', 'ota_3', 'test']);
  });

  test('slots above a gap come last, and no app is left out or named twice', () => {
    assert.deepEqual(order(apps(0x11, 0x10, 0x15), BLANK, BLANK), ['ota_0', 'ota_1', 'ota_5']);
    assert.deepEqual(order(apps(0x11), BLANK, BLANK), ['ota_1']);
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(0, 0x10, 0x11, 0x12, 0x1f, 0x20, 0x30, 0x77), { maxLength: 30 }),
        fc.array(fc.tuple(fc.nat(0xffffffff), fc.constantFrom(2, 4, 0xffffffff)), { maxLength: 2 }),
        (subtypes, records) => {
          const partitions = partitionsOf(apps(...subtypes));
          const result = bootOrder(
            partitions,
            records.map(([sequence, state]) => parseOtaSelect(otaRecord(sequence, state))),
          );
          assert.equal(result.length, partitions.length);
          assert.equal(new Set(result).size, partitions.length);
        },
      ),
    );
  });

  test('data partitions are no apps', () => {
    assert.deepEqual(order(TWO_OTA), ['factory', 'ota_0', 'ota_1']);
    assert.equal(otaDataPartition(partitionsOf(TWO_OTA))?.name, 'otadata');
    assert.equal(otaDataPartition(partitionsOf(apps(0))), null);
  });
});
