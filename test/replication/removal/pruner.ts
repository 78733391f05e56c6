/**
 * A pruner as a process of its own: `node pruner.js CONFIG-JSON`. Announces and removes until there is nothing more to do, and
 * says `done`. While another one prunes it waits.
 */

import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { openArchive } from '../../../src/archive/archive.ts';
import { NO_RULES } from '../../../src/archive/retention/policy.ts';
import { systemClock } from '../../../src/clock.ts';
import { storeSchema } from '../../../src/config/store.ts';
import { hasCode } from '../../../src/errors.ts';
import { silentLogger } from '../../../src/log.ts';
import { openFleet } from '../../../src/replication/open.ts';
import { manifestReader } from '../../../src/replication/removal/read-manifest.ts';
import { StorePruner } from '../../../src/replication/removal/store-pruner.ts';

const { archivePath, statePath, store, leaseSeconds, signedForMs } = JSON.parse(process.argv[2] ?? '') as {
  readonly archivePath: string;
  readonly statePath: string;
  readonly store: unknown;
  readonly leaseSeconds: number;
  /** How long the server takes removals after they were decided: less than its 15 minutes, for which no test waits. */
  readonly signedForMs: number;
};
const clock = systemClock;
const signal = new AbortController().signal;
const archive = openArchive(archivePath, {
  ...{ log: silentLogger, clock, compression: 'none', createdBy: 'espd 0.0.0-test' },
});
const fleet = openFleet({
  config: storeSchema.parse(store),
  ...{ bandwidth: null, statePath, archive: archive.root, clock, log: silentLogger, random: Math.random },
  env: { AWS_ACCESS_KEY_ID: 'writer', AWS_SECRET_ACCESS_KEY: 'writer-secret' },
});
const bucket = await fleet.open(signal);
const { layout, keys, hasConditions } = bucket;
const shifted = { ...bucket.store, now: () => bucket.store.now() - (15 * 60_000 - signedForMs) };
const pruner = new StorePruner({
  ...{ store: shifted, hasConditions, archive, clock, prefix: layout.prefix, station: layout.station },
  holder: randomBytes(6).toString('hex'),
  ...{ leaseSeconds, graceMs: 0, createdBy: 'espd 0.0.0-test' },
  journal: { read: () => Promise.resolve({ problems: [], gone: [] }), addRemoved: () => Promise.resolve() },
  readManifest: manifestReader({
    ...{ store: bucket.store, keys, prefix: layout.prefix, noted: () => Promise.resolve(undefined) },
  }),
});
process.stdout.write('started\n');
const policy = { rules: { ...NO_RULES, last: 1 }, boards: new Map(), groups: new Map(), maxBytes: null };
for (let left = Number.POSITIVE_INFINITY; left > 0;) {
  try {
    ({
      steps: { length: left },
    } = await pruner.carryOut(policy, { shown: null, replaces: { kind: 'none' }, signal, onStep: () => undefined }));
  } catch (error) {
    if (!hasCode(error, 'store-held')) throw error;
    await delay(100);
  }
}
fleet.close();
process.stdout.write('done\n');
