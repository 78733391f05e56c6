/** What backups take from other stations, for the daemon and for commands. */

import type { BlockLibrary } from '../../replication/blocks/block-library.ts';
import { OtherStationsOfStore } from '../../replication/other-stations.ts';
import type { OtherStations } from '../../transfer/elsewhere.ts';
import type { CommandContext } from '../context.ts';
import { fleetOf, libraryOf } from './replication.ts';

/** Undefined where the config names no store: then there are no other stations. */
export function stationsOf(
  context: CommandContext,
  env: NodeJS.ProcessEnv,
): { readonly stations: OtherStations; readonly library: BlockLibrary; close(): void } | undefined {
  if (context.config.store === null) return undefined;
  const fleet = fleetOf(context, env);
  const library = libraryOf(context, fleet);
  const stations = new OtherStationsOfStore({ archive: context.archive, library, fleet });
  return { stations, library, close: () => fleet.close() };
}
