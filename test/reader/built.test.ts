/** The files of reader/built: made of the sources at hand, for the stub at hand, sound in themselves, beside the stub. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { crc32 } from 'node:zlib';
import { READER, chips } from './programs.ts';

interface Range {
  readonly address: number;
  readonly bytes: number;
}

interface Artefact {
  readonly chip: string;
  readonly protocol: number;
  readonly build: number;
  readonly sourceSha256: string;
  readonly stub: { readonly package: string; readonly name: string; readonly sha256: string };
  readonly table: { readonly address: number; readonly unused: number };
  readonly slots: readonly { readonly opcode: number; readonly address: number; readonly value: number }[];
  readonly segments: readonly { readonly address: number; readonly dataBase64: string }[];
  readonly memory: readonly Range[];
  readonly crc32: number;
}

interface StubDocument {
  readonly text: string;
  readonly text_start: number;
  readonly data: string;
  readonly data_start: number;
  readonly bss_start: number;
}

/** How much higher the bus for code sees the memory that the bus for data sees too (esp-stub-lib, include/soc/soc.h). */
const CODE_IS_HIGHER_BY: Readonly<Record<string, number>> = {
  esp32s2: 0x70000,
  esp32s3: 0x6f0000,
  esp32c2: 0x6e0000,
  esp32c3: 0x700000,
};

function read(file: string): unknown {
  return JSON.parse(fs.readFileSync(file, 'utf8'));
}

const CHIPS = Object.keys(await chips());
const STUBS = path.join(path.dirname(createRequire(import.meta.url).resolve('esptool-js')), 'targets/stub_flasher');
const { sourceDigest } = (await import(pathToFileURL(path.join(READER, 'build.mjs')).href)) as {
  readonly sourceDigest: () => string;
};

test('there is one for each chip, and no other', () => {
  assert.deepEqual(fs.readdirSync(path.join(READER, 'built')).sort(), CHIPS.map((chip) => `${chip}.json`).sort());
});

for (const chip of CHIPS) {
  describe(`built/${chip}.json`, () => {
    const artefact = read(path.join(READER, 'built', `${chip}.json`)) as Artefact;
    const stub = read(path.join(STUBS, `${artefact.stub.name}.json`)) as StubDocument;
    const [stubText, stubData] = [Buffer.from(stub.text, 'base64'), Buffer.from(stub.data, 'base64')];
    const segments = artefact.segments.map(({ address, dataBase64 }) => ({
      address,
      data: Buffer.from(dataBase64, 'base64'),
    }));

    test('is of these sources and for this stub: else npm run reader:build', () => {
      assert.equal(artefact.sourceSha256, sourceDigest());
      assert.equal(artefact.build, Buffer.from(artefact.sourceSha256, 'hex').readUInt32LE(0));
      const digest = createHash('sha256').update(stubText).update(stubData).digest('hex');
      assert.deepEqual([artefact.chip, artefact.stub.sha256], [chip, digest]);
    });

    test('its last word is the CRC of the rest', () => {
      const all = Buffer.concat(segments.map(({ data }) => data));
      assert.equal(crc32(all.subarray(0, -4)), artefact.crc32);
      assert.equal(all.readUInt32LE(all.length - 4), artefact.crc32);
      for (const { data } of segments) assert.equal(data.length % 4, 0);
    });

    test('its slots are free in the stub, and lead into its code', () => {
      const [code] = segments;
      assert.ok(code);
      assert.deepEqual(
        artefact.slots.map(({ opcode, address }) => [opcode, address - artefact.table.address]),
        [0xe0, 0xe1, 0xe2].map((opcode) => [opcode, 4 * (opcode - 0xd5)]),
      );
      for (const { address, value } of artefact.slots) {
        assert.equal(stubData.readUInt32LE(address - stub.data_start), artefact.table.unused);
        assert.ok(value >= code.address && value < code.address + code.data.length);
      }
    });

    test('lies within the memory that it names, and apart from the stub', () => {
      for (const [index, { address, data }] of segments.entries()) {
        const range = artefact.memory[index];
        assert.ok(range && range.address === address && range.bytes >= data.length);
      }
      const higher = CODE_IS_HIGHER_BY[chip] ?? 0;
      const asData = ({ address, bytes }: Range): Range =>
        higher > 0 && address >= 0x40000000 ? { address: address - higher, bytes } : { address, bytes };
      const variables = { address: stub.bss_start, bytes: stub.data_start + stubData.length - stub.bss_start };
      const inflateWindow = { address: 0x3ffe812c, bytes: 32_768 };
      const ofStub = [{ address: stub.text_start, bytes: stubText.length }, variables].map(asData);
      const [code, data] = artefact.memory.map(asData) as [Range, Range];
      const apart = (a: Range, b: Range) => a.address + a.bytes <= b.address || b.address + b.bytes <= a.address;
      assert.ok(apart(code, data));
      for (const range of ofStub) assert.ok(apart(code, range));
      // ESP8266: within the stub's inflate window, on purpose.
      if (chip === 'esp8266') {
        assert.ok(data.address >= inflateWindow.address);
        assert.ok(data.address + data.bytes <= inflateWindow.address + inflateWindow.bytes);
      } else {
        for (const range of ofStub) assert.ok(apart(data, range));
      }
    });
  });
}
