import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hasCode } from '../../src/errors.ts';
import {
  beginsAtOpen,
  classicReset,
  hardReset,
  parseResetSequence,
  resetPlan,
  tightReset,
  usbOtgReset,
  usbSerialJtagReset,
} from '../../src/esp/reset.ts';
import type { ResetSequence } from '../../src/esp/reset.ts';

/** What the usual two transistors make of a sequence: the mode at each rising edge of EN. */
function boots(sequence: ResetSequence): ('download' | 'app')[] {
  const modes: ('download' | 'app')[] = [];
  let enable = true;
  for (const step of sequence.steps) {
    if ('waitMs' in step) continue;
    // Both asserted or both released: neither pin is pulled.
    const reset = step.rts && !step.dtr;
    const boot = step.dtr && !step.rts;
    if (!enable && !reset) modes.push(boot ? 'download' : 'app');
    enable = !reset;
  }
  return modes;
}

describe('reset sequences', () => {
  it('boot once, into the mode that they are for, through two transistors', () => {
    assert.deepEqual(boots(classicReset(50)), ['download']);
    assert.deepEqual(boots(tightReset(50)), ['download']);
    assert.deepEqual(boots(hardReset()), ['app']);
  });

  it('end with both lines released', () => {
    for (const sequence of [classicReset(50), tightReset(550), usbSerialJtagReset, usbOtgReset, hardReset()]) {
      assert.deepEqual(sequence.steps.at(-1), { dtr: false, rts: false }, sequence.name);
    }
  });

  it('for an app on USB-OTG passes through both lines, one after the other, without a wait', () => {
    const states = usbOtgReset.steps.map((step) =>
      'waitMs' in step ? 'wait' : `${step.dtr ? 1 : 0}${step.rts ? 1 : 0}`,
    );
    assert.deepEqual(states, ['01', '11', '10', '00']);
  });

  it('begins at the open of the port where an app would take the release of the lines for a request', () => {
    const otg = { vendorId: '303a', productId: '4001' };
    const nothing = { name: 'none', steps: [] };
    for (const mode of ['auto', 'usb-otg', nothing] as const) assert.equal(beginsAtOpen(mode, otg), true);
    for (const mode of ['none', 'tight', 'classic', 'usb-serial-jtag', parseResetSequence('D0')] as const) {
      assert.equal(beginsAtOpen(mode, otg), false);
    }
    for (const usb of [null, { vendorId: '303a', productId: '1001' }, { vendorId: '10c4', productId: 'ea60' }]) {
      for (const mode of ['auto', nothing] as const) assert.equal(beginsAtOpen(mode, usb), false);
    }
  });

  it("reads esptool's notation", () => {
    assert.deepEqual(parseResetSequence('D0|R1|W0.1|D1|R0|W0.05|D0').steps, [
      { dtr: false, rts: false },
      { dtr: false, rts: true },
      { waitMs: 100 },
      { dtr: true, rts: true },
      { dtr: true, rts: false },
      { waitMs: 50 },
      { dtr: false, rts: false },
    ]);
    assert.deepEqual(parseResetSequence('U1,0').steps, [{ dtr: true, rts: false }]);
  });

  it('refuses what is no step, and waits beyond 10 s', () => {
    for (const text of ['', 'D2', 'X1', 'W', 'W11', 'D0||R1', 'U1', 'D0;R1', 'W-1']) {
      assert.throws(
        () => parseResetSequence(text),
        (error) => hasCode(error, 'config-invalid'),
        text,
      );
    }
  });

  it('begins with what the kind of port is known to need', () => {
    const jtag = { vendorId: '303a', productId: '1001' };
    assert.equal(resetPlan('auto', jtag)[0], usbSerialJtagReset);
    assert.equal(resetPlan('auto', null)[0]?.name, 'tight 50 ms');
    const bridge = { vendorId: '10c4', productId: 'ea60' };
    assert.ok(!resetPlan('auto', bridge).includes(usbSerialJtagReset));
    assert.ok(
      resetPlan('auto', bridge)
        .slice(0, 3)
        .some(({ name }) => name.endsWith('550 ms')),
    );
    // A pulse may get shorter on a network; and whoever names a sequence gets that one.
    assert.deepEqual(
      [
        resetPlan('auto', bridge)[0]?.enLowMs,
        resetPlan('auto', null)[0]?.enLowMs,
        resetPlan('tight', bridge)[0]?.enLowMs,
      ],
      [20, undefined, undefined],
    );
    assert.ok(
      resetPlan('auto', bridge)
        .slice(1)
        .every(({ enLowMs }) => enLowMs === undefined),
    );
    assert.ok(resetPlan('auto', null).slice(0, 3).includes(usbSerialJtagReset));
    assert.notEqual(resetPlan('auto', null)[2], usbSerialJtagReset);
    for (const maker of ['303a', '239a', '2e8a']) {
      const plan = resetPlan('auto', { vendorId: maker, productId: '80df' });
      assert.equal(plan[0], usbOtgReset, maker);
      assert.ok(
        plan.slice(0, 3).some(({ name }) => name === 'tight 50 ms'),
        maker,
      );
      assert.notEqual(plan[2], usbSerialJtagReset);
    }
    assert.ok(!resetPlan('auto', bridge).includes(usbOtgReset), 'it starts the app of a board behind a bridge');
    assert.ok(resetPlan('auto', null).includes(usbOtgReset));
    assert.deepEqual(resetPlan('none', jtag), []);
    assert.equal(resetPlan(parseResetSequence('D0'), jtag)[0]?.name, 'custom');
  });
});
