/** One port: what is there, and from across the room whether the board may be unplugged. */

import { timeLeft } from '../../src/cli/progress.ts';
import { clockOf, markOf, percentOf, placeOf, resultText } from '../../src/cli/station/words.ts';
import { formatSize } from '../../src/cli/text.ts';
import type { PortView } from '../../src/daemon/station.ts';
import { printable } from '../../src/printable.ts';
import { ask } from '../api.ts';
import { boardOf } from '../board-names.ts';
import { rates } from '../live.ts';
import { Bar } from '../parts/bar.tsx';
import { attempt, tell } from '../parts/notice.tsx';
import { linkTo } from '../route.ts';
import { forgetPlace, type Place } from './places.ts';

export function PortTile({ place }: { place: Place }) {
  const { port, view } = place;
  if (view === undefined) return <EmptyTile port={port} />;
  const { why } = markOf(view);
  const location = view.usb?.location ?? null;
  return (
    <li class={`tile ${view.state}`}>
      <p class="mark">
        <Mark view={view} />
      </p>
      <Who view={view} />
      {view.state === 'working' ? <Progress view={view} phase={why} /> : <Why view={view} why={why} />}
      <Actions view={view} />
      <p class="place">
        <span>{printable(placeOf(view))}</span>
        {location !== null && <span>USB {printable(location)}</span>}
      </p>
    </li>
  );
}

function EmptyTile({ port }: { port: string }) {
  return (
    <li class="tile empty">
      <p class="mark">EMPTY</p>
      <p>Plug a board in</p>
      <div class="actions">
        <button type="button" class="plain" onClick={() => forgetPlace(port)} aria-label={`Forget ${printable(port)}`}>
          Forget this place
        </button>
      </div>
      <p class="place">{printable(port)}</p>
    </li>
  );
}

/** Of a board that is worked at, how far it is: the colour says the rest, and a screen reader is told. */
function Mark({ view }: { view: PortView }) {
  const percent = view.state === 'working' ? percentOf(view) : null;
  if (percent === null) return <>{markOf(view).mark}</>;
  return (
    <>
      <span class="sr">Working </span>
      {percent} %
    </>
  );
}

function Who({ view }: { view: PortView }) {
  const { mac, chip, usb } = view;
  if (mac === null) return <h2 class="who">{printable(usb?.product ?? 'Board not known yet')}</h2>;
  const label = boardOf(mac)?.label ?? null;
  return (
    <>
      <h2 class="who">
        <a href={linkTo(['boards', mac])}>{printable(label ?? mac)}</a>
      </h2>
      <p class="detail">
        {label === null ? '' : `${mac} · `}
        {printable(chip ?? '')}
      </p>
    </>
  );
}

function Progress({ view, phase }: { view: PortView; phase: string }) {
  const { doneBytes, totalBytes, port } = view;
  const rate = rates.value.get(port);
  const left =
    rate === undefined || doneBytes === null || totalBytes === null
      ? null
      : timeLeft(((totalBytes - doneBytes) / rate) * 1000);
  const facts = [
    phase,
    doneBytes === null || totalBytes === null ? null : `${formatSize(doneBytes)} of ${formatSize(totalBytes)}`,
    rate === undefined ? null : `${formatSize(Math.round(rate))}/s`,
    left,
  ];
  return (
    <>
      <Bar label={`${printable(port)}: ${phase}`} percent={percentOf(view)} />
      <p class="detail">{facts.filter((fact) => fact !== null).join(' · ')}</p>
    </>
  );
}

function Why({ view, why }: { view: PortView; why: string }) {
  const { error, result, retryAt, state } = view;
  if (state === 'done') {
    return (
      <>
        {view.name === null && <p>It may be unplugged.</p>}
        {result !== null && <p class="detail">{resultText(result)}</p>}
      </>
    );
  }
  return (
    <>
      {why !== '' && <p class={error === null ? '' : 'sentence'}>{printable(why)}</p>}
      {error !== null && error.hint !== '' && <p class="detail">{printable(error.hint)}</p>}
      {state === 'failed' && retryAt !== null && <p class="detail">Tried again at {clockOf(retryAt)}.</p>}
    </>
  );
}

function Actions({ view }: { view: PortView }) {
  const { port, state, job } = view;
  const path = `/v1/ports/${encodeURIComponent(port)}/hold`;
  const name = printable(placeOf(view));
  const backUp = () => attempt(() => ask('/v1/jobs', { method: 'POST', body: { kind: 'backup', port } }));
  const hold = () =>
    attempt(async () => {
      await ask(path, { method: 'PUT', body: { by: 'the page' } });
      tell(`${name} is yours until it is released`);
    });
  const release = () => attempt(() => ask(path, { method: 'DELETE' }));
  const stop = () => attempt(() => ask(`/v1/jobs/${job ?? 0}`, { method: 'DELETE' }));
  return (
    <div class="actions">
      {(state === 'working' || state === 'waiting') && job !== null && (
        <button type="button" onClick={() => void stop()} aria-label={`Stop the job at ${name}`}>
          Stop
        </button>
      )}
      {(state === 'idle' || state === 'done' || state === 'failed' || state === 'left-alone') && (
        <>
          <button type="button" onClick={() => void backUp()} aria-label={`Back up the board at ${name}`}>
            Back up
          </button>
          <button type="button" class="plain" onClick={() => void hold()} aria-label={`Hold ${name}`}>
            Hold
          </button>
        </>
      )}
      {state === 'held' && (
        <button type="button" onClick={() => void release()} aria-label={`Release ${name}`}>
          Release
        </button>
      )}
    </div>
  );
}
