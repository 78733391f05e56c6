/** Pruners as processes of their own at a real radosgw: killed at random moments, two at once, and stopped in the middle. */

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { FOLDER, MAC, temporaryFolder } from '../../archive/support.ts';
import { realBucket } from '../../store/real-bucket.ts';
import { whyNoRealStore } from '../../store/real-store.ts';
import { bundle } from '../../support/bundle.ts';
import { hasCode } from '../../../src/errors.ts';
import { type Station, image, never, station } from '../support.ts';
import { NEWEST_ALONE, policyOf, prunerOf, pushed, run } from './support.ts';

const skip = whyNoRealStore();
if (skip !== undefined) process.stderr.write(`test/replication/removal/real.test.ts ${skip}\n`);

describe('pruners at a real radosgw', { skip: skip ?? false }, () => {
  const bucket = realBucket();

  test('two stations with two policies: that of the first counts, and is replaced by a word alone', async (t) => {
    const here = await station(t, bucket.endpoint, { prefix: 'policies' });
    const ids = await pushed(here, 5);
    const [strict, mild] = [NEWEST_ALONE, policyOf({ last: 9 })];
    const [one, two] = [await prunerOf(here), await prunerOf(here)];
    const runs = await Promise.allSettled([run(one.pruner, strict), run(two.pruner, mild)]);
    assert.ok(runs.some(({ status }) => status === 'fulfilled'));
    const counts = (await one.pruner.plan(strict, { signal: never })).refusal === null ? strict : mild;
    const other = counts === strict ? mild : strict;
    const { pruner } = await prunerOf(here);
    await assert.rejects(run(pruner, other), (error) => hasCode(error, 'store-policy'));
    const { policy } = await pruner.plan(other, { signal: never });
    assert.equal(policy.kind, 'other');
    await run(pruner, other, never, policy);
    await assert.rejects(run(pruner, counts), (error) => hasCode(error, 'store-policy'));
    const { steps } = await run(pruner, other);
    assert.equal(steps.filter(({ kind }) => kind === 'wait').length, other === strict ? ids.length - 2 : 0);
  });

  interface Bench {
    readonly here: Station;
    readonly ids: readonly string[];
    readonly start: (options: { leaseSeconds: number; signedForMs?: number }) => {
      readonly child: ChildProcess;
      readonly ended: Promise<string>;
    };
    /** Ids that have a SHA256SUMS, by a list alone. */
    readonly listed: () => Promise<string[]>;
    /** Ids of complete backups; each is the same, byte for byte, as that of the archive. */
    readonly complete: () => Promise<string[]>;
    /** Names of all that belongs to no complete backup, but for probes and the lease. */
    readonly rest: () => Promise<string[]>;
  }

  async function bench(t: TestContext, prefix: string, count: number): Promise<Bench> {
    const [program = ''] = await bundle(await temporaryFolder(t), 'test/replication/removal/pruner.ts');
    const here = await station(t, bucket.endpoint, { prefix });
    const ids: string[] = [];
    for (let number = 0; number < count; number++) {
      const createdAt = new Date(Date.UTC(2020, 0, 1 + number)).toISOString();
      ids.push((await here.keep(image(5000 + number, number + 1), { createdAt })).id);
    }
    await here.pushAll();
    const names = async () => {
      const found: string[] = [];
      for (let from: string | null = null; ;) {
        const page = await bucket.client.store.list({ prefix: `${prefix}/`, from });
        found.push(...page.objects.map(({ key }) => key.slice(prefix.length + 1)));
        from = page.next;
        if (from === null) return found;
      }
    };
    const wholeOf = (all: readonly string[]) =>
      all.flatMap((name) => /^([^/]+\/[^/]+\/)SHA256SUMS$/.exec(name)?.[1] ?? []);
    return {
      ...{ here, ids },
      start: ({ leaseSeconds, signedForMs = 600_000 }) => {
        const child = spawn(
          process.execPath,
          [
            program,
            JSON.stringify({
              ...{ archivePath: here.archive.root, statePath: join(here.folder, 'state'), leaseSeconds, signedForMs },
              store: { endpoint: bucket.endpoint, bucket: 'boards', prefix, encryption: 'none' },
            }),
          ],
          { stdio: ['ignore', 'pipe', 'inherit'] },
        );
        let said = '';
        child.stdout.on('data', (text: Buffer) => (said += text.toString()));
        t.after(() => child.kill('SIGKILL'));
        return { child, ended: new Promise((resolve) => child.once('close', () => resolve(said))) };
      },
      listed: async () => wholeOf(await names()).map((folder) => folder.split('/')[1] ?? ''),
      complete: async () => {
        const folders = wholeOf(await names());
        for (const folder of folders) {
          const id = folder.split('/')[1] ?? '';
          for (const file of ['SHA256SUMS', 'manifest.json', 'flash.bin']) {
            const there = await bucket.client.store.get(`${prefix}/${folder}${file}`);
            // A pruner may be at work meanwhile: then SHA256SUMS goes before what it lists.
            if (there === undefined && (await bucket.client.store.head(`${prefix}/${folder}SHA256SUMS`)) === undefined)
              break;
            assert.deepEqual(there?.bytes, await readFile(join(here.archive.root, FOLDER, id, file)), `${id} ${file}`);
          }
        }
        return folders.map((folder) => folder.split('/')[1] ?? '').sort();
      },
      rest: async () => {
        const all = await names();
        const whole = wholeOf(all);
        return all.filter(
          (name) => !/^(?:probes|leases)\//.test(name) && !whole.some((folder) => name.startsWith(folder)),
        );
      },
    };
  }

  test('killed 24 times at random moments: nothing is half there, and in the end what should is gone', async (t) => {
    const { here, ids, start, listed, complete, rest } = await bench(t, 'killed', 40);
    const pinned = ids[20] ?? '';
    await here.archive.marks.pin(MAC, pinned, { pinned: true, note: null });
    let kills = 0;
    for (; kills < 24; kills++) {
      const { child, ended } = start({ leaseSeconds: 1 });
      await new Promise((resolve) => child.stdout?.once('data', resolve));
      await delay(randomInt(600));
      child.kill('SIGKILL');
      await ended;
      const left = await listed();
      for (const id of [ids[0], pinned, ids.at(-1)]) assert.ok(left.includes(id ?? ''), id);
    }
    assert.match(await start({ leaseSeconds: 1 }).ended, /done/);
    assert.deepEqual(await complete(), [ids[0], pinned, ids.at(-1)]);
    assert.deepEqual(await rest(), []);
  });

  test('two at once: both end, what should is gone, and nothing else', async (t) => {
    const { ids, start, complete, rest } = await bench(t, 'two', 20);
    const ended = await Promise.all([start({ leaseSeconds: 3 }).ended, start({ leaseSeconds: 3 }).ended]);
    for (const said of ended) assert.match(said, /done/);
    assert.deepEqual(await complete(), [ids[0], ids.at(-1)]);
    assert.deepEqual(await rest(), []);
  });

  test('stopped in the middle, its lease taken, and then it goes on: it removes nothing that the new plan keeps', async (t) => {
    let stoppedInTheMiddle = 0;
    await Promise.all(
      [1, 2, 3, 4, 5, 6].map(async (round) => {
        const { here, ids, start, listed, complete, rest } = await bench(t, `stopped-${round}`, 24);
        const old = start({ leaseSeconds: 8, signedForMs: 4000 });
        await new Promise((resolve) => old.child.stdout?.once('data', resolve));
        // Until it is among the removals: each is another one of them, or before or behind.
        for (let tries = 0; tries < 2000 && (await listed()).length > 23 - round; tries++) await delay(1);
        old.child.kill('SIGSTOP');
        const left = await listed();
        if (left.length > 2 && left.length < ids.length) stoppedInTheMiddle++;
        for (const id of left) await here.archive.marks.pin(MAC, id, { pinned: true, note: 'meanwhile' });
        const young = start({ leaseSeconds: 8, signedForMs: 4000 });
        assert.match(await young.ended, /done/);
        const kept = await complete();
        assert.deepEqual(await rest(), []);
        old.child.kill('SIGCONT');
        await old.ended;
        assert.deepEqual(await complete(), kept, 'nothing has gone since');
        // One that had its SHA256SUMS in that moment may have lost it by a request that was on its way.
        assert.ok(kept.length >= left.length - 8 && left.length > 0);
      }),
    );
    assert.ok(stoppedInTheMiddle > 0);
  });
});
