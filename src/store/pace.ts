/** A bound on bandwidth: who wants to send waits until it is its turn. */

import { type Clock, sleep } from '../clock.ts';

/** After a pause so much may go at once, in ms of the bandwidth. */
const BURST_MS = 250;

/** @param bytesPerSecond null: there is no bound */
export function paceTo(
  bytesPerSecond: number | null,
  clock: Clock,
): (bytes: number, signal?: AbortSignal) => Promise<void> {
  if (bytesPerSecond === null) return () => Promise.resolve();
  /** When what was promised so far will have gone. */
  let freeAtMs = clock.now();
  return async (bytes, signal) => {
    const nowMs = clock.now();
    const startMs = Math.max(freeAtMs, nowMs - BURST_MS);
    freeAtMs = startMs + (bytes / bytesPerSecond) * 1000;
    if (startMs > nowMs) await sleep(clock, startMs - nowMs, signal);
  };
}
