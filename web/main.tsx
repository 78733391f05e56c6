import { effect } from '@preact/signals';
import { render } from 'preact';
import { App } from './app.tsx';
import { openSession, session } from './api.ts';
import { followBoards } from './board-names.ts';
import { followStation } from './live.ts';
import { followWithSound } from './ports/chimes.ts';
import { rememberPlaces } from './ports/places.ts';
import { followAddress } from './route.ts';

followAddress();
followBoards();
followWithSound();
rememberPlaces();
const root = document.getElementById('app');
if (root !== null) render(<App />, root);

/** The station is followed from a login on, until the session ends. */
let following: AbortController | undefined;
effect(() => {
  const isOpen = session.value !== 'unknown' && 'csrf' in session.value;
  if (isOpen && following === undefined) {
    following = new AbortController();
    void followStation(following.signal);
  } else if (!isOpen) {
    following?.abort();
    following = undefined;
  }
});

async function begin(): Promise<void> {
  for (;;) {
    try {
      await openSession();
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 2000));
    }
  }
}
void begin();
