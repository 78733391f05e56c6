/** Pulls one backup, as a process that can be killed: `puller.ts {"archivePath", "statePath", "endpoint", "stored"}`. */

import type { StoredBackup } from '../../src/archive/elsewhere/types.ts';
import { openArchive } from '../../src/archive/archive.ts';
import { systemClock } from '../../src/clock.ts';
import { storeSchema } from '../../src/config/store.ts';
import { silentLogger } from '../../src/log.ts';
import { openFleet } from '../../src/replication/open.ts';
import { pullBackup } from '../../src/replication/pull.ts';

const { archivePath, statePath, endpoint, stored } = JSON.parse(process.argv[2] ?? '') as {
  readonly archivePath: string;
  readonly statePath: string;
  readonly endpoint: string;
  readonly stored: StoredBackup;
};
const log = silentLogger;
const archive = openArchive(archivePath, {
  log,
  clock: systemClock,
  compression: 'none',
  createdBy: 'espd 0.0.0-test',
});
const fleet = openFleet({
  config: storeSchema.parse({ endpoint, bucket: 'boards', encryption: 'none' }),
  ...{ bandwidth: null, statePath, archive: archive.root, clock: systemClock, log, random: Math.random },
  env: { AWS_ACCESS_KEY_ID: 'writer', AWS_SECRET_ACCESS_KEY: 'writer-secret' },
});
await pullBackup(await fleet.openToRead(), archive, stored);
process.stdout.write('pulled\n');
fleet.close();
