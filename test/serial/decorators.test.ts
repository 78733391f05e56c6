/** Counting and recording: both keep the contract of what they decorate. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { systemClock } from '../../src/clock.ts';
import { silentLogger } from '../../src/log.ts';
import { countBytes } from '../../src/serial/counting-link.ts';
import type { Link } from '../../src/serial/link.ts';
import { withControlLines } from '../../src/serial/linux-tty.ts';
import { openLink } from '../../src/serial/open-link.ts';
import { recordLink } from '../../src/transfer/record/record-link.ts';
import type { RecordingLine } from '../../src/transfer/record/format.ts';
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

function recorded(link: Link, lines: RecordingLine[]): Link {
  return recordLink(link, {
    ...{ clock: systemClock, startMs: systemClock.now(), number: 1, key: Buffer.alloc(32), withPayload: true },
    ...{ transport: 'rfc2217', usb: null, onLine: (line) => lines.push(line) },
  });
}

describeLinkConformance('a counted link', () => fixture(countBytes));
describeLinkConformance('a recorded link', () => fixture((link) => recorded(link, [])));

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

describe('recording', () => {
  test('has a line for each frame, each change of the port, and each failure', async () => {
    const lines: RecordingLine[] = [];
    const { link, send, dispose } = await fixture((inner) => recorded(inner, lines));
    await link.setControlLines({ dtr: true, rts: false });
    await link.setBaudRate(921_600);
    await link.write(Buffer.from('c000080000000000', 'hex'));
    await link.write(Buffer.from('00c0', 'hex'));
    await send(Buffer.from([0x01]));
    await readExactly(link, 1);
    await link.purge();
    await link.close();
    await assert.rejects(link.write(Buffer.from('x')));
    await dispose();
    assert.deepEqual(
      lines.map(({ t, link: number, ...line }) => [t, number, line]).map(([, , line]) => line),
      [
        {
          ...{ dir: 'host', kind: 'open', transport: 'rfc2217', baudRate: 115_200 },
          ...{ controlLines: true, canSetBaudRate: true, usb: null },
        },
        { dir: 'host', kind: 'lines', dtr: true, rts: false },
        { dir: 'host', kind: 'baud', baudRate: 921_600 },
        { dir: 'host', kind: 'cmd', name: 'SYNC', hex: '0008000000000000' },
        { dir: 'chip', kind: 'raw', hex: '01' },
        { dir: 'host', kind: 'purge' },
        { dir: 'host', kind: 'close' },
        { dir: 'host', kind: 'raw', hex: '78' },
        { dir: 'host', kind: 'fault', call: 'write', code: 'port-vanished' },
      ],
    );
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
