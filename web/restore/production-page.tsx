/** Begins a restore onto many boards: which image, and how many. */

import { useState } from 'preact/hooks';
import { printable } from '../../src/printable.ts';
import { ask } from '../api.ts';
import { boardsDocument } from '../board-names.ts';
import type { Told } from '../documents.ts';
import { ErrorNotice } from '../parts/notice.tsx';
import { goTo, linkTo, route } from '../route.ts';
import { asApiError } from '../use-document.ts';

export function ProductionPage() {
  const [board, setBoard] = useState(route.value.query.get('board') ?? '');
  const [at, setAt] = useState(route.value.query.get('at') ?? 'latest');
  const [count, setCount] = useState('');
  const [error, setError] = useState<Told | null>(null);
  const [isBusy, setBusy] = useState(false);
  const boards = boardsDocument.value?.boards ?? [];
  const begin = async () => {
    setBusy(true);
    try {
      const some = Number(count) > 0 ? { count: Number(count) } : {};
      const body = { kind: 'restore', board, at, many: true, ...some };
      const { job } = await ask<{ job: number }>('/v1/jobs', { method: 'POST', body });
      goTo(linkTo(['jobs', String(job)]));
    } catch (failure) {
      setError(asApiError(failure));
      setBusy(false);
    }
  };
  return (
    <>
      <h1>Production</h1>
      <p>One image onto one board after the other. Each is proven by its chip, and counted.</p>
      <form
        class="card"
        onSubmit={(event) => {
          event.preventDefault();
          void begin();
        }}
      >
        <label class="field">
          Image of the board (MAC or label)
          <input required list="boards" value={board} onInput={({ currentTarget }) => setBoard(currentTarget.value)} />
        </label>
        <datalist id="boards">
          {boards.slice(0, 500).map(({ mac, label }) => (
            <option key={mac} value={mac}>
              {printable(label ?? '')}
            </option>
          ))}
        </datalist>
        <label class="field">
          Backup: latest, first, an id or a date
          <input required value={at} onInput={({ currentTarget }) => setAt(currentTarget.value)} />
        </label>
        <label class="field">
          How many boards (empty: until it is ended)
          <input type="number" min={1} value={count} onInput={({ currentTarget }) => setCount(currentTarget.value)} />
        </label>
        {error !== null && <ErrorNotice error={error} />}
        <div class="actions">
          <button type="submit" class="primary" disabled={isBusy}>
            See what it does
          </button>
        </div>
      </form>
    </>
  );
}
