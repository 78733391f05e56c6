/** What must be true when all have come to rest. */

import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { parseLease } from '../../../src/replication/removal/format.ts';
import { type StoredFolder, isSound, sha256 } from './bucket.ts';
import type { Fleet } from './fleet.ts';
import { KEEP_LAST, type Station } from './station.ts';

const none = Buffer.alloc(0);

export async function checkFinalState(fleet: Fleet): Promise<void> {
  const { folders, others } = await fleet.bucket.everything();
  assert.deepEqual(
    others.filter((name) => !/^(?:journal|probes)\/|^leases\/(?:prune|policy)\.json$/.test(name)),
    [],
    'nothing is half there, and nothing waits to be removed',
  );
  const lease = await fleet.bucket.read('leases/prune.json');
  assert.equal(lease && parseLease(lease.bytes)?.seconds, 0, 'nobody has the lease');
  for (const { folder, files } of folders) assert.ok(isSound(files), `${folder} is sound`);
  await checkRetention(fleet, folders);
  for (const station of fleet.stations) await checkStation(fleet, station, folders);
  await checkAgreement(fleet, folders);
}

const manifestOf = (files: StoredFolder['files']) => sha256(files.get('manifest.json') ?? none);

/** What the policy keeps is there, what it does not keep is not, and whatever is gone was removed by it. */
async function checkRetention(
  { bucket, ledger, macs, stations }: Fleet,
  folders: readonly StoredFolder[],
): Promise<void> {
  await ledger.checkPins();
  const there = new Map<string, Set<string>>();
  for (const { mac, id, files } of folders) {
    const key = `${mac} ${id}`;
    there.set(key, (there.get(key) ?? new Set<string>()).add(manifestOf(files)));
  }
  const removed = await bucket.removed();
  const [station] = stations;
  assert.ok(station !== undefined);
  for (const mac of macs) {
    const ever = [...ledger.ever.keys()].filter((key) => key.startsWith(mac)).sort();
    const kept = new Set([...ever.slice(0, 1), ...ever.slice(-KEEP_LAST)]);
    const pins = (await station.archive.marks.of(mac)).pins.map(({ id }) => `${mac} ${id}`);
    for (const key of ever) {
      const made = ledger.ever.get(key)?.keys() ?? [];
      if (kept.has(key)) {
        for (const each of made) assert.ok(there.get(key)?.has(each), `${key} is kept by the policy, and is gone`);
      } else if (there.has(key)) assert.ok(pins.includes(key), `${key} should have gone by the policy`);
      else assert.ok(removed.has(key), `${key} was complete, and is gone without any word`);
    }
  }
  for (const key of there.keys()) assert.ok(ledger.ever.has(key), `${key} was made by one of the stations`);
}

/** A backup that was fetched while its id meant another one has another id, and is the same otherwise. */
function withoutId(files: StoredFolder['files']): string {
  const manifest = JSON.parse((files.get('manifest.json') ?? none).toString()) as object;
  return JSON.stringify({ ...manifest, id: null });
}

async function checkStation({ ledger }: Fleet, station: Station, folders: readonly StoredFolder[]): Promise<void> {
  const { name, bench, archive } = station;
  const here = await station.backups();
  const known = new Set([...here.values()].map(withoutId));
  for (const { folder, files } of folders) assert.ok(known.has(withoutId(files)), `${name} has ${folder}`);
  for (const [key, files] of here) {
    assert.ok(isSound(files), `${key} at ${name} is sound`);
    assert.ok(ledger.ever.get(key)?.has(manifestOf(files)), `${key} at ${name} is one that was made`);
    const copies = folders.filter(({ mac, id }) => `${mac} ${id}` === key);
    const isSame = copies.some((copy) => [...files].every(([file, bytes]) => copy.files.get(file)?.equals(bytes)));
    assert.ok(copies.length === 0 || isSame, `${key} at ${name} is what the bucket has, to the byte`);
  }
  const { damaged, unreadable } = await archive.verify({});
  assert.deepEqual([damaged, unreadable], [[], []], name);
  const left = (await readdir(bench.folder, { recursive: true })).filter((path) =>
    /(?:^|\/)(?:draft|trash)\.[^/]*$|\.(?:lock|abandoned)$/.test(path),
  );
  assert.deepEqual(left, [], `nothing half is left at ${name}`);
}

/** Labels, pins, and what lies in the bucket: all say the same. */
async function checkAgreement({ ledger, macs, stations }: Fleet, folders: readonly StoredFolder[]): Promise<void> {
  for (const mac of macs) {
    const stored = folders
      .filter((each) => each.mac === mac)
      .map(({ folder, files }) => `${folder} ${manifestOf(files)}`)
      .sort();
    const known = await Promise.all(
      stations.map(async ({ name, archive }) => {
        const { about, pins } = await archive.marks.of(mac);
        const elsewhere = await archive.elsewhere.of(mac);
        assert.deepEqual(
          elsewhere.map(({ folder, manifestSha256 }) => `${folder} ${manifestSha256}`).sort(),
          stored,
          `${name} knows what of ${mac} is in the bucket`,
        );
        return { about, pins: pins.map(({ id }) => id).sort() };
      }),
    );
    for (const each of known) {
      assert.deepEqual(each, known[0], `all say the same of ${mac}`);
      assert.ok(ledger.mayBeLabel(mac, each.about.label), `${mac} is called ${String(each.about.label)}`);
    }
  }
}
