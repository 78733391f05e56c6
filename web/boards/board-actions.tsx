/** What can be done with a board, wherever it is shown. */

import { printable } from '../../src/printable.ts';
import { ask } from '../api.ts';
import { attempt, tell } from '../parts/notice.tsx';
import { linkTo } from '../route.ts';

export function backUp(mac: string, name: string): Promise<void> {
  return attempt(async () => {
    await ask('/v1/jobs', { method: 'POST', body: { kind: 'backup', board: mac } });
    tell(`The backup of ${name} has begun`);
  });
}

export function BoardActions({ mac, name }: { mac: string; name: string }) {
  const shown = printable(name);
  return (
    <div class="actions">
      <a class="button" href={linkTo(['boards', mac, 'restore'])} aria-label={`Restore ${shown}`}>
        Restore
      </a>
      <button type="button" onClick={() => void backUp(mac, shown)} aria-label={`Back up ${shown}`}>
        Back up
      </button>
    </div>
  );
}
