/** The yes to a plan: the last four digits of the MAC, which somebody has to look at to type. */

import { useState } from 'preact/hooks';
import { ask } from '../api.ts';
import { attempt } from '../parts/notice.tsx';

interface ConfirmationProps {
  readonly job: number;
  /** Of the board that is meant; null = it is not known, and a word is typed in its place. */
  readonly mac: string | null;
  /** What the button says. */
  readonly what: string;
  readonly onNo: () => Promise<void>;
}

/** `37a5` of `50:02:91:c3:37:a5`. */
export function lastDigits(mac: string): string {
  return mac.replaceAll(':', '').slice(-4);
}

export function Confirmation({ job, mac, what, onNo }: ConfirmationProps) {
  const [typed, setTyped] = useState('');
  const [isBusy, setBusy] = useState(false);
  const wanted = mac === null ? 'yes' : lastDigits(mac);
  const isRight = typed.toLowerCase().replace(/[^0-9a-z]/g, '') === wanted;
  const confirm = async () => {
    setBusy(true);
    await attempt(() => ask(`/v1/jobs/${job}/confirm`, { method: 'POST', body: { confirm: true } }));
    setBusy(false);
  };
  return (
    <form
      class="card"
      onSubmit={(event) => {
        event.preventDefault();
        if (isRight) void confirm();
      }}
    >
      <label class="field">
        {mac === null ? 'Type yes' : `Type the last four digits of the MAC (${mac})`}
        <input
          class="mono confirm"
          autocomplete="off"
          autocapitalize="off"
          spellcheck={false}
          value={typed}
          onInput={({ currentTarget }) => setTyped(currentTarget.value)}
        />
      </label>
      <div class="actions">
        <button type="submit" class="danger" disabled={!isRight || isBusy}>
          {what}
        </button>
        <button type="button" onClick={() => void onNo()}>
          No, leave the board as it is
        </button>
      </div>
      <p class="detail">Until you say yes or no, the board stays in download mode.</p>
    </form>
  );
}
