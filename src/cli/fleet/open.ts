/** From the config to the object store: what speaks to it, and what is kept about it here. */

import { statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { EspdError } from '../../errors.ts';
import { parseSize } from '../../config/size.ts';
import { BlockLibrary } from '../../replication/blocks/block-library.ts';
import { type Fleet, openFleet } from '../../replication/open.ts';
import { Journal } from '../../replication/journal/journal.ts';
import { StoreVerifier } from '../../replication/verify/verify-store.ts';
import { VERSION } from '../../version.ts';
import type { CommandContext } from '../context.ts';

/** @throws EspdError `store-off` where the config names no store */
export function fleetOf({ config, archive, clock, log }: CommandContext, env: NodeJS.ProcessEnv): Fleet {
  const { store } = config;
  if (store === null) {
    throw new EspdError('store-off', 'The config names no object store', {
      hint: 'Add the section store: config.example.yaml has it, docs/fleet.md tells of it',
    });
  }
  return openFleet({
    ...{ config: store, clock, log, env, random: Math.random },
    bandwidth: bandwidthOf(config),
    statePath: config.archive.statePath,
    archive: archive.root,
  });
}

/** `store.bandwidth`, bytes a second; null: no bound. */
export function bandwidthOf({ store }: CommandContext['config']): number | null {
  const bandwidth = store?.bandwidth ?? null;
  return bandwidth === null ? null : parseSize(bandwidth);
}

export function journalOf(context: CommandContext, fleet: Fleet): Journal {
  const { config, archive, clock } = context;
  const { minFreeBytes } = config.archive;
  return new Journal({
    ...{ archive, clock, folder: fleet.state.folder, version: VERSION },
    library: libraryOf(context, fleet),
    freeBytes: async () => {
      const { bavail, bsize } = await statfs(archive.root);
      return bavail * bsize;
    },
    minFreeBytes: minFreeBytes === null ? null : parseSize(minFreeBytes),
  });
}

/** Derived of what the archive knows of the store, in the folder of the state of that store. */
export function libraryOf({ log }: CommandContext, fleet: Fleet): BlockLibrary {
  return new BlockLibrary(join(fleet.state.folder, 'blocks'), log);
}

/** Reads back what lies there. */
export async function storeVerifierOf(context: CommandContext, fleet: Fleet): Promise<StoreVerifier> {
  const { archive, clock, config } = context;
  return new StoreVerifier({
    ...{ archive, clock, bucket: await fleet.openToRead(), stateFolder: fleet.state.folder },
    bandwidth: bandwidthOf(config),
    hear: async (signal) => {
      const journal = journalOf(context, fleet);
      const bucket = await fleet.open(signal);
      while ((await journal.look(bucket, { signal, isThorough: true })).isMore);
    },
  });
}
