/** One station as a process of its own: `node --import tsx station.ts CONFIG-JSON`. Pushes what waits, and says `done`. */

import { openArchive } from '../../src/archive/archive.ts';
import { systemClock } from '../../src/clock.ts';
import { storeSchema } from '../../src/config/store.ts';
import { silentLogger } from '../../src/log.ts';
import { openFleet } from '../../src/replication/open.ts';
import { Journal } from '../../src/replication/journal/journal.ts';
import { Replicator } from '../../src/replication/replicator.ts';

const { archivePath, statePath, store, bandwidth, env } = JSON.parse(process.argv[2] ?? '') as {
  readonly archivePath: string;
  readonly statePath: string;
  readonly store: unknown;
  readonly bandwidth: number;
  readonly env?: NodeJS.ProcessEnv;
};
const archive = openArchive(archivePath, {
  ...{ log: silentLogger, clock: systemClock, compression: 'none', createdBy: 'espd 0.0.0-test' },
});
const fleet = openFleet({
  config: storeSchema.parse(store),
  ...{ bandwidth, statePath, archive: archive.root, clock: systemClock, log: silentLogger },
  env: env ?? { AWS_ACCESS_KEY_ID: 'writer', AWS_SECRET_ACCESS_KEY: 'writer-secret' },
  random: Math.random,
});
let waiting = 1;
const replicator = new Replicator({
  ...{ archive, fleet, clock: systemClock, random: Math.random, lookMs: 200, scanMs: 1000 },
  journal: new Journal({
    ...{ archive, clock: systemClock, folder: fleet.state.folder, version: '0.0.0-test', minFreeBytes: null },
    freeBytes: () => Promise.resolve(1e12),
  }),
  onNews: () => undefined,
  onScanned: () => undefined,
  onTrouble: ({ message }) => void process.stderr.write(`${message}\n`),
  onPushed: (_, __, left) => (waiting = left),
  onFailed: (_, error) => void process.stderr.write(`${error.code} ${error.message}\n`),
});
replicator.start();
process.stdout.write('started\n');
const timer = setInterval(() => {
  if (waiting > 0) return;
  clearInterval(timer);
  process.stdout.write('done\n');
  void replicator.stop().then(() => {
    fleet.close();
    process.stdout.destroy();
  });
}, 20);
