/** Goes on with a restore that was interrupted, as it was begun. */

import { ask } from '../api.ts';
import { attempt } from '../parts/notice.tsx';
import { goTo, linkTo } from '../route.ts';

export function FinishButton({ mac }: { mac: string }) {
  const finish = () =>
    attempt(async () => {
      const { job } = await ask<{ job: number }>('/v1/jobs', { method: 'POST', body: { kind: 'finish', board: mac } });
      goTo(linkTo(['jobs', String(job)]));
    });
  return (
    <button type="button" class="primary" onClick={() => void finish()}>
      Finish the restore
    </button>
  );
}
