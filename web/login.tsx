/** Before there is a session: how to get one. */

import { useState } from 'preact/hooks';
import { type LoginKind, logIn } from './api.ts';
import type { Told } from './documents.ts';
import { ErrorNotice } from './parts/notice.tsx';
import { asApiError } from './use-document.ts';

export function Login({ kind }: { kind: LoginKind }) {
  return (
    <main id="main" class="narrow">
      <h1>espd</h1>
      {kind === 'password' ? <PasswordForm /> : <NewLink />}
    </main>
  );
}

function NewLink() {
  return (
    <div class="notice">
      <p>
        <strong>This link is used up.</strong> A link of <code>espd web</code> opens the page once.
      </p>
      <p>
        Run <code>espd web</code> again and open the link that it prints.
      </p>
    </div>
  );
}

function PasswordForm() {
  const [password, setPassword] = useState('');
  const [error, setError] = useState<Told | null>(null);
  const [isBusy, setBusy] = useState(false);
  const submit = async () => {
    setBusy(true);
    try {
      await logIn(password);
    } catch (failure) {
      setError(asApiError(failure));
      setPassword('');
    }
    setBusy(false);
  };
  return (
    <form
      class="stack"
      onSubmit={(event) => {
        event.preventDefault();
        void submit();
      }}
    >
      <label class="field">
        Password of this station
        <input
          type="password"
          autocomplete="current-password"
          required
          value={password}
          onInput={({ currentTarget }) => setPassword(currentTarget.value)}
        />
      </label>
      <button type="submit" class="primary" disabled={isBusy}>
        Log in
      </button>
      {error !== null && <ErrorNotice error={error} />}
    </form>
  );
}
