/**
 * Nothing is written to a board, and no backup removed, before a person has said yes: by an answer at their terminal, or by `--yes`. Whoever can
 * give neither is refused before a port is opened.
 */

import { EspdError } from '../errors.ts';
import type { Output } from './output.ts';

/** @param shown lines that the person must have seen before they answer */
export type Consent = (question: string, shown: readonly string[]) => Promise<boolean>;

export interface Deed {
  readonly infinitive: string;
  readonly participle: string;
  /** What shows it without doing it. @default '--dry-run' */
  readonly look?: string;
}

/**
 * How the person says yes.
 * @param dryRun nothing is going to be written
 * @param deed what is asked about
 * @throws EspdError `declined` where nobody can be asked and `--yes` is missing; nothing may have been touched yet
 */
export function consentOf(
  out: Output,
  { yes, dryRun }: { readonly yes: boolean; readonly dryRun: boolean },
  deed: Deed = { infinitive: 'write', participle: 'written' },
): Consent {
  const refusal = consentRefusal(out, { yes, dryRun }, deed);
  if (refusal !== null) throw refusal;
  if (yes) return () => Promise.resolve(true);
  if (dryRun) return () => Promise.resolve(false);
  return (question, shown) => out.confirm(question, shown);
}

/** `declined` where nobody can be asked and `--yes` is missing; null where the person can say yes, or need not. */
export function consentRefusal(
  out: Output,
  { yes, dryRun }: { readonly yes: boolean; readonly dryRun: boolean },
  deed: Deed,
): EspdError | null {
  if (yes || dryRun || out.canAsk) return null;
  const why = out.json ? 'With --json nobody is asked' : 'There is no terminal at which somebody could be asked';
  return new EspdError('declined', `${why} whether to ${deed.infinitive}, and nothing was touched`, {
    hint: `Add --yes to do it without a question, or ${deed.look ?? '--dry-run'} to see what would be ${deed.participle}`,
  });
}
