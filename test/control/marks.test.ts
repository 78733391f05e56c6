/** Labels, notes, groups and pins by the API: the rules of `espd label` and `espd pin`, and events that tell of them. */

import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import type { Mac } from '../../src/mac.ts';
import { OTHER_MAC, T0, backUp, image } from '../archive/support.ts';
import { macOf } from '../daemon/workshop.ts';
import { ApiBench } from './support.ts';

async function benchWithBoard(t: TestContext): Promise<{ bench: ApiBench; mac: Mac }> {
  const bench = await ApiBench.open(t);
  const device = bench.shop.board();
  bench.shop.plug(device);
  await bench.shop.said('Backed up and verified');
  await bench.shop.idle();
  return { bench, mac: macOf(device.board) };
}

const patch = (bench: ApiBench, path: string, body: unknown) => bench.ask(path, { method: 'PATCH', body });

describe('what people say of boards, by the API', () => {
  it('a label, a note and a group: each stays until it is changed, null and an empty text clear', async (t) => {
    const { bench, mac } = await benchWithBoard(t);
    const { status, json } = await patch(bench, `/v1/boards/${mac}`, { label: ' kitchen ', note: 'above the sink' });
    assert.deepEqual([status, json], [200, { mac, label: 'kitchen', note: 'above the sink', group: null }]);
    const { json: grouped } = await patch(bench, '/v1/boards/KITCHEN', { group: 'ground floor' });
    assert.deepEqual(grouped, { mac, label: 'kitchen', note: 'above the sink', group: 'ground floor' });
    const { json: cleared } = await patch(bench, '/v1/boards/kitchen', { note: null, group: '' });
    assert.deepEqual(cleared, { mac, label: 'kitchen', note: null, group: null });
    assert.equal(bench.shop.eventsOf('board-described').length, 3);
    // The same once more is no news, and adds no line.
    await patch(bench, '/v1/boards/kitchen', { label: 'kitchen' });
    assert.equal(bench.shop.eventsOf('board-described').length, 3);
  });

  it('the list of boards tells it at once', async (t) => {
    const { bench, mac } = await benchWithBoard(t);
    await bench.ask('/v1/boards');
    await patch(bench, `/v1/boards/${mac}`, { label: 'kitchen' });
    const [row] = (await bench.ask('/v1/boards')).json['boards'] as { label: string }[];
    assert.equal(row?.label, 'kitchen');
  });

  it('what cannot be a label, or is taken, is refused and changes nothing', async (t) => {
    const { bench, mac } = await benchWithBoard(t);
    await backUp(bench.shop.archive, image(8192), T0, OTHER_MAC);
    await bench.shop.archive.marks.describe(OTHER_MAC, { label: 'hall' });
    const path = `/v1/boards/${mac}`;
    const cases: [unknown, number, string][] = [
      [{ label: 'HALL' }, 409, 'label-taken'],
      [{ label: '../etc' }, 400, 'usage'],
      [{ label: mac }, 400, 'usage'],
      [{ label: 'x'.repeat(65) }, 400, 'usage'],
      [{ note: 'line\nline' }, 400, 'usage'],
      [{ note: '\u202e' }, 400, 'usage'],
      [{}, 400, 'usage'],
      [{ mac: OTHER_MAC }, 400, 'usage'],
      [{ label: 7 }, 400, 'usage'],
      [null, 400, 'usage'],
    ];
    for (const [body, status, code] of cases) {
      const answer = await patch(bench, path, body);
      assert.deepEqual([answer.status, answer.json['code']], [status, code], JSON.stringify(body));
    }
    assert.equal((await patch(bench, '/v1/boards/nobody', { label: 'x' })).status, 404);
    assert.deepEqual(await bench.shop.archive.marks.about(mac), { label: null, note: null, group: null });
    assert.equal(bench.shop.eventsOf('board-described').length, 0);
  });

  it('a pin, with its reason, and taken off again', async (t) => {
    const { bench, mac } = await benchWithBoard(t);
    const [id] = await bench.shop.archive.backupIds(mac);
    const path = `/v1/boards/${mac}/backups/latest`;
    const { status, json } = await patch(bench, path, { pinned: true, note: 'works' });
    assert.deepEqual([status, json], [200, { mac, id, pinned: true, note: 'works' }]);
    const { pins } = await bench.shop.archive.marks.of(mac);
    assert.deepEqual(
      pins.map(({ id: pinned, note }) => [pinned, note]),
      [[id, 'works']],
    );
    assert.deepEqual((await patch(bench, path, { pinned: false })).json, { mac, id, pinned: false, note: null });
    assert.deepEqual((await bench.shop.archive.marks.of(mac)).pins, []);
    await patch(bench, path, { pinned: false });
    assert.deepEqual(
      bench.shop.eventsOf('backup-pinned').map(({ pinned }) => pinned),
      [true, false],
    );
    for (const [at, body, wanted] of [
      ['2020-01-01', { pinned: true }, 404],
      ['latest', {}, 400],
      ['latest', { pinned: 'yes' }, 400],
      ['latest', { pinned: true, note: 'x'.repeat(1001) }, 400],
    ] as const) {
      assert.equal((await patch(bench, `/v1/boards/${mac}/backups/${at}`, body)).status, wanted, JSON.stringify(body));
    }
  });
});
