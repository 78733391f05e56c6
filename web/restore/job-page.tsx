/** A job that a person has begun: its plan and the question, its progress, and what it came to. */

import { timeLeft } from '../../src/cli/progress.ts';
import { formatSize, plural } from '../../src/cli/text.ts';
import { phaseWord } from '../../src/cli/station/words.ts';
import type { ServiceEvent } from '../../src/daemon/event-types.ts';
import { printable } from '../../src/printable.ts';
import { ask } from '../api.ts';
import { nameOf } from '../board-names.ts';
import { rates, view } from '../live.ts';
import { Bar } from '../parts/bar.tsx';
import { ErrorNotice, attempt } from '../parts/notice.tsx';
import { linkTo } from '../route.ts';
import { useDocument } from '../use-document.ts';
import { Confirmation } from './confirmation.tsx';
import { FinishButton } from './begin-buttons.tsx';
import { type JobDocument, isWaiting } from './job-document.ts';
import { Plan } from './plan.tsx';
import { Production } from './production.tsx';
import { Steps } from './walk.tsx';

export function JobPage({ id }: { id: number }) {
  const { document: read, error } = useDocument<JobDocument>(`/v1/jobs/${id}`, (event) => isAbout(event, id));
  if (read === undefined) {
    return (
      <>
        <h1>Job {id}</h1>
        {error === null ? <p role="status">Looking…</p> : <ErrorNotice error={error} />}
      </>
    );
  }
  // Progress comes by the events, the rest by the document.
  const live = view.value.jobs.find(({ job }) => job === id);
  const job: JobDocument = { ...read, ...live };
  if (job.boards !== undefined) return <Production job={job} />;
  return <Restore job={job} />;
}

function isAbout(event: ServiceEvent, id: number): boolean {
  if (!('job' in event) || event.job !== id) return false;
  return event.type !== 'job-progress' || event.phase === 'confirmation' || event.phase === 'confirmed';
}

function Restore({ job }: { job: JobDocument }) {
  const plan = job.plan ?? null;
  const mac = plan?.board.mac ?? job.mac;
  const name = mac === null ? `job ${job.job}` : nameOf(mac);
  const stop = () => attempt(() => ask(`/v1/jobs/${job.job}`, { method: 'DELETE' }));
  if (isWaiting(job)) {
    return (
      <>
        <h1>Restore {printable(name)}?</h1>
        <Steps at={1} />
        {plan === null ? (
          <pre class="card">{(job.question ?? '').split('\n').map(printable).join('\n')}</pre>
        ) : (
          <Plan plan={plan} />
        )}
        <Confirmation
          job={job.job}
          mac={mac}
          what={plan === null ? 'Write' : `Write ${formatSize(plan.bytes)}`}
          onNo={stop}
        />
      </>
    );
  }
  if (job.endedAt === null) {
    return (
      <>
        <h1>{plan === null ? 'Looking at the board' : `Restoring ${printable(name)}`}</h1>
        <Steps at={plan === null ? 1 : 2} />
        <Progress job={job} />
        <div class="actions">
          <button type="button" onClick={() => void stop()}>
            Stop
          </button>
        </div>
        {plan !== null && (
          <p class="notice warn">
            Leave the board plugged in. If it is pulled out now, it is half restored until the restore is finished.
          </p>
        )}
      </>
    );
  }
  return <Outcome job={job} mac={mac} />;
}

function Progress({ job }: { job: JobDocument }) {
  const { doneBytes, totalBytes, phase, port } = job;
  const percent = doneBytes === null || !totalBytes ? null : Math.floor((doneBytes / totalBytes) * 100);
  const rate = rates.value.get(port ?? '');
  const left =
    rate === undefined || doneBytes === null || totalBytes === null
      ? null
      : timeLeft(((totalBytes - doneBytes) / rate) * 1000);
  return (
    <div class="card">
      <p class="huge" role="status">
        {printable(phaseWord(phase))}
        {percent === null ? '' : ` ${percent} %`}
      </p>
      <Bar label="Progress of the restore" percent={percent} />
      <p class="detail">
        {[
          doneBytes === null || totalBytes === null ? null : `${formatSize(doneBytes)} of ${formatSize(totalBytes)}`,
          left,
        ]
          .filter((fact) => fact !== null)
          .join(' · ')}
      </p>
    </div>
  );
}

function Outcome({ job, mac }: { job: JobDocument; mac: string | null }) {
  const { document, error } = job;
  const again = mac !== null && (
    <div class="actions">
      <a class="button" href={linkTo(['boards', mac])}>
        To the board
      </a>
      <a class="button" href={linkTo(['boards', mac, 'restore'])}>
        Restore again
      </a>
    </div>
  );
  if (job.state === 'done') {
    const written = document?.sectorsWritten ?? 0;
    return (
      <>
        <h1>Restored {printable(mac === null ? '' : nameOf(mac))}</h1>
        <Steps at={3} />
        <div class="outcome good" role="status">
          <p class="huge">{document?.verified === true ? 'CONFIRMED' : 'DONE'}</p>
          <p>
            {document?.verified === true
              ? 'The chip’s own digests equal those of the backup. The board may be unplugged.'
              : 'The job is done.'}
          </p>
          <p>
            {written === 0
              ? 'Nothing differed: nothing was written.'
              : `Written: ${plural(written, 'sector')}, ${formatSize(written * 4096)}.`}
          </p>
          {document?.snapshot && <p>What was there before is kept: {document.snapshot}</p>}
        </div>
        {again}
      </>
    );
  }
  const isHalf = error?.code === 'half-restored' || (document ? 'halfRestored' in document : false);
  return (
    <>
      <h1>{job.failure === 'stopped' ? 'Stopped' : 'Not restored'}</h1>
      <Steps at={job.plan ? 2 : 1} />
      {error !== null && <ErrorNotice error={error} />}
      {job.failure === 'stopped' && !isHalf && <p>Nothing more is done at the board.</p>}
      {isHalf && mac !== null && <FinishButton mac={mac} />}
      {again}
    </>
  );
}
