import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type RecoveryStep, type Trouble, nextStep, packetsAfter } from '../../src/esp/recovery.ts';

const TROUBLE: Trouble = {
  tried: [],
  answers: true,
  isTrial: false,
  canLower: false,
  hasPackets: true,
  canUseRom: true,
  romWasNeeded: false,
};

/** The steps until nothing is left; there are `lowerRates` to go down by. */
function stepsOf(trouble: Partial<Trouble>, lowerRates = 0): RecoveryStep[] {
  const tried: RecoveryStep[] = [];
  for (;;) {
    const canLower = tried.filter((step) => step === 'lowerBaudRate').length < lowerRates;
    const step = nextStep({ ...TROUBLE, ...trouble, tried, canLower });
    if (step === null) return tried;
    tried.push(step);
    assert.ok(tried.length < 30, 'no end');
  }
}

const small = ['smallerPackets', 'smallerPackets'] as const;
const again = ['reconnected', 'reconnected'] as const;
const rom = ['romReads', 'romReads'] as const;

describe('the ways out of trouble', () => {
  it('are gone in their order', () => {
    assert.deepEqual(stepsOf({}, 2), ['repeated', ...small, 'lowerBaudRate', 'lowerBaudRate', ...again, ...rom]);
    assert.deepEqual(stepsOf({}), ['repeated', ...small, ...again, ...rom]);
    assert.deepEqual(stepsOf({ canUseRom: false }), ['repeated', ...small, ...again]);
    assert.deepEqual(stepsOf({ hasPackets: false, canUseRom: false }, 1), ['repeated', 'lowerBaudRate', ...again]);
  });

  it('blame a rate first that nothing has proven', () => {
    assert.deepEqual(stepsOf({ isTrial: true }, 1).slice(0, 3), ['repeated', 'lowerBaudRate', 'smallerPackets']);
    assert.deepEqual(stepsOf({ isTrial: true, answers: false }, 1).slice(0, 2), ['lowerBaudRate', 'reconnected']);
  });

  it('begin with a new connection where nobody answers any more', () => {
    assert.deepEqual(stepsOf({ answers: false }, 3), [...again, ...again, ...rom]);
    assert.deepEqual(stepsOf({ answers: false, canUseRom: false }), [...again, ...again]);
  });

  it('are cut short where only the ROM has helped just before', () => {
    assert.deepEqual(stepsOf({ romWasNeeded: true }, 3), ['repeated', ...rom]);
    assert.deepEqual(stepsOf({ romWasNeeded: true, canUseRom: false }), ['repeated', ...small, ...again]);
  });

  it('come to an end whatever happens', () => {
    const flags = fc.record({
      answers: fc.boolean(),
      isTrial: fc.boolean(),
      hasPackets: fc.boolean(),
      canUseRom: fc.boolean(),
      romWasNeeded: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(flags, { minLength: 1 }), (changes) => {
        const tried: RecoveryStep[] = [];
        for (let at = 0; ; at++) {
          const canLower = tried.filter((step) => step === 'lowerBaudRate').length < 6;
          const step = nextStep({ ...TROUBLE, ...changes[at % changes.length], tried, canLower });
          if (step === null) return;
          tried.push(step);
          assert.ok(tried.length <= 16, tried.join(' '));
        }
      }),
    );
  });
});

describe('packets after an error', () => {
  it('get smaller, and end nowhere near the border of a USB packet', () => {
    const sizes = [[], ['repeated'], ['smallerPackets'], small].map((tried) => packetsAfter(tried as RecoveryStep[]));
    assert.deepEqual(
      sizes.map(({ packetBytes }) => packetBytes),
      [4096, 4096, 2001, 1023],
    );
    for (const { packetBytes, pieceBytes } of sizes) {
      assert.notEqual((packetBytes + 2) % 64, 0);
      assert.ok(pieceBytes % packetBytes === 0 || ((pieceBytes % packetBytes) + 2) % 64 !== 0);
    }
  });
});
