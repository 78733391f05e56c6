import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { loadReaderProgram, parseReaderProgram, stubDigest } from '../../../src/esp/reader/artefact.ts';
import { ReaderCosts } from '../../../src/esp/reader/costs.ts';
import { factsAfterFault, isResting } from '../../../src/esp/reader/memory.ts';
import { TRUSTED_CHIPS, type TrustFacts, reasonAgainst } from '../../../src/esp/reader/trust.ts';
import { loadStubImage } from '../../../src/esp/stub.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const DAY_MS = 24 * 3600 * 1000;

describe('what was built', () => {
  it('fits the stub that espd loads, for every chip that is trusted', async () => {
    for (const family of Object.keys(TRUSTED_CHIPS)) {
      const program = await loadReaderProgram(family);
      assert.ok(program !== undefined, family);
      assert.equal(program.stubSha256, stubDigest(await loadStubImage(family)));
    }
  });

  it('is not there for names that are none', async () => {
    for (const name of ['esp32h9', '../package', 'esp32/../esp32', '', 'x'.repeat(100)]) {
      assert.equal(await loadReaderProgram(name), undefined);
    }
  });

  it('is refused when any part of it is missing, of another kind, or damaged', () => {
    const file = fileURLToPath(new URL('../../../reader/built/esp32.json', import.meta.url));
    const document = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
    assert.ok(parseReaderProgram(document) !== undefined);
    for (const key of ['protocol', 'build', 'crc32', 'historyBytes', 'slots', 'segments', 'stub', 'table']) {
      for (const value of [undefined, null, -1, 'x', [], {}, 2 ** 40]) {
        assert.equal(parseReaderProgram({ ...document, [key]: value }), undefined, `${key}: ${JSON.stringify(value)}`);
      }
    }
    const [first, ...rest] = document['segments'] as { address: number; dataBase64: string }[];
    const bytes = Buffer.from(first?.dataBase64 ?? '', 'base64');
    bytes[100] = (bytes[100] ?? 0) ^ 1;
    const damaged = [{ ...first, dataBase64: bytes.toString('base64') }, ...rest];
    assert.equal(parseReaderProgram({ ...document, segments: damaged }), undefined);
    fc.assert(fc.property(fc.anything(), (value) => parseReaderProgram(value) === undefined));
  });
});

describe('whether the reader may be used', () => {
  const facts: TrustFacts = {
    mode: 'auto',
    family: 'esp32',
    usbConnection: 'none',
    security: { flashEncryption: false, secureBoot: false, secureDownload: false },
    flashSizeBytes: 16 * MIB,
    canReset: true,
    hasForeignStub: false,
  };

  it('by itself on the chips of the table, on others when it is asked for', () => {
    assert.deepEqual(Object.keys(TRUSTED_CHIPS), ['esp32', 'esp32c3']);
    assert.equal(reasonAgainst(facts), null);
    for (const family of ['esp8266', 'esp32s3', 'esp32c6'] as const) {
      assert.notEqual(reasonAgainst({ ...facts, family }), null);
      assert.equal(reasonAgainst({ ...facts, family, mode: 'always' }), null);
    }
  });

  it('never where it could not work, or could not be ended', () => {
    const never: Partial<TrustFacts>[] = [
      { mode: 'never' },
      { usbConnection: 'usb-serial-jtag' },
      { usbConnection: 'usb-otg' },
      { flashSizeBytes: 32 * MIB },
      { flashSizeBytes: undefined },
      { canReset: false },
      { hasForeignStub: true },
      { security: { ...facts.security, secureBoot: true } },
      { security: { ...facts.security, secureDownload: true } },
      { security: { ...facts.security, flashEncryption: true } },
    ];
    for (const one of never)
      assert.notEqual(reasonAgainst({ ...facts, mode: 'always', ...one }), null, JSON.stringify(one));
  });
});

describe('what is remembered of a fault', () => {
  const now = new Date('2026-11-20T10:00:00.000Z');
  const later = (days: number) => new Date(now.getTime() + days * DAY_MS);

  it('lasts a week, twice as long after each further one, a year at most', () => {
    const once = factsAfterFault(null, now);
    assert.deepEqual([isResting(once, later(6.9)), isResting(once, later(7.1))], [true, false]);
    const twice = factsAfterFault(once, now);
    assert.deepEqual([isResting(twice, later(13.9)), isResting(twice, later(14.1))], [true, false]);
    const often = { failedAt: now.toISOString(), failures: 1000 };
    assert.deepEqual([isResting(often, later(364)), isResting(often, later(366))], [true, false]);
  });

  it('does not last for ever on a clock that went back', () => {
    assert.equal(isResting(factsAfterFault(null, now), later(-400)), false);
  });
});

describe('what reading through the reader costs', () => {
  it('compresses on a line that is slower than the chip, and sends as it is on one that is faster', () => {
    const costs = new ReaderCosts();
    costs.measured(300);
    assert.equal(costs.best(92.16).level, 2);
    assert.equal(costs.best(200).level, 2);
    assert.equal(costs.best(400).level, 0);
    // About an ESP32-S3 at 40 MHz.
    costs.measured(75);
    assert.equal(costs.best(92.16).level, 0);
    assert.equal(costs.best(46).level, 2);
  });

  it('takes the faster search where that is what just keeps up', () => {
    const costs = new ReaderCosts();
    costs.measured(130);
    assert.equal(costs.best(100).level, 1);
  });

  it('learns from what came: noise is not compressed any more, firmware is again', () => {
    const costs = new ReaderCosts();
    costs.measured(370);
    const flashBytes = 256 * KIB;
    for (let stream = 0; stream < 8; stream++) {
      costs.streamed({ level: 2, flashBytes, sentBytes: flashBytes * 1.004, ms: flashBytes / 90 }, 92.16);
    }
    assert.equal(costs.best(92.16).level, 0);
    for (let stream = 0; stream < 8; stream++) costs.compresses(flashBytes, 0.6);
    assert.equal(costs.best(92.16).level, 2);
  });

  it('learns that a chip is slower than it was measured', () => {
    const costs = new ReaderCosts();
    costs.measured(1000);
    assert.equal(costs.best(300).level, 2);
    const flashBytes = 512 * KIB;
    for (let stream = 0; stream < 6; stream++) {
      costs.streamed({ level: 2, flashBytes, sentBytes: flashBytes * 0.6, ms: flashBytes / 200 }, 300);
    }
    assert.equal(costs.best(300).level, 0);
  });
});
