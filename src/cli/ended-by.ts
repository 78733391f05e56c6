import { EspdError, toEspdError } from '../errors.ts';

/** What has ended a command in the middle: its signal, or what its work has thrown. What was done until then is told before it. */
export function endedBy(signal: AbortSignal, thrown: unknown): EspdError {
  if (!signal.aborted) return toEspdError(thrown);
  return signal.reason instanceof EspdError ? signal.reason : new EspdError('interrupted', 'Interrupted');
}
