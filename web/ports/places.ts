/** The places of the workshop: ports that are there, and those that were, so that an empty one keeps its tile. */

import { computed, effect } from '@preact/signals';
import type { PortView } from '../../src/daemon/station.ts';
import { view } from '../live.ts';
import { knownPlaces } from '../settings.ts';

export interface Place {
  readonly port: string;
  /** Undefined = nothing is plugged in there. */
  readonly view: PortView | undefined;
}

/** A hub has so many at most; older ones are forgotten. */
const MOST_PLACES = 64;

const remembered = computed<readonly string[]>(() => {
  try {
    const list: unknown = JSON.parse(knownPlaces.value);
    return Array.isArray(list) ? list.filter((port): port is string => typeof port === 'string') : [];
  } catch {
    return [];
  }
});

export const places = computed<readonly Place[]>(() => {
  const byPort = new Map(view.value.ports.map((port) => [port.port, port]));
  const all = new Set([...remembered.value, ...byPort.keys()]);
  return [...all]
    .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
    .map((port) => ({ port, view: byPort.get(port) }));
});

export function forgetPlace(port: string): void {
  knownPlaces.value = JSON.stringify(remembered.value.filter((one) => one !== port));
}

/** From now on ports that come are remembered. What is not ours leaves no empty place, nor does what the config names. */
export function rememberPlaces(): void {
  effect(() => {
    const { ports } = view.value;
    const there = ports.filter(({ name, state }) => name === null && state !== 'left-alone').map(({ port }) => port);
    // Of one that is being renamed an event may come before its name.
    const named = ports.filter(({ name }) => name !== null).map(({ port }) => port);
    const before = remembered.value.filter((port) => !named.includes(port));
    if (before.length === remembered.value.length && there.every((port) => before.includes(port))) return;
    // Whoever is there is never forgotten, however many they are: or each would push out another, without end.
    const empty = before.filter((port) => !there.includes(port));
    const all = [...empty, ...there].slice(-Math.max(MOST_PLACES, there.length));
    knownPlaces.value = JSON.stringify(all);
  });
}
