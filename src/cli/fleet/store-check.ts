/** The doctor's look at the object store of the config. What speaks to a store is loaded by those alone who have one. */

import type { Subject } from '../../doctor/subject.ts';
import type { CommandContext } from '../context.ts';

/** Null where the config names no store. */
export function storeCheckOf(context: CommandContext, env: NodeJS.ProcessEnv): Subject['checkStore'] {
  if (context.config.store === null) return null;
  return async (signal) => {
    const [{ fleetOf, journalOf }, { judge }, { overdueOf }] = await Promise.all([
      import('./open.ts'),
      import('../../replication/open.ts'),
      import('../../replication/journal/freshness.ts'),
    ]);
    const fleet = fleetOf(context, env);
    try {
      const unheard = overdueOf(await journalOf(context, fleet).freshness(), context.clock.date());
      const facts = await fleet.examine(signal);
      const noLocks = context.config.store?.lock === 'pins' ? await fleet.examineLocks(signal) : null;
      return { place: fleet.place, ...judge(facts), noLocks, unheard };
    } finally {
      fleet.close();
    }
  };
}
