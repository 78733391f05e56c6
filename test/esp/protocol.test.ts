import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  OPCODE,
  SYNC_PAYLOAD,
  dataChecksum,
  decodeResponse,
  encodeRequest,
  opcodeName,
  reasonText,
  words,
} from '../../src/esp/protocol.ts';

interface TraceLine {
  readonly dir: 'host' | 'chip';
  readonly kind: string;
  readonly name?: string;
  readonly val?: string;
  readonly hex: string;
  /** Stub programs are left out of the traces. */
  readonly data?: unknown;
}

const TRACES = new URL('../traces/', import.meta.url);

function* recorded(): Generator<{ file: string; line: TraceLine }> {
  for (const file of readdirSync(TRACES)) {
    if (!file.endsWith('.jsonl')) continue;
    for (const text of readFileSync(new URL(file, TRACES), 'utf8').split('\n')) {
      if (text !== '') yield { file, line: JSON.parse(text) as TraceLine };
    }
  }
}

describe('requests', () => {
  it('are made as esptool makes them, for every recorded request', () => {
    let compared = 0;
    for (const { file, line } of recorded()) {
      if (line.dir !== 'host' || line.kind !== 'cmd' || line.data !== undefined) continue;
      const frame = Buffer.from(line.hex, 'hex');
      const opcode = frame[1] as number;
      const payload = frame.subarray(8);
      const isData = opcodeName(opcode).endsWith('_DATA');
      const checksum = isData ? dataChecksum(payload.subarray(16)) : 0;
      assert.equal(encodeRequest(opcode, payload, checksum).toString('hex'), line.hex, `${file} ${line.name ?? ''}`);
      compared++;
    }
    assert.ok(compared > 1000, `${compared} requests compared`);
  });

  it('carry the SYNC that was recorded', () => {
    const sync = [...recorded()].find(({ line }) => line.name === 'SYNC' && line.dir === 'host');
    assert.equal(encodeRequest(OPCODE.SYNC, SYNC_PAYLOAD).toString('hex'), sync?.line.hex);
  });

  it('write words little-endian, also those above 2^31', () => {
    assert.equal(words(1, 0xffffffff, 0x80000000).toString('hex'), '01000000ffffffff00000080');
  });
});

describe('responses', () => {
  it('are read as recorded, with the status length of the loader', () => {
    let compared = 0;
    for (const { file, line } of recorded()) {
      if (line.dir !== 'chip' || line.kind !== 'rsp') continue;
      const frame = Buffer.from(line.hex, 'hex');
      // The length of SYNC's reply is that of the status; here it must come from the frame, all bodies being known.
      const bodyBytes = { GET_SECURITY_INFO: [20], SPI_FLASH_MD5: [16, 32], READ_FLASH_SLOW: [64] }[
        line.name ?? ''
      ] ?? [0];
      const length = frame.readUInt16LE(2);
      const statusBytes = bodyBytes.map((bytes) => length - bytes).find((bytes) => bytes === 2 || bytes === 4);
      if (statusBytes === undefined) {
        assert.equal(length, statusBytesOfFailure(frame), `${file} ${line.hex}`);
        continue;
      }
      const response = decodeResponse(frame, statusBytes);
      assert.equal(response?.opcode, frame[1]);
      assert.equal(response?.value, Number(line.val));
      compared++;
    }
    assert.ok(compared > 1000, `${compared} responses compared`);
  });

  it('of any bytes never throw, and never claim more body than there is', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), fc.constantFrom(2 as const, 4 as const), (bytes, statusBytes) => {
        const response = decodeResponse(Buffer.from(bytes), statusBytes);
        if (response !== null) assert.ok(response.body.length <= bytes.length - 8 - statusBytes);
      }),
    );
  });

  it('keep the reason of a ROM and of a stub', () => {
    const rom = decodeResponse(Buffer.from('010804000707122001056e53', 'hex'), 4);
    assert.deepEqual([rom?.failed, rom?.reason], [true, 0x05]);
    const stub = decodeResponse(Buffer.from('0114020000000000ff00', 'hex'), 2);
    assert.deepEqual([stub?.failed, stub?.reason], [true, 0xff]);
    assert.match(reasonText(0xff), /not implemented/);
    assert.equal(reasonText(0x42), 'reason 0x42');
  });

  it('are not made of frames that are none', () => {
    assert.equal(decodeResponse(Buffer.from('OHAI'), 2), null);
    assert.equal(decodeResponse(encodeRequest(OPCODE.SYNC, SYNC_PAYLOAD), 4), null);
    assert.equal(decodeResponse(Buffer.from('0108ffff0000000000000000', 'hex'), 4), null);
  });
});

/** A failed command answers with the status alone. */
function statusBytesOfFailure(frame: Buffer): number {
  return frame.length - 8;
}
