import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { portChanges } from '../../src/serial/port-changes.ts';
import type { PortInfo } from '../../src/serial/ports.ts';

const usb = {
  vendorId: '10c4',
  productId: 'ea60',
  serialNumber: null,
  manufacturer: null,
  product: null,
  location: null,
};
const port = (address: string, key: string, more: Partial<PortInfo> = {}): PortInfo => ({
  address,
  key,
  usb,
  fromFolder: false,
  ...more,
});
const asMap = (...ports: PortInfo[]) => new Map(ports.map((each) => [each.address, each]));
const names = (ports: readonly PortInfo[]) => ports.map(({ key }) => key);

describe('what changes between two listings', () => {
  it('are ports that came, that went, and that are there anew at the same address', () => {
    const before = asMap(port('a', 'a1'), port('b', 'b1'), port('c', 'c1'));
    const { attached, detached, present } = portChanges(before, [port('b', 'b2'), port('c', 'c1'), port('d', 'd1')]);
    assert.deepEqual(
      [names(attached), names(detached)],
      [
        ['b2', 'd1'],
        ['a1', 'b1'],
      ],
    );
    assert.deepEqual([...present.keys()], ['b', 'c', 'd']);
  });

  it('is a port of which more is known now: it has gone and come, and what is known once stays known', () => {
    const known = portChanges(asMap(port('a', 'a1', { usb: null })), [port('a', 'a1')]);
    assert.deepEqual([names(known.attached), names(known.detached)], [['a1'], ['a1']]);
    const late = portChanges(known.present, [port('a', 'a1', { usb: null })]);
    assert.deepEqual([late.attached, late.detached, late.present.get('a')?.usb], [[], [], usb]);
    const replugged = portChanges(known.present, [port('a', 'a2', { usb: null })]);
    assert.deepEqual(replugged.attached[0]?.usb, null);
  });

  it('leads from any listing to any other, and a listing twice changes nothing', () => {
    const listing = fc
      .array(fc.record({ address: fc.constantFrom('a', 'b', 'c'), plug: fc.nat({ max: 2 }) }), { maxLength: 3 })
      .map((entries) => [...asMap(...entries.map(({ address, plug }) => port(address, `${address}${plug}`))).values()]);
    fc.assert(
      fc.property(listing, listing, (one, other) => {
        const { present } = portChanges(new Map(), one);
        const changes = portChanges(present, other);
        const kept = one.filter((each) => !changes.detached.includes(each));
        assert.deepEqual(
          new Set([...kept, ...changes.attached].map(({ key }) => key)),
          new Set(other.map(({ key }) => key)),
        );
        const again = portChanges(changes.present, other);
        assert.deepEqual([again.attached, again.detached], [[], []]);
      }),
    );
  });
});
