/** The last events: those that the daemon still has, and from then on each that comes. */

import { signal } from '@preact/signals';
import type { ServiceEvent } from '../../src/daemon/event-types.ts';
import { askLines } from '../api.ts';
import { onEvent } from '../live.ts';

/** As many as the daemon keeps. */
const MOST = 4096;

export const eventLog = signal<readonly ServiceEvent[]>([]);

/** Reads what the daemon has, and follows. @returns ends it */
export function followLog(): () => void {
  const ended = new AbortController();
  const stop = onEvent((event) => {
    if (event.type !== 'job-progress') add([event]);
  });
  eventLog.value = [];
  readPast(ended).catch(() => undefined);
  return () => {
    ended.abort();
    stop();
  };
}

async function readPast(ended: AbortController): Promise<void> {
  const past: ServiceEvent[] = [];
  let last = Infinity;
  for await (const line of askLines('/v1/events?since=0', ended.signal)) {
    const said = line as ServiceEvent | { readonly type: 'hello'; readonly lastSeq: number } | { readonly type: 'gap' };
    if (said.type === 'hello') last = said.lastSeq;
    if ('seq' in said && said.type !== 'job-progress') past.push(said);
    if (last === 0 || ('seq' in said && said.seq >= last)) break;
  }
  add(past);
}

function add(events: readonly ServiceEvent[]): void {
  const bySeq = new Map([...eventLog.value, ...events].map((event) => [event.seq, event]));
  eventLog.value = [...bySeq.values()].sort((a, b) => a.seq - b.seq).slice(-MOST);
}
