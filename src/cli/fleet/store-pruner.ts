/** A pruner of the config's bucket, with the journals of all stations. */

import { randomBytes } from 'node:crypto';
import { parseGrace } from '../../config/store.ts';
import type { Journal } from '../../replication/journal/journal.ts';
import type { Fleet, OpenedFleet } from '../../replication/open.ts';
import { manifestReader } from '../../replication/removal/read-manifest.ts';
import { type FleetJournal, StorePruner } from '../../replication/removal/store-pruner.ts';
import type { Mac } from '../../mac.ts';
import { VERSION } from '../../version.ts';
import type { CommandContext } from '../context.ts';
import { journalOf } from './open.ts';

/** Boards of which the notes are in memory. */
const MAX_REMEMBERED = 16;

/** @throws EspdError `store-...` */
export async function openStorePruner(context: CommandContext, fleet: Fleet): Promise<StorePruner> {
  const { archive, clock, config, signal } = context;
  const bucket = await fleet.open(signal);
  const { id, store, layout, keys, hasConditions } = bucket;
  const notesOf = fewRemembered((mac: Mac) => archive.elsewhere.of(mac));
  return new StorePruner({
    ...{ store, hasConditions, archive, clock, prefix: layout.prefix, station: layout.station },
    holder: randomBytes(6).toString('hex'),
    graceMs: parseGrace(config.store?.grace ?? '') ?? Number.POSITIVE_INFINITY,
    journal: toPort(journalOf(context, fleet), bucket),
    readManifest: manifestReader({
      ...{ store, keys, prefix: layout.prefix },
      noted: async ({ mac, folder }) => {
        const found = (await notesOf(mac)).find((each) => each.folder === folder && each.store === id);
        return found && { kind: 'read', manifest: found.manifest };
      },
    }),
    createdBy: `espd ${VERSION}`,
  });
}

/** A board's backups come one after the other, and are noted in one file. */
function fewRemembered<K, V>(look: (key: K) => Promise<V>): (key: K) => Promise<V> {
  const few = new Map<K, Promise<V>>();
  return (key) => {
    const found = few.get(key) ?? look(key);
    few.set(key, found);
    if (few.size > MAX_REMEMBERED) for (const oldest of few.keys()) if (few.size > MAX_REMEMBERED) few.delete(oldest);
    return found;
  };
}

function toPort(journal: Journal, bucket: OpenedFleet): FleetJournal {
  return {
    async read(signal) {
      for (;;) {
        const { troubles, mayHavePinned, isMore } = await journal.look(bucket, { signal, isThorough: true });
        if (!isMore) return { problems: troubles.map(({ message }) => message), gone: mayHavePinned };
      }
    },
    async addRemoved(gone, signal) {
      await journal.addRemoved(bucket, gone);
      // Undefined where the daemon of this station is at it: it says it then.
      await journal.write(bucket, signal);
    },
  };
}
