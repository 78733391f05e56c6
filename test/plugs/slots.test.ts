import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type PlugInVerdict, type ResetInto, LOOP_REST_MS, Slots, isOwnUsb, ownUsbMac } from '../../src/plugs/slots.ts';
import { parseMac } from '../../src/mac.ts';
import type { PortInfo } from '../../src/serial/ports.ts';

const COOLDOWN_MS = 10_000;
const MINUTE_MS = 60_000;

function port(address: string, usb: Partial<NonNullable<PortInfo['usb']>> | null): PortInfo {
  const facts = usb && {
    vendorId: '10c4',
    productId: 'ea60',
    serialNumber: '0001',
    manufacturer: null,
    product: null,
    location: '1-1:1.0',
    ...usb,
  };
  return { address, key: `${address} 1`, usb: facts, fromFolder: usb === null };
}

const jtag = (serialNumber: string, more: Partial<NonNullable<PortInfo['usb']>> = {}, address = '/dev/ttyACM0') =>
  port(address, { vendorId: '303a', productId: '1001', serialNumber, ...more });

const MAC = parseMac('7c:df:a1:be:ef:02')!;
const native = jtag('7C:DF:A1:BE:EF:02');
const nativeElsewhere = { ...native, address: '/dev/ttyACM5' };
const bridge = port('/dev/ttyUSB0', {});

/** One job from its start to its end; by default it ends well. */
function job(slots: Slots, on: PortInfo, endsAt: number, resetInto: ResetInto = 'app', mac = MAC): void {
  slots.started(on);
  slots.identified(on, mac);
  slots.leaving(on);
  slots.released(on, endsAt, resetInto);
}

describe('plug-ins', () => {
  it('that follow on our own reset of native USB are none, also under another tty number', () => {
    const slots = new Slots(COOLDOWN_MS);
    job(slots, native, 1000);
    slots.detached(native, 1200);
    assert.equal(slots.attached(nativeElsewhere, 2000), 'own-reset');
  });

  it('are expected once for each reset', () => {
    const slots = new Slots(COOLDOWN_MS);
    job(slots, native, 1000);
    slots.detached(native, 1200);
    assert.equal(slots.attached(native, 2000), 'own-reset');
    slots.detached(native, 60_000);
    assert.equal(slots.attached(native, 61_000), 'real');
  });

  it('are none when the port went away while the board was being let go', () => {
    const slots = new Slots(COOLDOWN_MS);
    slots.started(native);
    slots.identified(native, MAC);
    slots.leaving(native);
    slots.detached(native, 900);
    slots.released(native, 1000, 'app');
    assert.equal(slots.attached(native, 1300), 'own-reset');
  });

  it('are none also when the board is back before its job has quite ended', () => {
    const slots = new Slots(COOLDOWN_MS);
    slots.started(native);
    slots.identified(native, MAC);
    slots.leaving(native);
    slots.detached(native, 900);
    assert.equal(slots.attached(native, 1300), 'own-reset');
    slots.released(native, 1400, 'app');
  });

  it('are real when the port went away long after the job', () => {
    const slots = new Slots(COOLDOWN_MS);
    job(slots, native, 1000);
    slots.detached(native, 1000 + 3001);
    assert.equal(slots.attached(native, 5000), 'real');
  });

  it('after a reset into download mode are expected however late the port is seen to have gone', () => {
    const slots = new Slots(COOLDOWN_MS);
    slots.started(native);
    slots.released(native, 1000, 'download-mode');
    slots.detached(native, 8000);
    assert.equal(slots.attached(native, 8300), 'in-download-mode');
  });

  it('are real when the port comes back only after the cooldown', () => {
    const slots = new Slots(COOLDOWN_MS);
    job(slots, native, 1000);
    slots.detached(native, 1200);
    assert.equal(slots.attached(native, 1200 + COOLDOWN_MS + 1), 'real');
    slots.cooldownMs = 0;
    job(slots, native, 20_000);
    slots.detached(native, 20_200);
    assert.equal(slots.attached(native, 20_201), 'real');
  });

  it('are real when another board says that it is another, however quick', () => {
    const slots = new Slots(COOLDOWN_MS);
    job(slots, native, 1000);
    slots.detached(native, 1200);
    assert.equal(slots.attached(jtag('7C:DF:A1:BE:EF:03'), 2000), 'real');
  });

  it('of the same board in another socket are real', () => {
    const slots = new Slots(COOLDOWN_MS);
    job(slots, native, 1000);
    slots.detached(native, 1200);
    assert.equal(slots.attached(jtag('7C:DF:A1:BE:EF:02', { location: '1-2:1.0' }), 2000), 'real');
  });

  it('of an app whose USB differs from that of download mode are known by their place', () => {
    const slots = new Slots(COOLDOWN_MS);
    const rom = jtag('0', { productId: '0002', location: '1-1:1.0' });
    const app = jtag('123456', { productId: '4001', location: '1-1:1.2' }, '/dev/ttyACM1');
    const foreign = port('/dev/ttyACM1', { vendorId: '239a', productId: '80df', serialNumber: '84:F7:03:11:22:33' });
    for (const [index, back] of [app, foreign].entries()) {
      const now = index * 100_000;
      job(slots, rom, now);
      slots.detached(rom, now + 200);
      assert.equal(slots.attached(back, now + 900), 'own-reset', back.usb!.vendorId);
    }
  });

  it('are known by what the chip says of itself where the place is not known', () => {
    const slots = new Slots(COOLDOWN_MS);
    const nowhere = jtag('7C:DF:A1:BE:EF:02', { location: null });
    job(slots, nowhere, 1000);
    slots.detached(nowhere, 1200);
    assert.equal(slots.attached({ ...nowhere, address: '/dev/ttyACM3' }, 2000), 'own-reset');
  });

  it('of a bridge are always real, however quick', () => {
    const slots = new Slots(COOLDOWN_MS);
    job(slots, bridge, 1000);
    slots.detached(bridge, 1001);
    assert.equal(slots.attached(bridge, 1002), 'real');
  });

  it('of one board after the other behind the same bridge are all real, all day long', () => {
    const slots = new Slots(COOLDOWN_MS);
    for (let now = 0; now < 100_000; now += 2000) {
      assert.equal(slots.attached(bridge, now), 'real', `at ${now}`);
      job(slots, bridge, now + 1000);
      slots.detached(bridge, now + 1500);
    }
  });

  it('in the middle of a job are real: somebody pulled the cable', () => {
    const slots = new Slots(COOLDOWN_MS);
    slots.started(native);
    slots.identified(native, MAC);
    slots.detached(native, 500);
    slots.released(native, 600, 'nothing');
    assert.equal(slots.attached(native, 900), 'real');
  });

  it('are real where the job could not even open the port', () => {
    const slots = new Slots(COOLDOWN_MS);
    slots.started(native);
    slots.released(native, 1000, 'nothing');
    slots.detached(native, 1200);
    assert.equal(slots.attached(native, 2000), 'real');
  });

  it('of a board that went away when it was reset into download mode find it there', () => {
    for (const seenAt of [900, 1100]) {
      const slots = new Slots(COOLDOWN_MS);
      slots.started(native);
      if (seenAt === 900) slots.detached(native, seenAt);
      slots.released(native, 1000, 'download-mode');
      if (seenAt === 1100) slots.detached(native, seenAt);
      assert.equal(slots.attached(nativeElsewhere, 1400), 'in-download-mode', `seen at ${seenAt}`);
    }
  });

  it('of a board that goes away at its resets do not count for a loop, as long as it is found', () => {
    const slots = new Slots(COOLDOWN_MS);
    for (let now = 0; now < 100_000; now += 5000) {
      slots.started(native);
      slots.detached(native, now + 300);
      slots.released(native, now + 310, 'download-mode');
      assert.equal(slots.attached(native, now + 700), 'in-download-mode', `at ${now}`);
      job(slots, native, now + 2000, 'nothing');
      slots.detached(native, now + 2100);
      // Somebody pulls the cable each time.
      assert.equal(slots.attached(native, now + 5101), 'real');
    }
  });

  it('of a board that is reset into download mode and never found there end in a rest', () => {
    const slots = new Slots(COOLDOWN_MS);
    const verdicts: PlugInVerdict[] = [];
    for (let now = 0; now < 5000; now += 700) {
      slots.started(native);
      slots.detached(native, now + 300);
      slots.released(native, now + 310, 'download-mode');
      verdicts.push(slots.attached(native, now + 600));
    }
    assert.equal(verdicts[0], 'in-download-mode');
    assert.ok(verdicts.indexOf('loop') <= 6, verdicts.join());
  });

  it('by itself after our own reset has been said are no reset of ours', () => {
    const slots = new Slots(COOLDOWN_MS);
    job(slots, native, 1000);
    slots.detached(native, 1200);
    assert.equal(slots.attached(native, 1600), 'own-reset');
    slots.detached(native, 2000);
    assert.equal(slots.attached(native, 2400), 'real');
  });

  it('that come and go with every job end in a rest, and begin anew after it', () => {
    for (const each of [bridge, native]) {
      const slots = new Slots(COOLDOWN_MS);
      let now = 0;
      const round = () => {
        slots.started(each);
        slots.identified(each, MAC);
        slots.detached(each, (now += 100));
        slots.released(each, (now += 100), 'nothing');
        return slots.attached(each, (now += 100));
      };
      assert.deepEqual([round(), round(), round()], ['real', 'real', 'loop']);
      // It goes on flapping although nobody touches it.
      for (let second = 0; second < 290; second++) {
        slots.detached(each, (now += 500));
        assert.equal(slots.attached(each, (now += 500)), 'resting', `${second} s into the rest`);
      }
      now += MINUTE_MS;
      slots.detached(each, now);
      assert.equal(slots.attached(each, now + 100), 'real');
    }
  });

  it('of a bridge whose jobs end before the listing shows that it went end in a rest as well', () => {
    const slots = new Slots(COOLDOWN_MS);
    let now = 0;
    const round = () => {
      slots.started(bridge);
      slots.released(bridge, (now += 100), 'nothing', true);
      slots.detached(bridge, (now += 50));
      return slots.attached(bridge, (now += 500));
    };
    assert.deepEqual([round(), round(), round(), round()], ['real', 'real', 'loop', 'resting']);
  });

  it('of a port that is there at the end of its rest: one try, and the next rest if it goes away again', () => {
    const slots = new Slots(COOLDOWN_MS);
    let now = 0;
    const round = () => {
      slots.started(bridge);
      slots.detached(bridge, (now += 100));
      slots.released(bridge, (now += 100), 'nothing');
      return slots.attached(bridge, (now += 100));
    };
    assert.deepEqual([round(), round(), round()], ['real', 'real', 'loop']);
    now += LOOP_REST_MS;
    slots.rested(bridge);
    assert.deepEqual([round(), round()], ['loop', 'resting']);
  });

  it('by hand are real also during a rest', () => {
    const slots = new Slots(COOLDOWN_MS);
    let now = 0;
    for (const expected of ['real', 'real', 'loop']) {
      slots.started(bridge);
      slots.detached(bridge, (now += 100));
      slots.released(bridge, (now += 100), 'nothing');
      assert.equal(slots.attached(bridge, (now += 100)), expected);
    }
    slots.detached(bridge, (now += 5000));
    assert.equal(slots.attached(bridge, (now += 3001)), 'real');
  });

  it('that a person makes in the middle of jobs, again and again, stay real', () => {
    const slots = new Slots(COOLDOWN_MS);
    for (let now = 0; now < 100_000; now += 5000) {
      slots.started(bridge);
      slots.detached(bridge, now + 1000);
      slots.released(bridge, now + 1000, 'nothing');
      assert.equal(slots.attached(bridge, now + 4500), 'real');
    }
  });

  it('whose going is noticed late (no hotplug events) end in a rest all the same', () => {
    const slots = new Slots(COOLDOWN_MS);
    const verdicts: PlugInVerdict[] = [];
    for (let now = 0; now < 50_000; now += 10_000) {
      job(slots, native, now);
      slots.detached(native, now + 5000);
      verdicts.push(slots.attached(native, now + 5000));
    }
    assert.deepEqual(verdicts.slice(0, 3), ['real', 'real', 'loop']);
  });

  it('of one port say nothing about another', () => {
    const slots = new Slots(COOLDOWN_MS);
    const four = [0, 1, 2, 3].map((n) => port(`/dev/ttyUSB${n}`, { productId: 'ea71', location: `1-1:1.${n}` }));
    for (let round = 0; round < 4; round++) {
      slots.started(four[0]!);
      slots.detached(four[0]!, round * 300 + 100);
      slots.released(four[0]!, round * 300 + 200, 'nothing');
      slots.attached(four[0]!, round * 300 + 300);
    }
    for (const other of four.slice(1)) {
      slots.detached(other, 1300);
      assert.equal(slots.attached(other, 1301), 'real');
    }
  });

  it('of a board that resets at every job never loop for ever, whatever the delays', () => {
    const delay = fc.integer({ min: 0, max: 2999 });
    fc.assert(
      fc.property(fc.array(fc.tuple(delay, delay), { minLength: 20, maxLength: 20 }), (rounds) => {
        const slots = new Slots(COOLDOWN_MS);
        let now = 0;
        let jobs = 1;
        let verdict: PlugInVerdict = 'real';
        for (const [untilGone, untilBack] of rounds) {
          if (verdict === 'real') job(slots, native, (now += 1000));
          // A board that is not reset does not go away.
          else break;
          slots.detached(native, (now += untilGone));
          verdict = slots.attached(native, (now += untilBack));
          if (verdict === 'real') jobs++;
        }
        assert.equal(jobs, 1);
      }),
    );
  });
});

describe('facts of a port', () => {
  it("tell a chip's own USB from a bridge", () => {
    assert.equal(isOwnUsb(native), true);
    assert.equal(isOwnUsb(bridge), false);
    assert.equal(isOwnUsb(port('/dev/ttyACM0', { vendorId: '1a86', productId: '55d4' })), false);
    assert.equal(isOwnUsb(port('/dev/pts/3', null)), false);
  });

  it("tell the MAC of a board on its own USB, from Espressif's devices only", () => {
    assert.equal(ownUsbMac(native), MAC);
    assert.equal(ownUsbMac(jtag('7cdfa1beef02', { productId: '4001' })), MAC);
    assert.equal(ownUsbMac(jtag('123456')), undefined);
    assert.equal(ownUsbMac(port('/dev/ttyUSB0', { serialNumber: '7cdfa1beef02' })), undefined);
    assert.equal(ownUsbMac(port('/dev/pts/3', null)), undefined);
  });
});
