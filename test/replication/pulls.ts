/** What one station has put into a store, another fetches byte for byte: whatever the server is, and whatever happened to it. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { StoredBackup } from '../../src/archive/elsewhere/types.ts';
import type { Archive, Backup } from '../../src/archive/types.ts';
import type { StoreConfig } from '../../src/config/store.ts';
import { hasCode } from '../../src/errors.ts';
import { type PullPlan, planPull, pullBackup } from '../../src/replication/pull.ts';
import type { ObjectStore } from '../../src/store/types.ts';
import { FOLDER, MAC, OTHER_MAC, T0, backUp, temporaryFolder } from '../archive/support.ts';
import { withZstd } from '../support/zstd.ts';
import { type Station, image, never, station } from './support.ts';

export const BLOCK = 65_536;

export interface PullPlace {
  readonly endpoint: () => string;
  readonly store: () => ObjectStore;
  /** In a bucket that has other things besides; with a slash at its end, or empty. */
  readonly prefix: string;
}

/** What another station has noted of a backup once it has heard of it. */
export async function storedOf(
  from: Pick<Station, 'fleet'>,
  backup: Backup,
  folder = `${FOLDER}/${backup.id}/`,
): Promise<StoredBackup> {
  const bytes = await readFile(join(backup.path, 'manifest.json'));
  const { mac, id, manifest } = backup;
  const bucket = await from.fleet.openToRead();
  return {
    ...{ mac, id, manifest, folder, store: bucket.id, station: 'bench-one', at: new Date().toISOString() },
    manifestSha256: createHash('sha256').update(bytes).digest('hex'),
  };
}

export async function filesOf(folder: string): Promise<Record<string, string>> {
  const names = (await readdir(folder)).sort();
  const entries = names.map(async (name) => [name, (await readFile(join(folder, name))).toString('base64')] as const);
  return Object.fromEntries(await Promise.all(entries));
}

/** What a pull that failed must not leave: backups, drafts, anything that verification would speak of. */
export async function assertNothingLeft(archive: Archive, mac = MAC): Promise<void> {
  const names = await readdir(join(archive.root, mac.replaceAll(':', '-'))).catch(() => []);
  assert.deepEqual(
    names.filter((name) => name !== 'elsewhere.jsonl'),
    [],
  );
}

export async function keyFile(t: TestContext): Promise<Partial<StoreConfig>> {
  const file = join(await temporaryFolder(t), 'key');
  await writeFile(file, `${'5'.repeat(64)}\n`, { mode: 0o600 });
  return { encryption: { file } };
}

/** An image with content of its own, blank blocks, zeros, the same block twice, and an end within a block. */
export function mixedImage(seed: number): Buffer {
  const twice = image(BLOCK, seed + 500);
  const blank = Buffer.alloc(2 * BLOCK, 0xff);
  return Buffer.concat([image(3 * BLOCK, seed), blank, twice, Buffer.alloc(BLOCK), twice, image(12_345, seed + 1)]);
}

export function describePulls({ endpoint, store, prefix }: PullPlace): void {
  const stationIn = (t: TestContext, config: Partial<StoreConfig> = {}, options = {}) =>
    station(t, endpoint(), { prefix, ...config }, { options });
  /** Of this test alone. */
  let count = 0;
  const fresh = () => `${prefix}pull-${++count}/`;

  for (const encryption of ['plain', 'encrypted'] as const) {
    for (const compression of ['none', 'gzip', 'zstd'] as const) {
      test(`${encryption}, compression ${compression}: every file is that of the station that pushed it`, async (t) => {
        const config = { prefix: fresh(), ...(encryption === 'plain' ? {} : await keyFile(t)) };
        // Not each Node can write zstd, and all read it.
        const one = await stationIn(t, config, { compression: compression === 'zstd' ? 'none' : compression });
        const two = await stationIn(t, config);
        const kept = await one.keep(mixedImage(1));
        const backup = compression === 'zstd' ? await withZstd(one.archive, kept) : kept;
        await one.pushAll();
        const stored = await storedOf(one, backup);
        assert.equal(await two.archive.elsewhere.note(stored), true);

        const plans: PullPlan[] = [];
        const told: number[] = [];
        const pulled = await pullBackup(await two.fleet.openToRead(), two.archive, stored, {
          onPlan: (plan) => plans.push(plan),
          onProgress: (bytes) => told.push(bytes),
        });
        assert.equal(pulled.backup.path, join(two.archive.root, FOLDER, backup.id));
        assert.deepEqual(await filesOf(pulled.backup.path), await filesOf(backup.path));
        assert.deepEqual(await two.archive.verifyBackup(MAC, backup.id), []);
        assert.equal(plans.length, 1);
        assert.equal(told.at(-1), pulled.fetchedBytes);
        if (compression === 'none') {
          assert.equal(pulled.fetchedBytes, 4 * BLOCK + 12_345, 'no blank block, and no block twice');
          assert.equal(pulled.fetchedBytes + pulled.reusedBytes, backup.manifest.image.sizeBytes);
          assert.equal(plans[0]?.missingBytes, pulled.fetchedBytes);
        }
        const again = await pullBackup(await two.fleet.openToRead(), two.archive, stored);
        assert.deepEqual([again.fetchedBytes, again.reusedBytes], [0, 0]);
        assert.deepEqual(await planPull(two.archive, stored), {
          sizeBytes: backup.manifest.image.sizeBytes,
          missingBytes: 0,
        });
      });
    }

    test(`${encryption}: of blocks that are here, in whatever image and place, none is fetched`, async (t) => {
      const config = { prefix: fresh(), ...(encryption === 'plain' ? {} : await keyFile(t)) };
      const one = await stationIn(t, config);
      const two = await stationIn(t, config);
      const bytes = image(8 * BLOCK, 3);
      const backup = await one.keep(bytes, { createdAt: '2026-11-24T10:00:00.000Z' });
      await one.pushAll();
      const stored = await storedOf(one, backup);
      // Blocks 0 and 1 of this board, two further on; 6 and 7 of another board, the other way round; one is like none.
      const own = Buffer.concat([image(2 * BLOCK, 77), bytes.subarray(0, 2 * BLOCK)]);
      await backUp(two.archive, own, T0);
      const other = Buffer.concat([bytes.subarray(7 * BLOCK), bytes.subarray(6 * BLOCK, 7 * BLOCK), image(BLOCK, 78)]);
      await backUp(two.archive, other, T0, OTHER_MAC);
      assert.deepEqual(await planPull(two.archive, stored), { sizeBytes: 8 * BLOCK, missingBytes: 4 * BLOCK });
      const pulled = await pullBackup(await two.fleet.openToRead(), two.archive, stored);
      assert.deepEqual([pulled.fetchedBytes, pulled.reusedBytes], [4 * BLOCK, 4 * BLOCK]);
      assert.deepEqual(await filesOf(pulled.backup.path), await filesOf(backup.path));
    });

    test(`${encryption}: whatever is damaged, cut off, missing or swapped there, nothing of it comes here`, async (t) => {
      const config = { prefix: fresh(), ...(encryption === 'plain' ? {} : await keyFile(t)) };
      const one = await stationIn(t, config);
      const two = await stationIn(t, config);
      const backup = await one.keep(image(3 * BLOCK + 100, 5));
      const next = await one.keep(image(3 * BLOCK + 100, 6), { createdAt: '2026-11-24T10:00:00.000Z' });
      await one.pushAll();
      const stored = await storedOf(one, backup);
      await two.archive.elsewhere.note(stored);
      const bucket = await two.fleet.openToRead();
      const objects = async (id: string) => {
        const found = new Map<string, Buffer>();
        for (const { key } of (await store().list({ prefix: `${config.prefix}${FOLDER}/${id}/` })).objects) {
          found.set(key, (await store().get(key))?.bytes ?? Buffer.alloc(0));
        }
        return found;
      };
      const sound = await objects(backup.id);
      const others = [...(await objects(next.id))];
      assert.equal(sound.size, 3);
      const refused = async (what: string) => {
        await assert.rejects(
          pullBackup(bucket, two.archive, stored, { signal: never }),
          (error) => hasCode(error, 'store-damaged', 'store-unknown-backup', 'store-key') || assert.fail(String(error)),
          what,
        );
        await assertNothingLeft(two.archive);
      };
      for (const [index, [key, bytes]] of [...sound].entries()) {
        const name = key.split('/').at(-1) ?? '';
        for (const at of [0, 9, 40, 100, bytes.length >> 1, bytes.length - 1]) {
          // The digest of an encrypted image as it is stored is not needed: its chunks and blocks prove themselves.
          if (encryption === 'encrypted' && name === 'SHA256SUMS' && at < 64) continue;
          const wrong = Buffer.from(bytes);
          wrong.writeUInt8(wrong.readUInt8(Math.min(at, bytes.length - 1)) ^ 1, Math.min(at, bytes.length - 1));
          await store().put(key, wrong);
          await refused(`${name}, byte ${at}`);
        }
        await store().put(key, bytes.subarray(0, bytes.length - 1));
        await refused(`${name} cut off`);
        await store().put(key, Buffer.alloc(0));
        await refused(`${name} empty`);
        await store().remove(key);
        await refused(`${name} missing`);
        await store().put(key, others[index]?.[1] ?? Buffer.alloc(0));
        await refused(`${name} of the next backup`);
        await store().put(key, bytes);
      }
      // All three of another backup: sound, and not the one that is meant.
      for (const [index, [key]] of [...sound].entries()) await store().put(key, others[index]?.[1] ?? Buffer.alloc(0));
      await refused('another backup in its place');
      for (const [key, bytes] of sound) await store().put(key, bytes);
      const pulled = await pullBackup(bucket, two.archive, stored);
      assert.deepEqual(await filesOf(pulled.backup.path), await filesOf(backup.path));
    });
  }
}
