/** The wall of a workshop: a tile for each port. */

import { plural } from '../../src/cli/text.ts';
import { view } from '../live.ts';
import { sound } from '../settings.ts';
import { chime } from './chimes.ts';
import { places } from './places.ts';
import { PortTile } from './port-tile.tsx';

export function PortsPage() {
  const { counters } = view.value;
  return (
    <>
      <div class="heading">
        <h1>Ports</h1>
        <p class="detail" role="status">
          {summary()}
        </p>
        <SoundSwitch />
      </div>
      {places.value.length === 0 ? (
        <div class="notice">
          <p>
            <strong>Nothing is plugged in.</strong> Plug a board in: it is backed up by itself, and its tile says when
            it may be unplugged.
          </p>
        </div>
      ) : (
        <ul class="tiles">
          {places.value.map((place) => (
            <PortTile key={place.port} place={place} />
          ))}
        </ul>
      )}
      <p class="detail">
        Since the daemon began: {plural(counters.backups, 'backup')}, {counters.unchanged} unchanged,{' '}
        {counters.failures} failed.
      </p>
    </>
  );
}

/** For a screen reader, which is told of changes of it. */
function summary(): string {
  const { ports } = view.value;
  const count = (state: string) => ports.filter((port) => port.state === state).length;
  const parts = (['working', 'waiting', 'done', 'failed', 'held'] as const)
    .filter((state) => count(state) > 0)
    .map((state) => `${count(state)} ${state}`);
  return parts.length === 0 ? 'Waiting for boards' : parts.join(', ');
}

function SoundSwitch() {
  const isOn = sound.value === 'on';
  const toggle = () => {
    sound.value = isOn ? 'off' : 'on';
    if (!isOn) chime('done');
  };
  return (
    <button type="button" aria-pressed={isOn} onClick={toggle}>
      Sound {isOn ? 'on' : 'off'}
    </button>
  );
}
