/** What backups take from other stations, for the daemon and for commands. */

import type { BlockLibrary } from '../../replication/blocks/block-library.ts';
import type { Fleet } from '../../replication/open.ts';
import { OtherStationsOfStore } from '../../replication/other-stations.ts';
import type { OtherStations } from '../../transfer/elsewhere.ts';
import type { CommandContext } from '../context.ts';
import { fleetOf, libraryOf } from './open.ts';

export interface Stations {
  /** To be closed by the caller. */
  readonly fleet: Fleet;
  readonly library: BlockLibrary;
  readonly stations: OtherStations;
}

/** @throws EspdError `store-off` where the config names no store */
export function stationsOf(context: CommandContext, env: NodeJS.ProcessEnv): Stations {
  const fleet = fleetOf(context, env);
  const library = libraryOf(context, fleet);
  return { fleet, library, stations: new OtherStationsOfStore({ archive: context.archive, library, fleet }) };
}
