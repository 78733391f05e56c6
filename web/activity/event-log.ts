/** The last events: those that the daemon still has, and from then on each that comes. */

import { signal } from '@preact/signals';
import type { ServiceEvent } from '../../src/daemon/event-types.ts';
import { ApiError, askLines } from '../api.ts';
import { generation, onEvent } from '../live.ts';

/** As many as the daemon keeps. */
const MOST = 4096;

export const eventLog = signal<readonly ServiceEvent[]>([]);

/** Of the events before the page was opened. `cut`: some are missing; `why` is empty where nobody knows. */
export type Past = { readonly state: 'reading' | 'all' } | { readonly state: 'cut'; readonly why: string };
export const past = signal<Past>({ state: 'reading' });

let reading: AbortController | undefined;

/** Reads what the daemon has, and follows. @returns ends it */
export function followLog(): () => void {
  const stop = onEvent((event) => {
    if (event.type !== 'job-progress') add([event]);
  });
  // Of a daemon that was started again the numbers begin anew: events of both cannot be in one list.
  const forget = generation.subscribe(() => {
    eventLog.value = [];
    readPastAgain();
  });
  return () => {
    reading?.abort();
    stop();
    forget();
  };
}

/** Also for a person who was told that it was cut. */
export function readPastAgain(): void {
  reading?.abort();
  const own = new AbortController();
  reading = own;
  past.value = { state: 'reading' };
  void readPast(own.signal).then((result) => {
    if (!own.signal.aborted) past.value = result;
  });
}

/** Never rejects. What could be read is in the log, whatever happened then. */
async function readPast(signal: AbortSignal): Promise<Past> {
  const found: ServiceEvent[] = [];
  try {
    return (await collect(signal, found)) ? { state: 'all' } : { state: 'cut', why: '' };
  } catch (error) {
    return { state: 'cut', why: error instanceof ApiError ? error.message : '' };
  } finally {
    if (!signal.aborted) add(found);
  }
}

/** @returns whether it went up to the event that was the last one when it began */
async function collect(signal: AbortSignal, found: ServiceEvent[]): Promise<boolean> {
  let last = Infinity;
  for await (const line of askLines('/v1/events?since=0', signal)) {
    const said = line as ServiceEvent | { readonly type: 'hello'; readonly lastSeq: number } | { readonly type: 'gap' };
    if (said.type === 'hello') last = said.lastSeq;
    if ('seq' in said && said.type !== 'job-progress') found.push(said);
    if (last === 0 || ('seq' in said && said.seq >= last)) return true;
  }
  return false;
}

function add(events: readonly ServiceEvent[]): void {
  const bySeq = new Map([...eventLog.value, ...events].map((event) => [event.seq, event]));
  eventLog.value = [...bySeq.values()].sort((a, b) => a.seq - b.seq).slice(-MOST);
}
