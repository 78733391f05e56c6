/** What the API tells of images, made by real processes: contents, differences, parts, files, the plan of a policy. */

import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, describe, it } from 'node:test';
import { systemClock } from '../../src/clock.ts';
import type { ContentsDocument } from '../../src/documents/contents-document.ts';
import { readingStarter } from '../../src/control/start-command.ts';
import { silentLogger } from '../../src/log.ts';
import { FOLDER, ID0, MAC, T0, content, sha256 } from '../archive/support.ts';
import { MIB, esp32App, esp32Bootloader, flashWith, tableSector, type Row } from '../firmware/builder.ts';
import { fixtureImage, fixtures } from '../firmware/filesystems/fixtures.ts';
import { namespace, page, string, u8 } from '../firmware/nvs-builder.ts';
import { MAIN } from '../support/relay-server.ts';
import { ApiBench } from './support.ts';

const T1 = '2026-11-24T12:00:00.000Z';
const ID1 = '2026-11-24T12-00-00Z';
const TABLE: readonly Row[] = [
  { label: 'nvs', type: 1, subtype: 2, offset: 0x9000, size: 0x4000 },
  { label: 'factory', type: 0, subtype: 0, offset: 0x10000, size: 0x40000 },
  { label: 'storage', type: 1, subtype: 0x82, offset: 0x80000, size: 0x40000 },
];
const LITTLEFS = fixtureImage('littlefs-2.1-4096.bin');
const [FILE] = Object.entries(
  fixtures('littlefs').find(({ image }) => image === 'littlefs-2.1-4096.bin')?.files ?? {},
)[0]!;
const imageWith = (count: number) =>
  flashWith(MIB, [
    [0x1000, esp32Bootloader()],
    [0x8000, tableSector(TABLE)],
    [0x9000, page([...namespace(1, 'app'), ...u8(1, 'count', count), ...string(1, 'wifi_pass', 'hunter22')])],
    [0x10000, esp32App({ project: 'door-sensor', version: '1.0.0' })],
    [0x80000, LITTLEFS],
  ]);
const [OLD, NEW] = [imageWith(1), imageWith(2)];

async function keep(bench: ApiBench, bytes: Buffer, createdAt: string): Promise<void> {
  const draft = await bench.shop.archive.begin(MAC, bytes.length);
  await draft.write(0, bytes);
  const made = content(bytes, createdAt);
  await draft.commit({ ...made, chip: { ...made.chip, family: 'esp32' } });
}

async function benchWithBackups(t: TestContext): Promise<ApiBench> {
  const holder: { root?: string } = {};
  const bench = await ApiBench.open(t, {
    startReading: (args, onOutput) =>
      readingStarter({
        command: {
          file: process.execPath,
          args: [MAIN, 'relay', '--archive', holder.root ?? ''],
          env: { PATH: process.env['PATH'], TMPDIR: process.env['TMPDIR'], HOME: holder.root, ESPD_NO_DAEMON: '1' },
        },
        ports: { take: () => Promise.reject(new Error('no port is wanted')) },
        ...{ clock: systemClock, log: silentLogger },
      })(args, onOutput),
  });
  holder.root = bench.shop.archive.root;
  await keep(bench, OLD, T0);
  await keep(bench, NEW, T1);
  await bench.shop.archive.marks.describe(MAC, { label: 'kitchen' });
  return bench;
}

describe('what the API tells of images', { concurrency: 2 }, () => {
  it('the contents of a backup: map, partitions, keys without their values, files; nothing of it is made twice', async (t) => {
    const bench = await benchWithBackups(t);
    const path = '/v1/boards/kitchen/backups/latest/contents';
    const { status, json, text, headers } = await bench.ask(path);
    assert.equal(status, 200, text);
    const contents = json as unknown as ContentsDocument;
    assert.deepEqual([contents.mac, contents.id, contents.before?.id], [MAC, ID1, ID0]);
    assert.equal(contents.map.cells.length, 16);
    assert.deepEqual(contents.map.cells.slice(0, 2), ['changed', 'data']);
    assert.ok(contents.map.cells.includes('blank'));
    assert.deepEqual(
      contents.partitions.map(({ name }) => name),
      ['nvs', 'factory', 'storage'],
    );
    assert.equal(
      contents.parts.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
      MIB,
    );
    assert.deepEqual(contents.nvs[0]?.namespaces, [
      {
        name: 'app',
        keys: [
          { key: 'count', type: 'u8', sizeBytes: 1, secret: false, value: null },
          { key: 'wifi_pass', type: 'str', sizeBytes: null, secret: true, value: null },
        ],
      },
    ]);
    assert.equal(contents.files[0]?.kind, 'littlefs');
    assert.ok(contents.files[0].entries.some((entry) => entry.path === FILE));
    const known = await bench.ask(path, { headers: { 'if-none-match': headers.etag ?? '' } });
    assert.deepEqual([known.status, known.bytes.length, known.headers.etag], [304, 0, headers.etag]);

    const revealed = await bench.ask(`${path}?reveal=true`);
    assert.notEqual(revealed.headers.etag, headers.etag);
    assert.match(revealed.text, /"value": ?"2"/);
    assert.doesNotMatch(revealed.text, /hunter22/);
  });

  it('what changed between two backups, as diff says it', async (t) => {
    const bench = await benchWithBackups(t);
    const { status, json, text, headers } = await bench.ask(`/v1/diff?from=kitchen@first&to=${MAC}@${ID1}`);
    assert.equal(status, 200, text);
    assert.deepEqual([json['equal'], (json['before'] as { id: string }).id], [false, ID0]);
    const again = { headers: { 'if-none-match': `W/"x", ${headers.etag}` } };
    assert.equal((await bench.ask('/v1/diff?from=kitchen@first&to=kitchen@latest', again)).status, 304);
    for (const [query, wanted] of [
      ['from=kitchen@first', 400],
      ['from=kitchen&to=kitchen@latest', 400],
      ['from=kitchen@&to=kitchen@latest', 400],
      ['from=@first&to=kitchen@latest', 400],
      ['from=kitchen@first&to=nobody@latest', 404],
      ['from=kitchen@first&to=kitchen@2001-01-01', 404],
      ['from=kitchen@first&to=kitchen@latest&reveal=yes', 400],
      ['from=/etc/passwd@x&to=kitchen@latest', 404],
    ] as const) {
      assert.equal((await bench.ask(`/v1/diff?${query}`)).status, wanted, query);
    }
  });

  it('a partition, and a file of its file system; what is not in the image is refused by name', async (t) => {
    const bench = await benchWithBackups(t);
    const path = '/v1/boards/kitchen/backups/latest/image';
    const part = await bench.ask(`${path}?partition=storage`);
    assert.equal(part.status, 200, part.text.slice(0, 200));
    assert.ok(part.bytes.equals(NEW.subarray(0x80000, 0xc0000)));
    assert.equal(part.headers['content-disposition'], `attachment; filename="${FOLDER}_${ID1}_storage.bin"`);
    const known = await bench.ask(`${path}?partition=storage`, {
      headers: { 'if-none-match': part.headers.etag ?? '' },
    });
    assert.equal(known.status, 304);
    const file = await bench.ask(`${path}?partition=storage&path=${encodeURIComponent(FILE)}`);
    assert.equal(file.status, 200, file.text.slice(0, 200));
    const inTheFixture = fixtures('littlefs').find(({ image }) => image === 'littlefs-2.1-4096.bin')!.files[FILE]!;
    assert.equal(sha256(file.bytes), inTheFixture.sha256);
    for (const [query, wanted, code] of [
      ['partition=nobody', 400, 'usage'],
      ['partition=--output', 400, 'usage'],
      ['path=%2Fnobody', 404, 'not-in-image'],
      ['path=%2F..%2F..%2Fetc%2Fpasswd', 400, 'usage'],
      ['path=..%2Fx', 400, 'usage'],
      ['path=x', 400, 'usage'],
      ['partition=', 400, 'usage'],
      ['other=1', 400, 'usage'],
    ] as const) {
      const { status, json } = await bench.ask(`${path}?${query}`);
      assert.deepEqual([status, json['code']], [wanted, code], query);
    }
  });

  it('HEAD says what GET would, and sends nothing of it', async (t) => {
    const bench = await benchWithBackups(t);
    const path = '/v1/boards/kitchen/backups/latest/image';
    const file = `partition=storage&path=${encodeURIComponent(FILE)}`;
    for (const query of [
      '',
      'partition=storage',
      file,
      'partition=nobody',
      'path=%2Fnobody',
      'path=..%2Fx',
      'other=1',
    ]) {
      const [got, head] = [
        await bench.ask(`${path}?${query}`),
        await bench.ask(`${path}?${query}`, { method: 'HEAD' }),
      ];
      assert.equal(head.status, got.status, query);
      assert.equal(head.bytes.length, 0, query);
      for (const name of ['content-type', 'content-disposition', 'etag', 'accept-ranges', 'cache-control'] as const) {
        assert.equal(head.headers[name], got.headers[name], `${query}: ${name}`);
      }
      // Of a part nobody knows how long it is before it was sent.
      if (got.headers['content-length'] !== undefined) {
        assert.equal(head.headers['content-length'], got.headers['content-length'], query);
      }
    }
    const tag = (await bench.ask(`${path}?partition=storage`, { method: 'HEAD' })).headers.etag ?? '';
    assert.equal(
      (await bench.ask(`${path}?partition=storage`, { method: 'HEAD', headers: { 'if-none-match': tag } })).status,
      304,
    );
    const range = { headers: { range: 'bytes=0-99' } };
    const [got, head] = [await bench.ask(path, range), await bench.ask(path, { ...range, method: 'HEAD' })];
    assert.deepEqual([head.status, head.headers['content-range']], [got.status, got.headers['content-range']]);
    assert.deepEqual([head.status, head.bytes.length], [206, 0]);
    assert.equal((await bench.ask(path, { method: 'HEAD', headers: { range: 'bytes=9999999-' } })).status, 416);
  });

  it('a damaged image is told as such, and harms nobody', async (t) => {
    const bench = await benchWithBackups(t);
    const file = join(bench.shop.archive.root, FOLDER, ID1, 'flash.bin');
    const bytes = await readFile(file);
    bytes.writeUInt8(bytes.readUInt8(0x80010) ^ 1, 0x80010);
    await writeFile(file, bytes);
    for (const path of [
      '/v1/boards/kitchen/backups/latest/contents',
      '/v1/boards/kitchen/backups/latest/image?partition=storage',
    ]) {
      const { status, json } = await bench.ask(path);
      assert.deepEqual([status, json['code']], [500, 'archive-damaged'], path);
      assert.equal((await bench.ask(path, { method: 'HEAD' })).status, 500, path);
    }
    assert.equal((await bench.ask('/v1/status')).status, 200);
  });

  it('what a policy does: nothing is set, so nothing goes', async (t) => {
    const bench = await benchWithBackups(t);
    const { status, json } = await bench.ask('/v1/retention');
    assert.deepEqual([status, json['policy'], json['backups']], [200, null, []]);
    assert.deepEqual(await bench.shop.archive.backupIds(MAC), [ID0, ID1]);
  });
});
