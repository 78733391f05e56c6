/** One board: what it is, its backups, and what is in them. */

import { printable } from '../../src/printable.ts';
import { isAbout } from '../board-feed.ts';
import { BoardActions } from '../boards/board-actions.tsx';
import { needsOf } from '../boards/attention.ts';
import type { BoardDocument, SizesDocument } from '../documents.ts';
import { view } from '../live.ts';
import { ErrorNotice } from '../parts/notice.tsx';
import { linkTo, replaceQuery, route } from '../route.ts';
import { useDocument } from '../use-document.ts';
import { AboutBoard } from './about-board.tsx';
import { BackupView } from './backup-view.tsx';
import { DiffView } from './diff-view.tsx';
import { PastRestores } from './past-restores.tsx';
import { Policy } from './policy.tsx';
import { TimeLine } from './time-line.tsx';

export function BoardPage({ mac }: { mac: string }) {
  const { document, error } = useDocument<BoardDocument>(`/v1/boards/${encodeURIComponent(mac)}`, isAbout(mac));
  const sizes = useDocument<SizesDocument>(`/v1/boards/${encodeURIComponent(mac)}/sizes`, isAbout(mac));
  if (document === undefined) {
    return error === null ? <p role="status">Reading the archive…</p> : <Unknown error={error} />;
  }
  const { board, backups, problems } = document;
  const { query } = route.value;
  const ids = backups.map(({ id }) => id);
  const compared = (query.get('compare') ?? '').split(',').filter((id) => ids.includes(id));
  const chosen = ids.find((id) => id === query.get('at')) ?? ids.at(-1);
  const [from, to] = compared.toSorted();
  return (
    <>
      <p>
        <a href={linkTo(['boards'])}>All boards</a>
      </p>
      <AboutBoard key={board.mac} board={board} diskBytes={sizes.document?.diskBytes ?? null}>
        <BoardActions mac={board.mac} name={board.label ?? board.mac} />
      </AboutBoard>
      {error !== null && <ErrorNotice error={error} />}
      {needsOf(board, view.value.attention).map(({ kind, text }) => (
        <div key={text} class={`notice ${kind}`}>
          <p>
            <strong>{printable(text)}</strong>
          </p>
        </div>
      ))}
      {problems.map(({ file, problem }) => (
        <div key={file} class="notice bad">
          <p>
            <strong>{printable(problem)}</strong>
          </p>
          <p class="mono">{printable(file)}</p>
        </div>
      ))}
      <div class="board-columns">
        <div class="stack">
          <TimeLine
            document={document}
            sizes={sizes.document}
            chosen={chosen}
            compared={compared}
            onChoose={(id) => replaceQuery({ at: id })}
            onCompare={(list) => replaceQuery({ at: chosen ?? '', compare: list.join(',') })}
          />
          <PastRestores document={document} />
          <Policy mac={board.mac} />
        </div>
        <div class="stack">
          {from !== undefined && to !== undefined ? (
            <DiffView mac={board.mac} from={from} to={to} onClose={() => replaceQuery({ at: chosen ?? '' })} />
          ) : (
            chosen !== undefined && <BackupView mac={board.mac} id={chosen} />
          )}
        </div>
      </div>
    </>
  );
}

function Unknown({ error }: { error: { code: string; message: string; hint: string } }) {
  return (
    <>
      <h1>Board</h1>
      <ErrorNotice error={error} />
      <p>
        <a href={linkTo(['boards'])}>All boards</a>
      </p>
    </>
  );
}
