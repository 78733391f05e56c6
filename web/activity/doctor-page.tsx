/** What is wrong with the set-up, and the command that mends it. */

import { printable } from '../../src/printable.ts';
import type { DoctorDocument } from '../documents.ts';
import { ErrorNotice, attempt, tell } from '../parts/notice.tsx';
import { useDocument } from '../use-document.ts';

type Check = DoctorDocument['checks'][number];

/** What is worst comes first; a status of a newer daemon after them. */
const ORDER = ['problem', 'note', 'ok'];

export function DoctorPage() {
  const { document, error, isLoading, reload } = useDocument<DoctorDocument>('/v1/doctor');
  const checks = (document?.checks ?? []).toSorted((a, b) => rankOf(a) - rankOf(b));
  const fine = checks.filter(({ status }) => status === 'ok');
  return (
    <>
      <div class="heading">
        <h1>Doctor</h1>
        <p class="detail" role="status">
          {isLoading
            ? 'Examining…'
            : document?.ok === true
              ? 'Nothing is wrong'
              : document === undefined
                ? ''
                : 'See below'}
        </p>
        <button type="button" disabled={isLoading} onClick={reload}>
          Examine again
        </button>
      </div>
      {error !== null && <ErrorNotice error={error} />}
      <ul class="findings">
        {checks
          .filter(({ status }) => status !== 'ok')
          .map((check) => (
            <Finding key={check.id} check={check} />
          ))}
      </ul>
      {fine.length > 0 && (
        <section class="card" aria-labelledby="fine">
          <h2 id="fine">In order</h2>
          <ul class="plain-list">
            {fine.map(({ id, title }) => (
              <li key={id}>
                <span class="badge good">ok</span> {printable(title)}
              </li>
            ))}
          </ul>
        </section>
      )}
    </>
  );
}

function rankOf({ status }: Check): number {
  const rank = ORDER.indexOf(status);
  return rank < 0 ? ORDER.length : rank;
}

const KINDS: Readonly<Record<string, string>> = { ok: 'good', problem: 'bad', note: 'warn' };

function Finding({ check: { status, title, detail, fix } }: { check: Check }) {
  const copy = (command: string) =>
    attempt(async () => {
      await navigator.clipboard.writeText(command);
      tell('Copied');
    });
  return (
    <li class="card">
      <div class="row">
        <span class={`badge ${KINDS[status] ?? ''}`}>{printable(status)}</span>
        <strong>{printable(title)}</strong>
      </div>
      {detail !== undefined && <p>{printable(detail)}</p>}
      {fix !== undefined && (
        <div class="command">
          <code>{fix.command}</code>
          <button
            type="button"
            onClick={() => void copy(fix.command)}
            aria-label={`Copy the command for: ${printable(title)}`}
          >
            Copy
          </button>
        </div>
      )}
    </li>
  );
}
