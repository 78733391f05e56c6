/** Counting and tracing: both keep the contract of what they decorate. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { systemClock } from '../../src/clock.ts';
import { silentLogger } from '../../src/log.ts';
import { countBytes } from '../../src/serial/counting-link.ts';
import type { Link } from '../../src/serial/link.ts';
import { withControlLines } from '../../src/serial/linux-tty.ts';
import { openLink } from '../../src/serial/open-link.ts';
import { type TraceRecord, traceLink } from '../../src/serial/trace-link.ts';
import { describeLinkConformance, readExactly } from './link-conformance.ts';
import { Rfc2217Peer } from './peers.ts';

async function fixture(decorate: (link: Link) => Link) {
  const peer = new Rfc2217Peer();
  const options = { baudRate: 115_200, clock: systemClock, log: silentLogger };
  const link = decorate(await openLink(await peer.start(), options));
  return {
    link,
    send: (data: Uint8Array) => peer.send(data),
    received: (sizeBytes: number) => peer.inbox.take(sizeBytes),
    vanish: () => peer.vanish(),
    baudRates: () => peer.baudRates,
    controlLines: () => peer.controlLines,
    dispose: () => peer.close(),
  };
}

describeLinkConformance('a counted link', () => fixture(countBytes));
describeLinkConformance('a traced link', () => fixture((link) => traceLink(link, { write: () => true }, systemClock)));

describe('counting', () => {
  test('counts what is handed up and down, not what the link adds', async () => {
    const peer = new Rfc2217Peer();
    const link = countBytes(
      await openLink(await peer.start(), { baudRate: 115_200, clock: systemClock, log: silentLogger }),
    );
    assert.deepEqual([link.bytesRead, link.bytesWritten], [0, 0]);
    await link.write(Buffer.from([0xff, 0xff, 1]));
    await peer.send(Buffer.from([0xff, 2]));
    await readExactly(link, 2);
    assert.equal(await link.read(0), null);
    assert.deepEqual([link.bytesRead, link.bytesWritten], [2, 3]);
    await link.close();
    await peer.close();
  });
});

describe('tracing', () => {
  test('writes one JSON object a line with time, sender and bytes', async () => {
    const lines: string[] = [];
    const { link, send, dispose } = await fixture((inner) =>
      traceLink(inner, { write: (line) => lines.push(line) }, { ...systemClock, now: () => 1500 }),
    );
    await link.setControlLines({ dtr: true, rts: false });
    await link.setBaudRate(921_600);
    await link.write(Buffer.from([0xc0, 0x00]));
    await send(Buffer.from([0x01]));
    await readExactly(link, 1);
    await link.purge();
    await link.close();
    await assert.rejects(link.write(Buffer.from('x')));
    await dispose();
    assert.ok(lines.every((line) => line.endsWith('}\n')));
    const records = lines.map((line) => JSON.parse(line) as TraceRecord);
    assert.deepEqual(records.slice(0, 7), [
      { t: 0, dir: 'host', lines: { dtr: true, rts: false } },
      { t: 0, dir: 'host', baudRate: 921_600 },
      { t: 0, dir: 'host', hex: 'c000' },
      { t: 0, dir: 'chip', hex: '01' },
      { t: 0, dir: 'host', purge: true },
      { t: 0, dir: 'host', closed: true },
      { t: 0, dir: 'host', hex: '78' },
    ]);
    assert.ok('failed' in records[7]!);
  });
});

describe('modem bits', () => {
  test('change in DTR and RTS only', () => {
    // Bits of termios.h: DTR 2, RTS 4, CTS 0x20, OUT2 0x4000.
    assert.equal(withControlLines(0x4026, { dtr: false, rts: false }), 0x4020);
    assert.equal(withControlLines(0x4020, { dtr: true, rts: false }), 0x4022);
    assert.equal(withControlLines(0x4022, { dtr: false, rts: true }), 0x4024);
    assert.equal(withControlLines(0, { dtr: true, rts: true }), 6);
  });
});
