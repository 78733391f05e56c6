/** The object store: whether it can be used with this config, and does what it should. Small objects are put and removed. */

import { isLoopback } from '../config/listen.ts';
import type { StoreConfig } from '../config/store.ts';
import { EspdError, hasCode, systemCode, toEspdError } from '../errors.ts';
import type { Facts } from './facts.ts';
import type { StoreCheck } from './subject.ts';
import { type Finding, cannotCheck, note, ok, problem } from './types.ts';

/** Below the limit of a check, so that what was put can be removed. */
const LIMIT_MS = 12_000;
const ID = 'store';

type StoreCheckOf = NonNullable<Facts['checkStore']>;

/** Nothing where the config names no store. */
export async function checkStore({ clock, checkStore: check, loaded }: Facts): Promise<Finding[]> {
  if (check === null) return [];
  const config = loaded instanceof EspdError ? null : loaded.config.store;
  return [...(await examine(clock, check)), ...(config === null ? [] : judgeTransport(config))];
}

async function examine(clock: Facts['clock'], check: StoreCheckOf): Promise<Finding[]> {
  const limit = new AbortController();
  const cancel = clock.schedule(LIMIT_MS, () => limit.abort());
  try {
    const found = await check(limit.signal);
    const locks =
      found.noLocks === null ? [] : [problem(ID, `store.lock is "pins": ${found.noLocks}`, { detail: LOCK_DETAIL })];
    return [judgeStore(found), ...locks, ...found.unheard.map((sentence) => note(ID, sentence))];
  } catch (error) {
    if (limit.signal.aborted) return [cannotCheck(ID, 'The object store', `it took more than ${LIMIT_MS / 1000} s`)];
    return [judgeFault(error)];
  } finally {
    cancel();
  }
}

/** What goes over a network in the clear, somebody there can read and change. */
export function judgeTransport({ endpoint, encryption }: Pick<StoreConfig, 'endpoint' | 'encryption'>): Finding[] {
  const { protocol, hostname } = new URL(endpoint);
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  if (protocol !== 'http:' || host === 'localhost' || isLoopback(host)) return [];
  const detail =
    encryption === 'none'
      ? 'Images go with it, and the Wi-Fi passwords in them. https, or a key in store.encryption'
      : 'Images are encrypted; names, times and sizes are not. https hides these as well';
  return [note(ID, `The network can read what goes to the object store: ${endpoint} is http`, { detail })];
}

const LOCK_DETAIL = 'docs/fleet.md (Pins that the store holds) says what it needs. store.lock: none does without';

export function judgeStore({ place, troubles, instead }: Pick<StoreCheck, 'place' | 'troubles' | 'instead'>): Finding {
  if (troubles.length === 0) return ok(ID, `The object store does what it should: ${place}`);
  const detail = instead === null ? undefined : `So ${instead}`;
  return note(ID, `The object store (${place}): ${troubles.join('; ')}`, { detail });
}

export function judgeFault(error: unknown): Finding {
  const fault = toEspdError(error);
  // The service may read what is not for everybody.
  if (hasCode(fault, 'store-credentials', 'store-key') && ['EACCES', 'EPERM'].includes(systemCode(fault.cause) ?? '')) {
    return cannotCheck(ID, 'The object store', fault.message);
  }
  return problem(ID, fault.message, { detail: fault.hint });
}
