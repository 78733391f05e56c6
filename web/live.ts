/**
 * The station as it is now, followed by the stream of events (docs/api.md, Events). Nothing is missed: where the stream
 * cannot be followed without a gap, the state is read anew, and `missed` says so.
 */

import { signal } from '@preact/signals';
import { Rates } from '../src/cli/station/rates.ts';
import type { ServiceEvent } from '../src/daemon/event-types.ts';
import { Station, type StationView } from '../src/daemon/station.ts';
import { ApiError, ask, askLines } from './api.ts';

export type Connection = 'connecting' | 'live' | 'lost';

/** The answer of `/v1/status`. */
interface StatusDocument extends StationView {
  readonly version: string;
  readonly instance: string;
  readonly lastSeq: number;
  readonly archive: string;
}

type StreamLine = { readonly type: 'hello'; readonly instance: string } | { readonly type: 'gap' } | ServiceEvent;

/** `alive` comes every 15 s: after so much silence the line is dead, whatever the browser believes. */
const SILENCE_MS = 40_000;
const RETRY_MS = [500, 1000, 2000, 5000];
/** Events that come at once are one change of the page. */
const FRAME_MS = 60;

const EMPTY: StationView = new Station().view;

export const view = signal<StationView>(EMPTY);
export const rates = signal<ReadonlyMap<string, number>>(new Map());
export const connection = signal<Connection>('connecting');
/** Why it is not `live`; null while it is. */
export const trouble = signal<ApiError | null>(null);
export const about = signal<{ readonly version: string; readonly archive: string } | null>(null);
/** Grows when all that was read before may be out of date. */
export const generation = signal(0);
/** What was missed and read anew, for a person; null = nothing. */
export const missed = signal<string | null>(null);

type Listener = (event: ServiceEvent) => void;
const listeners = new Set<Listener>();

/** @returns to be called when it is no longer wanted */
export function onEvent(listener: Listener): () => void {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

/** Follows the station until the signal is aborted. */
export async function followStation(signal: AbortSignal): Promise<void> {
  let place: Place | undefined;
  let failures = 0;
  while (!signal.aborted) {
    try {
      place ??= await readState(signal);
      await followFrom(place, signal, () => (failures = 0));
      // The stream has ended: the daemon or the server stops.
    } catch (error) {
      if (error instanceof Gap) {
        if (place !== undefined) missed.value = error.message;
        place = undefined;
        continue;
      }
      trouble.value = error instanceof ApiError ? error : null;
    }
    if (isAborted(signal)) return;
    connection.value = 'lost';
    await pause(RETRY_MS[Math.min(failures++, RETRY_MS.length - 1)] ?? 0, signal);
  }
}

/** Up to where the events are known. */
interface Place {
  readonly instance: string;
  readonly station: Station;
  readonly rates: Rates;
  seq: number;
}

/** The stream does not go on where it was left. */
class Gap extends Error {}

async function readState(signal: AbortSignal): Promise<Place> {
  const status = await ask<StatusDocument>('/v1/status', { signal });
  const station = new Station(status);
  const { instance, lastSeq: seq, version, archive } = status;
  about.value = { version, archive };
  generation.value++;
  const place = { instance, seq, station, rates: new Rates() };
  show(place);
  return place;
}

async function followFrom(place: Place, signal: AbortSignal, onLive: () => void): Promise<void> {
  const silence = new AbortController();
  let timer = setTimeout(() => silence.abort(), SILENCE_MS);
  const query = new URLSearchParams({ since: String(place.seq), instance: place.instance });
  try {
    const lines = askLines(`/v1/events?${query.toString()}`, AbortSignal.any([signal, silence.signal]));
    for await (const line of lines) {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MS);
      take(place, line as StreamLine);
      onLive();
      connection.value = 'live';
      trouble.value = null;
    }
  } catch (error) {
    if (!silence.signal.aborted) throw error;
  } finally {
    clearTimeout(timer);
  }
}

function take(place: Place, line: StreamLine): void {
  if (line.type === 'hello') {
    if (line.instance !== place.instance)
      throw new Gap('The daemon was started again: the page has read its state anew.');
    return;
  }
  if (line.type === 'gap') throw new Gap('Events were missed while the connection was away: all was read anew.');
  // `alive`, and lines of a newer daemon.
  if (!('seq' in line)) return;
  if (line.seq <= place.seq) return;
  if (line.seq !== place.seq + 1) throw new Gap('Events were missed: all was read anew.');
  place.seq = line.seq;
  place.station.onEvent(line);
  place.rates.onEvent(line);
  show(place);
  for (const listener of listeners) listener(line);
}

let shown: Place | undefined;
let timer: ReturnType<typeof setTimeout> | undefined;

function show(place: Place): void {
  shown = place;
  timer ??= setTimeout(() => {
    timer = undefined;
    if (shown === undefined) return;
    view.value = shown.station.view;
    rates.value = new Map(shown.rates.all);
  }, FRAME_MS);
}

/** Not what was true when it was last looked at. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}

/** The browser's window, which tells when there is a network again. */
const network = globalThis as unknown as EventTarget;

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(waiting);
      network.removeEventListener('online', done);
      resolve();
    };
    const waiting = setTimeout(done, ms);
    network.addEventListener('online', done);
    signal.addEventListener('abort', done, { once: true });
  });
}
