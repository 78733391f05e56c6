/** An image read out of a bucket: only what is asked for, only what is right, whatever the bucket holds. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { formatChecksums } from '../../src/archive/checksums.ts';
import type { Backup } from '../../src/archive/types.ts';
import type { StoreConfig } from '../../src/config/store.ts';
import { hasCode } from '../../src/errors.ts';
import { openStoredFolder } from '../../src/replication/stored-folder.ts';
import { openStoredImage } from '../../src/replication/stored-image.ts';
import { FOLDER, ID0, MAC, OTHER_MAC, T0, sha256, temporaryFolder } from '../archive/support.ts';
import { FakeS3, serveSuite } from '../store/fake-s3.ts';
import { withZstd } from '../support/zstd.ts';
import { type Station, image, never, station } from './support.ts';

const BLOCK = 65_536;
const PATH = `${FOLDER}/${ID0}/`;
const stored = (backup: Backup) => ({ ...backup, folder: PATH });

describe('an image in a bucket', () => {
  const fake = new FakeS3();
  let endpoint = '';
  serveSuite(fake, (started) => (endpoint = started));

  const put = (name: string, bytes: Buffer) =>
    fake.objects.set(PATH + name, { bytes, etag: createHash('md5').update(bytes).digest('hex') });
  const get = (name: string) => fake.objects.get(PATH + name)?.bytes ?? assert.fail(`no ${name}`);
  const keyFile = async (t: Parameters<typeof temporaryFolder>[0]): Promise<Partial<StoreConfig>> => {
    const file = join(await temporaryFolder(t), 'key');
    await writeFile(file, `${'5'.repeat(64)}\n`, { mode: 0o600 });
    return { encryption: { file } };
  };
  /** What the server has sent of images since the last call. */
  const fetched = () => {
    const ranges = fake.seen.splice(0).flatMap(({ method, key, headers }) => {
      const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? '') ?? [];
      return method === 'GET' && key.includes('flash.bin') ? [[Number(from), Number(to) + 1] as const] : [];
    });
    return ranges;
  };

  for (const kind of ['plain', 'encrypted'] as const) {
    test(`${kind}: every range is that of the image`, async (t) => {
      const one = await station(t, endpoint, kind === 'plain' ? {} : await keyFile(t));
      const bytes = image(5 * BLOCK + 777);
      const backup = await one.keep(bytes);
      await one.pushAll();
      assert.equal(fake.names.includes(`${PATH}flash.bin.enc`), kind === 'encrypted');
      const reader = await openStoredImage(await one.fleet.openToRead(), stored(backup));
      assert.equal(reader.sizeBytes, bytes.length);
      await fc.assert(
        fc.asyncProperty(fc.nat(bytes.length), fc.nat(bytes.length), async (a, b) => {
          const [from, to] = a < b ? [a, b] : [b, a];
          assert.ok((await reader.read(from, to - from)).equals(bytes.subarray(from, to)));
        }),
        { numRuns: 40, examples: [[0, bytes.length] as [number, number], [0, 0], [bytes.length - 1, bytes.length]] },
      );
      await assert.rejects(reader.read(0, bytes.length + 1), RangeError);
      await reader.close();
    });

    test(`${kind}: blocks are fetched, and nothing besides; long ranges in several pieces`, async (t) => {
      const one = await station(t, endpoint, kind === 'plain' ? {} : await keyFile(t));
      const bytes = image(9 * 1024 * 1024 + 5);
      const backup = await one.keep(bytes);
      await one.pushAll();
      const reader = await openStoredImage(await one.fleet.openToRead(), stored(backup));
      fetched();
      await reader.read(3 * BLOCK, 2 * BLOCK);
      const chunk = kind === 'plain' ? BLOCK : BLOCK + 16;
      const header = kind === 'plain' ? 0 : 48;
      assert.deepEqual(fetched(), [[header + 3 * chunk, header + 5 * chunk]]);
      assert.ok((await reader.read(0, bytes.length)).equals(bytes));
      const pieces = fetched();
      assert.equal(pieces.length, 3);
      assert.ok(pieces.every(([from, to]) => to - from <= 8 * 1024 * 1024));
    });

    test(`${kind}: a byte that is wrong in the bucket gives no byte of its block, and all others`, async (t) => {
      const one = await station(t, endpoint, kind === 'plain' ? {} : await keyFile(t));
      const bytes = image(4 * BLOCK);
      const backup = await one.keep(bytes);
      await one.pushAll();
      const name = kind === 'plain' ? 'flash.bin' : 'flash.bin.enc';
      const sound = get(name);
      const chunk = kind === 'plain' ? BLOCK : BLOCK + 16;
      const header = kind === 'plain' ? 0 : 48;
      for (let block = 0; block < 4; block++) {
        for (const at of [0, 1, BLOCK / 2, chunk - 1]) {
          const wrong = Buffer.from(sound);
          wrong.writeUInt8(wrong.readUInt8(header + block * chunk + at) ^ 1, header + block * chunk + at);
          put(name, wrong);
          const reader = await openStoredImage(await one.fleet.openToRead(), stored(backup));
          for (let each = 0; each < 4; each++) {
            const read = reader.read(each * BLOCK, BLOCK);
            if (each === block) await assert.rejects(read, (error) => hasCode(error, 'store-damaged'));
            else assert.ok((await read).equals(bytes.subarray(each * BLOCK, (each + 1) * BLOCK)));
          }
        }
      }
    });
  }

  test('encrypted: no byte of the header can be changed', async (t) => {
    const one = await station(t, endpoint, await keyFile(t));
    const backup = await one.keep(image(BLOCK));
    await one.pushAll();
    const sound = get('flash.bin.enc');
    for (let at = 0; at < 48; at++) {
      const wrong = Buffer.from(sound);
      wrong.writeUInt8(wrong.readUInt8(at) ^ 1, at);
      put('flash.bin.enc', wrong);
      await assert.rejects(
        openStoredImage(await one.fleet.openToRead(), stored(backup)).then((reader) => reader.read(0, 10)),
        (error) => hasCode(error, 'store-damaged', 'store-key'),
        `byte ${at}`,
      );
    }
  });

  test('a byte that came wrong once is fetched again', async (t) => {
    const one = await station(t, endpoint);
    const bytes = image(3 * BLOCK);
    const backup = await one.keep(bytes);
    await one.pushAll();
    const reader = await openStoredImage(await one.fleet.openToRead(), stored(backup));
    const sound = get('flash.bin');
    const wrong = Buffer.from(sound);
    wrong.writeUInt8(wrong.readUInt8(BLOCK + 5) ^ 1, BLOCK + 5);
    put('flash.bin', wrong);
    let count = 0;
    fake.fault = ({ key }) => {
      if (key.endsWith('flash.bin') && ++count === 2) put('flash.bin', sound);
      return undefined;
    };
    fetched();
    assert.ok((await reader.read(0, bytes.length)).equals(bytes));
    assert.deepEqual(fetched(), [
      [0, 3 * BLOCK],
      [BLOCK, 2 * BLOCK],
    ]);
  });

  test('an object that became shorter, longer, or that is gone', async (t) => {
    const one = await station(t, endpoint);
    const bytes = image(2 * BLOCK);
    const backup = await one.keep(bytes);
    await one.pushAll();
    const bucket = await one.fleet.openToRead();
    const reader = await openStoredImage(bucket, stored(backup));
    for (const other of [bytes.subarray(0, BLOCK), Buffer.concat([bytes, bytes]), Buffer.alloc(0), undefined]) {
      if (other === undefined) fake.objects.delete(`${PATH}flash.bin`);
      else put('flash.bin', other);
      await assert.rejects(reader.read(0, 10), (error) => hasCode(error, 'store-damaged'));
      await assert.rejects(openStoredImage(bucket, stored(backup)), (error) => hasCode(error, 'store-damaged'));
    }
    fake.objects.delete(`${PATH}SHA256SUMS`);
    await assert.rejects(openStoredImage(bucket, stored(backup)), (error) => hasCode(error, 'store-unknown-backup'));
  });

  test('compressed: fetched as a whole, once, and unpacked only when its digest is right', async (t) => {
    const ways = [{}, await keyFile(t)].flatMap((config) => [
      { config, packing: 'gzip' as const },
      { config, packing: 'zstd' as const },
    ]);
    for (const { config, packing } of ways) {
      fake.objects.clear();
      const isZstd = packing === 'zstd';
      const one = await station(t, endpoint, config, { options: { compression: isZstd ? 'none' : packing } });
      const bytes = Buffer.concat([image(2 * BLOCK), Buffer.alloc(3 * BLOCK, 0xff), image(777, 2)]);
      const kept = await one.keep(bytes);
      const backup = isZstd ? await withZstd(one.archive, kept) : kept;
      await one.pushAll();
      const bucket = await one.fleet.openToRead();
      const reader = await openStoredImage(bucket, stored(backup));
      fake.seen.length = 0;
      assert.ok((await reader.read(0, bytes.length)).equals(bytes));
      assert.ok((await reader.read(4 * BLOCK + 3, 99)).equals(bytes.subarray(4 * BLOCK + 3, 4 * BLOCK + 102)));
      assert.equal(fake.seen.length, 0);
      await reader.close();
      const name =
        fake.names.find((each) => each.includes(isZstd ? 'flash.bin.zst' : 'flash.bin.gz'))?.slice(PATH.length) ?? '';
      const sound = get(name);
      for (const at of [0, 20, 60, sound.length >> 1, sound.length - 1]) {
        const wrong = Buffer.from(sound);
        wrong.writeUInt8(wrong.readUInt8(at) ^ 1, at);
        put(name, wrong);
        await assert.rejects(openStoredImage(bucket, stored(backup)), (error) =>
          hasCode(error, 'store-damaged', 'store-key'),
        );
      }
    }
  });

  test('compressed: what is packed otherwise than it says is not used, though its digest is right', async (t) => {
    const one = await station(t, endpoint, {}, { options: { compression: 'gzip' } });
    const bytes = image(3 * BLOCK);
    const backup = await one.keep(bytes);
    await one.pushAll();
    const bucket = await one.fleet.openToRead();
    assert.ok(gunzipSync(get('flash.bin.gz')).equals(bytes));
    const others = {
      'no gzip at all': image(500),
      'too short': gzipSync(bytes.subarray(1)),
      'too long': gzipSync(Buffer.concat([bytes, Buffer.alloc(1)])),
      'cut off': gzipSync(bytes).subarray(0, 5000),
      'a bomb': gzipSync(Buffer.alloc(64 * 1024 * 1024)),
      'longer than any packing': image(3 * BLOCK * 2),
    };
    for (const [what, packed] of Object.entries(others)) {
      put('flash.bin.gz', packed);
      const sums = [
        ['flash.bin.gz', sha256(packed)] as const,
        ['manifest.json', sha256(get('manifest.json'))] as const,
      ];
      put('SHA256SUMS', Buffer.from(formatChecksums(new Map(sums))));
      await assert.rejects(openStoredImage(bucket, stored(backup)), (error) => hasCode(error, 'store-damaged'), what);
    }
    put('flash.bin.gz', gzipSync(image(3 * BLOCK, 9)));
    const sums = [['flash.bin.gz', sha256(get('flash.bin.gz'))] as const, ['manifest.json', '0'.repeat(64)] as const];
    put('SHA256SUMS', Buffer.from(formatChecksums(new Map(sums))));
    const reader = await openStoredImage(bucket, stored(backup));
    await assert.rejects(reader.read(0, 1), (error) => hasCode(error, 'store-damaged'));
    await reader.close();
  });

  test('a signal ends it, and later reads too', async (t) => {
    const one = await station(t, endpoint);
    const backup = await one.keep(image(BLOCK));
    await one.pushAll();
    const abort = new AbortController();
    const reader = await openStoredImage(await one.fleet.openToRead(), stored(backup), abort.signal);
    fake.fault = () => 'hang';
    const read = reader.read(0, 1);
    abort.abort(new Error('enough'));
    await assert.rejects(read, /enough/);
    await assert.rejects(reader.read(0, 1), /enough/);
  });

  test('reading needs no right to write, and asks for no test of the store', async (t) => {
    const one = await station(t, endpoint);
    const bytes = image(BLOCK);
    const backup = await one.keep(bytes);
    await one.pushAll();
    fake.keys = new Map([['writer', 'read']]);
    fake.seen.length = 0;
    const other = await station(t, endpoint);
    const reader = await openStoredImage(await other.fleet.openToRead(), stored(backup));
    assert.ok((await reader.read(0, BLOCK)).equals(bytes));
    assert.ok(fake.seen.every(({ method }) => method === 'GET' || method === 'HEAD'));
  });

  describe('and its folder', () => {
    const hostile: Record<string, (one: Station) => unknown> = {
      'SHA256SUMS is none': () => put('SHA256SUMS', Buffer.from('hello\n')),
      'SHA256SUMS is empty': () => put('SHA256SUMS', Buffer.alloc(0)),
      'SHA256SUMS is long': () => put('SHA256SUMS', Buffer.alloc(5 * 1024 * 1024, 'a')),
      'SHA256SUMS lists a third file': () =>
        put('SHA256SUMS', Buffer.from(`${get('SHA256SUMS').toString()}${'0'.repeat(64)}  other\n`)),
      'SHA256SUMS lists names with slashes': () =>
        put('SHA256SUMS', Buffer.from(get('SHA256SUMS').toString().replaceAll('flash.bin', '../flash.bin'))),
      'the manifest is missing': () => fake.objects.delete(`${PATH}manifest.json`),
      'the manifest is empty': () => put('manifest.json', Buffer.alloc(0)),
      'the manifest is another than SHA256SUMS says': () =>
        put('manifest.json', Buffer.from(get('manifest.json').toString().replace('blink', 'blank'))),
      'the manifest is no JSON': () => manifest(() => 'hello'),
      'the manifest is of another board': () => manifest((text) => text.replaceAll(MAC, OTHER_MAC)),
      'the manifest is of another time': () => manifest((text) => text.replaceAll(ID0, '2026-11-24T10-00-00Z')),
      'the manifest names a file elsewhere': () => manifest((text) => text.replace('"flash.bin"', '"../../flash.bin"')),
      'the manifest names another image': () => manifest((text) => text.replace('"flash.bin"', '"flash.bin.gz"')),
      'the manifest tells another size': () => manifest((text) => text.replaceAll(String(2 * BLOCK), '4096000')),
      'the manifest tells a size without end': () =>
        manifest((text) => text.replaceAll(String(2 * BLOCK), '9007199254740991')),
      'the manifest tells another digest': () =>
        manifest((text) => text.replace(/("sizeBytes": 131072,\s*"sha256": ")[0-9a-f]{4}/, '$10000')),
      'the manifest is too long': () => manifest((text) => text + ' '.repeat(1024 * 1024)),
      'the manifest is of a newer espd': () =>
        manifest((text) => text.replace('"formatVersion": 1', '"formatVersion": 9')),
    };
    const manifest = (change: (text: string) => string) => {
      const before = get('manifest.json').toString();
      const changed = Buffer.from(change(before));
      assert.notEqual(changed.toString(), before);
      put('manifest.json', changed);
      const sums = get('SHA256SUMS')
        .toString()
        .replace(sha256(Buffer.from(before)), sha256(changed));
      put('SHA256SUMS', Buffer.from(sums));
    };

    for (const [what, change] of Object.entries(hostile)) {
      test(`is refused where ${what}`, async (t) => {
        const one = await station(t, endpoint);
        await one.keep(image(2 * BLOCK), { createdAt: T0 });
        await one.pushAll();
        const bucket = await one.fleet.openToRead();
        const place = { mac: MAC, id: ID0, folder: PATH };
        await (await openStoredFolder(bucket, place)).manifest(never);
        change(one);
        const code = what.includes('newer') ? 'archive-newer' : 'store-damaged';
        await assert.rejects(
          openStoredFolder(bucket, place).then((folder) => folder.manifest()),
          (error) => hasCode(error, code) || assert.fail(String(error)),
        );
      });
    }
  });
});
