/** What this browser remembers of how somebody likes the page. Nothing here is of any board. */

import { type Signal, effect, signal } from '@preact/signals';

function remembered(key: string, initial: string): Signal<string> {
  const setting = signal(read(key) ?? initial);
  effect(() => write(key, setting.value));
  return setting;
}

/** `auto` follows the system. */
export const theme = remembered('espd.theme', 'auto');
export const sound = remembered('espd.sound', 'off');
export const boardsAs = remembered('espd.boards', 'table');
/** Ports that were seen here, as a JSON array of addresses: an empty one keeps its tile. */
export const knownPlaces = remembered('espd.places', '[]');

effect(() => {
  document.documentElement.dataset['theme'] = theme.value;
});

/** A browser may forbid it. */
function read(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function write(key: string, value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Then it lasts as long as the page.
  }
}
