/** A command that means a backup which lies in the store alone fetches it first. */

import { ElsewhereError } from '../../archive/elsewhere/types.ts';
import type { CommandContext } from '../context.ts';

/**
 * What `work` gives. Where it rejects with `archive-elsewhere`, the backup that it means is fetched, and it is done again:
 * so it may do nothing but look.
 * @throws EspdError of `work`; of the store, which then says what is here instead
 */
export async function fetchedFor<T>(context: CommandContext, work: () => Promise<T>): Promise<T> {
  const fetched = new Set<string>();
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof ElsewhereError) || fetched.has(nameOf(error))) throw error;
      fetched.add(nameOf(error));
      // What speaks to a store is loaded by those alone who need it.
      const { fetchMeant } = await import('./fetch-backup.ts');
      await fetchMeant(context, error);
    }
  }
}

const nameOf = ({ mac, id, folder }: ElsewhereError) => `${mac} ${id} ${folder ?? ''}`;
