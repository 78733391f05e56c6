/** What lies in a store is read back, what is wrong there is told of, and mended from a sound copy: whatever the server is. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { StoreConfig } from '../../src/config/store.ts';
import { repairCopy } from '../../src/replication/verify/repair.ts';
import { type StoreProblem, StoreVerifier, type VerifyOptions } from '../../src/replication/verify/verify-store.ts';
import type { ObjectStore } from '../../src/store/types.ts';
import { keyFile } from './pulls.ts';
import { type Station, image, never, station } from './support.ts';

export interface VerifyPlace {
  readonly endpoint: () => string;
  readonly store: () => ObjectStore;
  /** In a bucket that has other things besides; with a slash at its end. */
  readonly prefix: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** One run over everything, as `espd verify --store` does it. */
export async function verifyAt(
  here: Station,
  options: Partial<VerifyOptions> = {},
): Promise<{ readonly checked: number; readonly readBytes: number; readonly problems: readonly StoreProblem[] }> {
  const verifier = new StoreVerifier({
    ...{ archive: here.archive, bucket: await here.fleet.openToRead(), stateFolder: here.fleet.state.folder },
    ...{ bandwidth: null, clock: { now: () => 0, date: () => new Date(), schedule: () => () => undefined } },
    hear: async () => {
      await here.look(true);
    },
  });
  const plan = await verifier.plan({ signal: never, ...options });
  const { checked, readBytes, problems, fault } = await verifier.run(plan, { signal: never });
  if (fault !== undefined) throw fault as Error;
  return { checked, readBytes, problems: [...plan.missing, ...problems] };
}

/** As `--repair` does it for one finding. @returns which objects were replaced */
export async function repairAt(here: Station, { mac, id, folder, file }: StoreProblem): Promise<readonly string[]> {
  const parts = { bucket: await here.fleet.open(never), archive: here.archive, signal: never };
  const backup = await here.archive.resolveBackup(mac, id);
  const repair = await repairCopy(parts, backup, { mac, id, folder }, new Set([file]));
  assert.ok('replaced' in repair, JSON.stringify(repair));
  return repair.replaced;
}

export function describeVerifies({ endpoint, store, prefix, env }: VerifyPlace): void {
  let count = 0;
  const stationIn = (t: TestContext, config: Partial<StoreConfig>) => station(t, endpoint(), config, { env });

  for (const encryption of ['plain', 'encrypted'] as const) {
    test(`verify, ${encryption}: sound at any station; each object damaged, cut off and removed is found, alone, and mended`, async (t) => {
      const own = `${prefix}verify-${++count}/`;
      const config = { prefix: own, ...(encryption === 'plain' ? {} : await keyFile(t)) };
      const one = await stationIn(t, config);
      const sizes = [30_000, 6 * 1024 * 1024 + 5];
      const kept = await Promise.all(
        sizes.map((size, day) => one.keep(image(size, day + 1), { createdAt: `2020-10-0${day + 1}T10:00:00.000Z` })),
      );
      await one.pushAll();
      await one.write();
      const two = await stationIn(t, config);
      await two.look(true);
      for (const here of [one, two]) {
        const { checked, readBytes, problems } = await verifyAt(here);
        assert.deepEqual([checked, problems], [2, []]);
        assert.ok(readBytes > 6 * 1024 * 1024);
      }
      const keys = (await store().list({ prefix: own })).objects.map(({ key }) => key);
      const objects = keys.filter((key) => kept.some(({ id }) => key.includes(`/${id}/`)));
      assert.equal(objects.length, 6);
      const bytesOf = async (key: string) => {
        const facts = await store().head(key);
        const pieces: Buffer[] = [];
        for (let offset = 0; offset < (facts?.sizeBytes ?? 0); offset += 4 * 1024 * 1024) {
          pieces.push(
            (await store().get(key, { range: { offset, length: 4 * 1024 * 1024 } }))?.bytes ?? Buffer.alloc(0),
          );
        }
        return Buffer.concat(pieces);
      };
      for (const key of objects) {
        const before = await bytesOf(key);
        const flipped = Buffer.from(before);
        flipped[flipped.length >> 1] = (flipped[flipped.length >> 1] ?? 0) ^ 1;
        const isSums = key.endsWith('SHA256SUMS');
        for (const bad of [flipped, before.subarray(0, before.length >> 1), ...(isSums ? [] : [null])]) {
          if (bad === null) await store().remove(key);
          else if (bad.length <= 5 * 1024 * 1024) await store().put(key, bad);
          else {
            const upload = await store().beginUpload(key);
            const parts = [
              await store().putPart(upload, 1, bad.subarray(0, 5 * 1024 * 1024)),
              await store().putPart(upload, 2, bad.subarray(5 * 1024 * 1024)),
            ];
            await store().completeUpload(upload, parts);
          }
          const { problems } = await verifyAt(two);
          const [problem] = problems;
          const files = [...new Set(problems.map(({ folder, file }) => own + folder + file))];
          // A flipped digest of SHA256SUMS may speak of the image as well as of itself.
          if (!isSums) assert.deepEqual(files, [key], JSON.stringify(problems));
          assert.ok(problem !== undefined, key);
          const replaced = await repairAt(one, { ...problem, file: key.slice(key.lastIndexOf('/') + 1) });
          assert.ok(replaced.includes(key.slice(key.lastIndexOf('/') + 1)), `${key}: ${replaced.join()}`);
          assert.ok((await bytesOf(key)).equals(before), key);
        }
      }
      assert.deepEqual((await verifyAt(two)).problems, []);
      for (const { path, manifest } of encryption === 'plain' ? kept : []) {
        const [key = ''] = objects.filter((each) => each.includes(manifest.id) && each.endsWith('flash.bin'));
        assert.ok((await bytesOf(key)).equals(await readFile(join(path, 'flash.bin'))));
      }
    });
  }
}
