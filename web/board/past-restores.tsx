/** What was restored to a board, and the way back. */

import { printable } from '../../src/printable.ts';
import { nameOf } from '../board-names.ts';
import type { BoardDocument, PastRestore } from '../documents.ts';
import { When } from '../parts/when.tsx';
import { UndoButton } from '../restore/begin-buttons.tsx';
import { linkTo } from '../route.ts';

export function PastRestores({ document: { board, backups, restores } }: { document: BoardDocument }) {
  // Where nothing was restored, what changed last can be undone.
  const canUndo = restores.length > 0 || backups.length > 1;
  if (!canUndo) return null;
  return (
    <section class="stack" aria-labelledby="past-restores">
      <div class="heading">
        <h2 id="past-restores">Restores</h2>
        {board.halfRestored === null && <UndoButton mac={board.mac} />}
      </div>
      <p class="detail">
        {restores.length === 0
          ? 'None yet. Undo goes back to what was there before the last change.'
          : 'Undo goes back to what was there before the last one.'}{' '}
        It shows its plan first.
      </p>
      {restores.length > 0 && (
        <ol class="plain-list" reversed>
          {restores.toReversed().map((restore) => (
            <li key={`${restore.at} ${restore.from.id}`}>
              <Restore restore={restore} mac={board.mac} />
            </li>
          ))}
        </ol>
      )}
    </section>
  );
}

function Restore({ restore: { at, from, snapshot, partial }, mac }: { restore: PastRestore; mac: string }) {
  return (
    <>
      <When at={at} />: <a href={linkTo(['boards', from.mac], { at: from.id })}>{from.id}</a>
      {from.mac === mac ? '' : ` of ${printable(nameOf(from.mac))}`}
      {partial ? ', a part of it' : ''}
      <br />
      <span class="detail">
        {snapshot === null ? (
          'What was there before was not kept.'
        ) : (
          <>
            Before: <a href={linkTo(['boards', mac], { at: snapshot })}>{snapshot}</a>
          </>
        )}
      </span>
    </>
  );
}
