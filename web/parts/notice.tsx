/** Sentences that somebody should see: what went wrong and what to do about it, and what was done. */

import { signal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { printable } from '../../src/printable.ts';
import type { Told } from '../documents.ts';
import { asApiError } from '../use-document.ts';

export function ErrorNotice({ error, children }: { error: Told; children?: ComponentChildren }) {
  return (
    <div class="notice bad" role="alert">
      <p>
        <strong>{printable(error.message)}</strong> <span class="code">{error.code}</span>
      </p>
      {error.hint !== '' && <p>{printable(error.hint)}</p>}
      {children}
    </div>
  );
}

/** What the last thing that somebody did here came to; null = nothing to tell. */
const toast = signal<{ readonly kind: 'good' | 'bad'; readonly message: string; readonly hint: string } | null>(null);

export function tell(message: string): void {
  toast.value = { kind: 'good', message, hint: '' };
}

/** Does what somebody asked for with a button; what goes wrong is told. */
export async function attempt(work: () => Promise<unknown>): Promise<void> {
  toast.value = null;
  try {
    await work();
  } catch (error) {
    const { message, hint } = asApiError(error);
    toast.value = { kind: 'bad', message, hint };
  }
}

export function Toast() {
  const { value } = toast;
  return (
    <div class="toast" aria-live="assertive">
      {value !== null && (
        <div class={`notice ${value.kind}`}>
          <div>
            <p>
              <strong>{printable(value.message)}</strong>
            </p>
            {value.hint !== '' && <p>{printable(value.hint)}</p>}
          </div>
          <button type="button" class="plain" onClick={() => (toast.value = null)}>
            Dismiss
          </button>
        </div>
      )}
    </div>
  );
}
