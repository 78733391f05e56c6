/** What a restore is going to do: what differs, what is at risk, how long it takes. */

import { formatSize, plural } from '../../src/cli/text.ts';
import { printable } from '../../src/printable.ts';
import { firmwareText } from '../board/time-line.tsx';
import type { PlanDocument } from '../documents.ts';
import { Exactly } from '../parts/when.tsx';

export function Plan({ plan }: { plan: PlanDocument }) {
  const { backup, board, parts, risks, estimate, scope, kept } = plan;
  return (
    <>
      <dl class="card facts">
        <dt>Board</dt>
        <dd>
          <span class="mono">{board.mac}</span> · {printable(board.chip)} {printable(board.revision)} at{' '}
          {printable(board.port)}
        </dd>
        <dt>Backup</dt>
        <dd>
          <Exactly at={backup.createdAt} /> · {printable(backup.why)} · {printable(firmwareText(backup.firmware))}
          {backup.mac === board.mac ? '' : ` · of another board: ${backup.mac}`}
          {!backup.confirmed && <span class="badge warn">No chip has confirmed it</span>}
        </dd>
        <dt>Differs</dt>
        <dd>
          {plural(plan.sectors, 'sector')} ({formatSize(plan.bytes)})
          {scope === null ? '' : `, confined to ${scope.map(({ name }) => printable(name ?? 'a range')).join(', ')}`}
        </dd>
        <dt>Takes</dt>
        <dd>
          about {durationText(estimate.seconds)}
          {plan.snapshot.kind === 'made' ? ', and the backup before it' : ''}
        </dd>
        <dt>What is there now</dt>
        <dd>{snapshotText(plan)}</dd>
        {kept.parts.length > 0 && (
          <>
            <dt>Stays</dt>
            <dd>{kept.parts.map(({ name }) => printable(name ?? '')).join(', ')}</dd>
          </>
        )}
      </dl>
      {risks.length > 0 && (
        <section class="notice warn" aria-labelledby="risks">
          <h2 id="risks">At risk</h2>
          <ul>
            {risks.map((risk) => (
              <li key={risk}>{printable(risk)}.</li>
            ))}
          </ul>
        </section>
      )}
      {parts.length > 0 && (
        <div class="card scroll">
          <table>
            <caption class="sr">What differs, by partition</caption>
            <thead>
              <tr>
                <th scope="col">Part</th>
                <th scope="col" class="number">
                  Sectors
                </th>
                <th scope="col">Addresses</th>
              </tr>
            </thead>
            <tbody>
              {parts.map(({ name, sectors, from, to }) => (
                <tr key={`${name}${from}`}>
                  <td>{printable(name)}</td>
                  <td class="number">{sectors}</td>
                  <td class="mono">
                    0x{from.toString(16)} to 0x{to.toString(16)}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </>
  );
}

function snapshotText({ snapshot, halfRestored }: PlanDocument): string {
  if (halfRestored !== null) return 'is half of two images: an earlier restore was interrupted';
  switch (snapshot.kind) {
    case 'made':
      return 'is backed up first';
    case 'exists':
      return `is in the archive: ${snapshot.id}`;
    case 'none':
      return snapshot.because === 'blank' ? 'is blank' : 'is not kept';
  }
}

/** `20 s`, `2 min 5 s`. */
export function durationText(seconds: number): string {
  const whole = Math.max(1, Math.round(seconds));
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}
