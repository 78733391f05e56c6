/** One image onto many boards: a screen for the bench, with large counters, and a report to print. */

import { plural } from '../../src/cli/text.ts';
import { markOf, phaseWord } from '../../src/cli/station/words.ts';
import { printable } from '../../src/printable.ts';
import { ask } from '../api.ts';
import { view } from '../live.ts';
import { Bar } from '../parts/bar.tsx';
import { ErrorNotice, attempt } from '../parts/notice.tsx';
import { Exactly } from '../parts/when.tsx';
import { Confirmation } from './confirmation.tsx';
import { type JobDocument, agreedText, isWaiting, plainQuestion } from './job-document.ts';

export function Production({ job }: { job: JobDocument }) {
  const { boards = [], counts = { passed: 0, failed: 0, skipped: 0 } } = job;
  const stop = () => attempt(() => ask(`/v1/jobs/${job.job}`, { method: 'DELETE' }));
  if (isWaiting(job)) {
    const question = job.question ?? '';
    // There is no board yet: the question names the one that the image is of.
    const mac = /\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b/.exec(question)?.[0] ?? null;
    return (
      <>
        <h1>Restore onto many boards?</h1>
        <p class="card">{plainQuestion(question)}</p>
        <p class="notice warn">Every board that is plugged in from then on is written to, without another question.</p>
        <Confirmation job={job.job} mac={mac} what="Begin" onNo={stop} />
      </>
    );
  }
  const isRunning = job.endedAt === null;
  const last = boards.at(-1);
  return (
    <>
      <div class="heading">
        <h1>Production</h1>
        <p class="detail">
          Job {job.job}, since <Exactly at={job.queuedAt} />
        </p>
        <div class="actions">
          <button type="button" onClick={() => print()}>
            Print the report
          </button>
          {isRunning && (
            <button type="button" onClick={() => void stop()}>
              End it
            </button>
          )}
        </div>
      </div>
      {job.agreed && <p>{agreedText(job.agreed)}</p>}
      <div class="counters" role="status">
        <p class="counter good">
          <span>{counts.passed}</span> passed
        </p>
        <p class="counter bad">
          <span>{counts.failed}</span> failed
        </p>
        <p class="counter">
          <span>{counts.skipped}</span> skipped
        </p>
      </div>
      {isRunning && <NowAtWork last={last?.verdict} />}
      {!isRunning && job.error !== null && job.failure !== 'stopped' && <ErrorNotice error={job.error} />}
      {!isRunning && <p>It has ended: {plural(boards.length, 'board')}.</p>}
      <div class="card scroll">
        <table>
          <caption class="sr">Boards, the newest first</caption>
          <thead>
            <tr>
              <th scope="col">Result</th>
              <th scope="col">MAC</th>
              <th scope="col">Port</th>
              <th scope="col">What</th>
            </tr>
          </thead>
          <tbody>
            {boards
              .map(({ verdict, mac, port, error, sectorsWritten }, index) => (
                <tr key={index}>
                  <td>
                    <span class={`badge ${BADGES[verdict]}`}>{verdict.toUpperCase()}</span>
                  </td>
                  <td class="mono">{mac ?? '—'}</td>
                  <td>{printable(port ?? '—')}</td>
                  <td>
                    {printable(
                      error?.message ?? (sectorsWritten === undefined ? '' : `${sectorsWritten} sectors written`),
                    )}
                  </td>
                </tr>
              ))
              .toReversed()}
          </tbody>
        </table>
      </div>
    </>
  );
}

const BADGES = { pass: 'good', fail: 'bad', skip: '' } as const;

function NowAtWork({ last }: { last: 'pass' | 'fail' | 'skip' | undefined }) {
  const busy = view.value.ports.filter(({ state, heldBy }) => state === 'working' || heldBy !== null);
  const mark = last === undefined ? 'PLUG IN THE FIRST BOARD' : { pass: 'PASS', fail: 'FAIL', skip: 'SKIPPED' }[last];
  return (
    <div class={`outcome at-work ${last === 'pass' ? 'good' : last === 'fail' ? 'bad' : ''}`}>
      <p class="huge">{mark}</p>
      {last !== undefined && <p>Plug in the next board.</p>}
      {busy.map((port) => (
        <div key={port.port}>
          <p>
            {printable(port.port)}: {port.phase === null ? markOf(port).mark : phaseWord(port.phase)}
          </p>
          <Bar label={printable(port.port)} percent={null} />
        </div>
      ))}
    </div>
  );
}
