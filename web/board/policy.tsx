/** What the policy would do with the backups of one board. Asked for with a button: it judges the whole archive. */

import { useState } from 'preact/hooks';
import { plural } from '../../src/cli/text.ts';
import { printable } from '../../src/printable.ts';
import { isAbout } from '../board-feed.ts';
import type { RetentionDocument } from '../documents.ts';
import { ErrorNotice } from '../parts/notice.tsx';
import { useDocument } from '../use-document.ts';

export function Policy({ mac }: { mac: string }) {
  const [isWanted, setWanted] = useState(false);
  const { document, error } = useDocument<RetentionDocument>(isWanted ? '/v1/retention' : null, isAbout(mac));
  if (!isWanted) {
    return (
      <p>
        <button type="button" class="plain" onClick={() => setWanted(true)}>
          What would the policy remove?
        </button>
      </p>
    );
  }
  const own = document?.backups.filter((backup) => backup.mac === mac) ?? [];
  const going = own.filter(({ stays }) => !stays);
  return (
    <section class="card" aria-labelledby="policy">
      <h2 id="policy">What the policy would remove</h2>
      {error !== null && <ErrorNotice error={error} />}
      {document === undefined && error === null && <p role="status">Looking…</p>}
      {document?.policy === null && <p>There is no policy: nothing is ever removed.</p>}
      {document !== undefined && document.policy !== null && (
        <>
          <p role="status">
            {going.length === 0 ? 'Nothing of this board.' : `${going.length} of ${plural(own.length, 'backup')}.`}
          </p>
          <ul class="plain-list">
            {own.toReversed().map(({ id, stays, reasons }) => (
              <li key={id}>
                <span class="mono">{id}</span> <strong>{stays ? 'stays' : 'goes'}</strong>
                <br />
                <span class="detail">{reasons.map(({ text }) => printable(text)).join('; ')}</span>
              </li>
            ))}
          </ul>
        </>
      )}
    </section>
  );
}
