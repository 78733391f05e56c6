/** Restores that begin with a button: what was interrupted is finished, what was restored is undone. Each asks first. */

import { ask } from '../api.ts';
import { view } from '../live.ts';
import { attempt } from '../parts/notice.tsx';
import { goTo, linkTo } from '../route.ts';

async function begin(kind: 'finish' | 'undo', board: string): Promise<void> {
  await attempt(async () => {
    const { job } = await ask<{ job: number }>('/v1/jobs', { method: 'POST', body: { kind, board, ...portOf(board) } });
    goTo(linkTo(['jobs', String(job)]));
  });
}

/** Where the board was seen; else all attached boards would be asked who they are, and reset. */
function portOf(board: string): { readonly port?: string } {
  const port = view.value.ports.find(({ mac }) => mac === board)?.port;
  return port === undefined ? {} : { port };
}

/** Goes on with a restore as it was begun. */
export function FinishButton({ mac }: { mac: string }) {
  return (
    <button type="button" class="primary" onClick={() => void begin('finish', mac)}>
      Finish the restore
    </button>
  );
}

/** Back to what was on the board before its last restore, or its last change. */
export function UndoButton({ mac }: { mac: string }) {
  return (
    <button type="button" onClick={() => void begin('undo', mac)}>
      Undo
    </button>
  );
}
