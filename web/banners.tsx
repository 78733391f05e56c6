/** What everybody should know, whatever they look at: the connection, and what was missed. */

import { stationText } from '../src/archive/station-text.ts';
import { printable } from '../src/printable.ts';
import { boardsDocument } from './board-names.ts';
import { connection, missed, trouble, view } from './live.ts';
import { linkTo, route } from './route.ts';
import { FinishButton } from './restore/begin-buttons.tsx';

export function ConnectionBanner() {
  const { value: error } = trouble;
  return (
    <>
      {connection.value === 'lost' && (
        <div class="banner bad" role="status">
          <p>
            <strong>{error?.message ?? 'The connection to the station is lost'}.</strong> What stands here may be old.
            The page goes on by itself. {error?.hint}
          </p>
        </div>
      )}
      {missed.value !== null && (
        <div class="banner" role="status">
          <p>{missed.value}</p>
          <button type="button" class="plain" onClick={() => (missed.value = null)}>
            Dismiss
          </button>
        </div>
      )}
    </>
  );
}

/** Restores that wait for somebody: for a yes, or to be finished. */
export function RestoreBanner() {
  const { path } = route.value;
  const isShown = (job: number) => path[0] === 'jobs' && path[1] === String(job);
  const asking = view.value.jobs.filter(({ phase, job }) => phase === 'confirmation' && !isShown(job));
  const running = new Set<string | null>(
    view.value.jobs.filter(({ kind, endedAt }) => kind === 'restore' && endedAt === null).map(({ mac }) => mac),
  );
  const half = boardsDocument.value?.boards.filter(
    ({ halfRestored, mac }) => halfRestored !== null && !running.has(mac),
  );
  return (
    <>
      {asking.map(({ job, mac }) => (
        <div key={job} class="banner warn" role="status">
          <p>
            <strong>A restore waits for your answer</strong>
            {mac === null ? '' : ` (${mac})`}. Until then its board stays in download mode.
          </p>
          <a class="button" href={linkTo(['jobs', String(job)])}>
            Look at its plan
          </a>
        </div>
      ))}
      {half?.map(({ mac, label, halfRestored }) => (
        <div key={mac} class="banner bad" role="status">
          <p>
            <strong>
              The restore of {printable(label ?? mac)} was interrupted
              {halfRestored?.station !== undefined && ` at ${stationText(halfRestored.station)}`}.
            </strong>{' '}
            The board does not start before it is finished. Plug it in
            {halfRestored?.station !== undefined && ', there or here'}.
          </p>
          <FinishButton mac={mac} />
        </div>
      ))}
    </>
  );
}
