/**
 * Releases and fetches backups in turn, as a process that can be killed: `mover.ts {"archivePath", "statePath", "endpoint",
 * "mac", "rounds"}`. Ends with all backups here.
 */

import { openArchive } from '../../src/archive/archive.ts';
import { systemClock } from '../../src/clock.ts';
import { storeSchema } from '../../src/config/store.ts';
import { silentLogger } from '../../src/log.ts';
import type { Mac } from '../../src/mac.ts';
import { releaseLocal } from '../../src/replication/local/release.ts';
import { openFleet } from '../../src/replication/open.ts';
import { pullBackup } from '../../src/replication/pull.ts';

const { archivePath, statePath, endpoint, mac, rounds } = JSON.parse(process.argv[2] ?? '') as {
  readonly archivePath: string;
  readonly statePath: string;
  readonly endpoint: string;
  readonly mac: Mac;
  readonly rounds: number;
};
const log = silentLogger;
const clock = systemClock;
const { signal } = new AbortController();
const archive = openArchive(archivePath, { log, clock, compression: 'none', createdBy: 'espd 0.0.0-test' });
const fleet = openFleet({
  config: storeSchema.parse({ endpoint, bucket: 'boards', encryption: 'none' }),
  ...{ bandwidth: null, statePath, archive: archive.root, clock, log, random: Math.random },
  env: { AWS_ACCESS_KEY_ID: 'writer', AWS_SECRET_ACCESS_KEY: 'writer-secret' },
});
const bucket = await fleet.openToRead();
const station = await fleet.state.station();
process.stdout.write('started\n');
for (let round = 0; round < rounds; round++) {
  const { fault } = await releaseLocal(
    { archive, bucket, station, clock, signal, bandwidth: null },
    { kind: 'newest', count: 1 },
  );
  if (fault !== undefined) throw fault as Error;
  const here = new Set(await archive.backupIds(mac));
  for (const stored of await archive.elsewhere.of(mac)) {
    if (!here.has(stored.id)) await pullBackup(bucket, archive, stored);
  }
}
fleet.close();
process.stdout.write('done\n');
