/** A line that loses boards is named: as an event, in the log, in the state, and across a restart. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LineBook } from '../../src/daemon/line-book.ts';
import { Station } from '../../src/daemon/station.ts';
import { EspdError } from '../../src/errors.ts';
import { silentLogger } from '../../src/log.ts';
import { readLineResults } from '../../src/transfer/line-scores.ts';
import { Workshop } from './workshop.ts';

function watched(shop: Workshop): { station: Station; book: LineBook } {
  const book = new LineBook({ archive: shop.archive, log: silentLogger, emit: (event) => shop.events.emit(event) });
  const station = new Station();
  shop.events.subscribe(book.onEvent);
  shop.events.subscribe(station.onEvent);
  return { station, book };
}

const lineAttention = ({ view }: Station) => view.attention.filter(({ about }) => about === 'line');

describe('the line at a socket', () => {
  it('is named once when it has become bad, and when it is good again', async (t) => {
    const shop = await Workshop.started(t);
    const { station, book } = watched(shop);
    const device = shop.board();
    shop.plug(device);
    await shop.said('Backed up and verified');
    await shop.idle();
    let isBroken = true;
    shop.beforeOpen = () => {
      if (isBroken) throw new EspdError('port-failed', 'The operating system reports a fault');
    };
    const ask = async () => {
      await shop.pass(1000);
      shop.daemon.requestBackup({ port: device.address }, { full: false, allowHalfRestored: false });
      await shop.pass(60_000);
      await shop.idle();
    };
    for (let times = 0; times < 4; times++) await ask();
    const [bad, ...others] = shop.eventsOf('line-bad');
    assert.deepEqual([bad?.socket, bad?.port, others.length], ['usb 1-1:1.0', device.address, 0]);
    assert.match(
      bad?.error.message ?? '',
      /^The line at USB 1-1 was lost 2 times in its last 3 jobs: score 33 of 100$/,
    );
    assert.equal(lineAttention(station)[0]?.error.code, 'bad-line');
    assert.equal(shop.linesOf(bad?.error.message ?? '').length, 1);
    await book.close();
    assert.equal((await readLineResults(shop.archive.cache)).get('usb 1-1:1.0')?.length, 5);
    isBroken = false;
    for (let times = 0; times < 6; times++) await ask();
    assert.equal(shop.eventsOf('line-good').length, 1);
    assert.deepEqual(lineAttention(station), []);
  });

  it('is remembered by the next daemon', async (t) => {
    const shop = await Workshop.started(t);
    const first = watched(shop).book;
    const emit = (port: string) => first.onEvent({ seq: 1, at: '', type: 'port-flapping', port, restMs: 1 });
    shop.plug(shop.board());
    emit('/dev/ttyUSB0');
    // Of no USB socket.
    emit('/dev/ttyS0');
    await shop.said('Backed up and verified');
    await shop.idle();
    await first.close();
    const next = new LineBook({ archive: shop.archive, log: silentLogger, emit: () => undefined });
    await next.load();
    next.onEvent({
      seq: 1,
      at: '',
      type: 'port-attached',
      port: '/dev/ttyUSB7',
      usb: shop.board().usb,
      existing: true,
    });
    next.onEvent({ seq: 2, at: '', type: 'port-flapping', port: '/dev/ttyUSB7', restMs: 1 });
    await next.close();
    const results = await readLineResults(shop.archive.cache);
    assert.deepEqual(
      [...results].map(([socket, list]) => [socket, list.length]),
      [['usb 1-1:1.0', 3]],
    );
  });

  it('of a port that flaps needs attention at once', async (t) => {
    const shop = await Workshop.started(t);
    const { station, book } = watched(shop);
    const device = shop.board({ family: 'esp32c3', usb: 'usb-serial-jtag' });
    // It goes away whenever it is touched.
    shop.beforeOpen = () => {
      shop.unplug(device);
      shop.clock.schedule(500, () => shop.plug(device));
      throw new EspdError('port-vanished', 'It went away');
    };
    shop.plug(device);
    await shop.until(() => shop.eventsOf('port-flapping').length > 0, 'that it flaps');
    const [one] = lineAttention(station);
    assert.deepEqual([one?.port, one?.error.code], [device.address, 'bad-line']);
    assert.match(one?.error.message ?? '', /comes and goes by itself/);
    await shop.daemon.stop();
    await book.close();
  });
});
