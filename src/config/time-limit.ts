/** A limit of time for work that does not yield: the event loop is deaf meanwhile, to signals as well. */

import vm from 'node:vm';

const TIMEOUT = 'ERR_SCRIPT_EXECUTION_TIMEOUT';

/**
 * Runs `work` and returns its result; V8 ends it when it is still running after `limitMs`, wherever it is.
 *
 * `work` must not wait for anything, and must leave nothing behind that a stop in its middle would spoil.
 * @throws what `work` throws; {@link isTimeout} recognises the end by the limit
 */
export function withTimeLimit<T>(limitMs: number, work: () => T): T {
  // The watchdog of node:vm ends whatever runs on the thread, and not only code of the context (vm.Script.runInContext).
  return vm.runInNewContext('work()', { work }, { timeout: limitMs }) as T;
}

export function isTimeout(error: unknown): boolean {
  // An Error of the other context, so that instanceof does not know it.
  return typeof error === 'object' && error !== null && 'code' in error && error.code === TIMEOUT;
}
