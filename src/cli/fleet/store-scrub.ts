/** The daemon reads back a part of what lies in the object store, by the clock: what is wrong there is told at once. */

import { parseSample } from '../../archive/sample.ts';
import type { EventBus } from '../../daemon/events.ts';
import type { Fleet } from '../../replication/open.ts';
import type { StoreProblem } from '../../replication/verify/verify-store.ts';
import type { CommandContext } from '../context.ts';
import { storeVerifierOf } from './open.ts';

/** Of more problems than that the events name the first ones: the store as a whole is the matter then. */
const MAX_TOLD = 100;

/** Tells of what was found to be wrong in the store: of one run. */
export function damageTeller(events: Pick<EventBus, 'emit'>): (problem: Omit<StoreProblem, 'station'>) => void {
  let told = 0;
  return ({ mac, id, folder, file, problem, error }) => {
    if (told++ >= MAX_TOLD) return;
    const isDamage = error.code === 'store-damaged';
    events.emit({ type: 'store-damaged', mac, id, folder, file, problem, isDamage, error: error.toJSON() });
  };
}

/**
 * @param part as the config has it, such as `5%`: what was read longest ago
 * @throws EspdError `store-...` where the store is the matter; the signal's reason
 */
export async function scrubStore(
  context: CommandContext,
  events: Pick<EventBus, 'emit'>,
  fleet: Fleet,
  part: string,
): Promise<void> {
  const { signal } = context;
  const verifier = await storeVerifierOf(context, fleet);
  const plan = await verifier.plan({ sample: parseSample(part), signal });
  const tell = damageTeller(events);
  plan.missing.forEach(tell);
  const { checked, readBytes, problems, fault } = await verifier.run(plan, { signal, onProblem: tell });
  signal.throwIfAborted();
  const damaged = problems.filter(({ error }) => error.code === 'store-damaged').length;
  events.emit({
    ...{ type: 'store-verified', checked, of: plan.of, readBytes, damaged },
    ...{ missing: plan.missing.length, unreadable: problems.length - damaged },
  });
  // It is tried again by whoever has the clock.
  if (fault !== undefined) throw fault as Error;
}
