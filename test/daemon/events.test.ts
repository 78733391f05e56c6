import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { EventBus, RING_EVENTS } from '../../src/daemon/events.ts';
import type { ServiceEvent } from '../../src/daemon/event-types.ts';
import { VirtualClock } from '../../src/simulator/index.ts';
import { silentLogger } from '../../src/log.ts';

function newBus(instance?: string): EventBus {
  return new EventBus({ clock: new VirtualClock(), log: silentLogger }, instance);
}

const gone = (port: string) => ({ type: 'port-detached', port }) as const;

describe('the bus of events', () => {
  it('numbers without gaps, and tells every subscriber in one order, whoever emits meanwhile', () => {
    const bus = newBus();
    const [first, second]: ServiceEvent[][] = [[], []];
    bus.subscribe((event) => {
      first!.push(event);
      if (event.type === 'port-detached' && event.port === 'a') bus.emit(gone('b'));
    });
    bus.subscribe((event) => second!.push(event));
    bus.emit(gone('a'));
    bus.emit(gone('c'));
    const seen = (events: ServiceEvent[]) => events.map((event) => [event.seq, 'port' in event ? event.port : '']);
    assert.deepEqual(seen(first!), [
      [1, 'a'],
      [2, 'b'],
      [3, 'c'],
    ]);
    assert.deepEqual(seen(second!), seen(first!));
    assert.equal(bus.lastSeq, 3);
  });

  it('tells nobody who has left, and goes on where one throws', () => {
    const bus = newBus();
    const seen: number[] = [];
    bus.subscribe(() => {
      throw new Error('broken');
    });
    const leave = bus.subscribe(({ seq }) => seen.push(seq));
    bus.emit(gone('a'));
    leave();
    bus.emit(gone('b'));
    assert.deepEqual(seen, [1]);
    assert.equal(bus.lastSeq, 2);
  });

  it('has another name after each start', () => {
    assert.notEqual(newBus().instance, newBus().instance);
  });

  it('keeps the last ones, and says when a client has missed some', () => {
    fc.assert(
      fc.property(fc.nat(2 * RING_EVENTS), fc.integer({ min: -5, max: 2 * RING_EVENTS + 5 }), (count, seq) => {
        const bus = newBus('x');
        for (let index = 0; index < count; index++) bus.emit(gone(String(index)));
        const { events, isComplete } = bus.since(seq);
        const oldest = Math.max(1, count - RING_EVENTS + 1);
        const isKnown = seq >= 0 && seq <= count;
        assert.equal(isComplete, isKnown && seq >= oldest - 1);
        const from = isKnown ? Math.max(seq + 1, oldest) : oldest;
        assert.equal(events.length, Math.max(0, count - from + 1));
        events.forEach((event, index) => assert.equal(event.seq, from + index));
      }),
      { numRuns: 30 },
    );
  });

  it('takes no number that is none for a place to go on from', () => {
    const bus = newBus();
    bus.emit(gone('a'));
    for (const seq of [NaN, 0.5, Infinity, -1]) {
      assert.deepEqual([bus.since(seq).isComplete, bus.since(seq).events.length], [false, 1]);
    }
  });
});
