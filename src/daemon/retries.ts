/** The ports whose last failure may pass: when each is tried again, and whether there is anything new to say of it. */

import type { Clock } from '../clock.ts';
import type { EspdError } from '../errors.ts';
import type { JobTrace } from '../plugs/job.ts';
import { type Retry, RetryBudget, isSameTrouble } from '../plugs/retry.ts';
import { isOwnUsb } from '../plugs/slots.ts';
import type { PortInfo } from '../serial/ports.ts';

interface FailedPort {
  readonly key: string;
  readonly budget: RetryBudget;
  told: EspdError | undefined;
  cancel: () => void;
}

/** What to say about a failure. */
export interface FailureNews {
  /** Differs from what was said last of this plug-in. */
  readonly isNews: boolean;
  /** Undefined: not tried again before it is plugged in anew. */
  readonly retry: Retry | undefined;
}

export class Retries {
  readonly #clock: Clock;
  readonly #again: (port: PortInfo, retry: Retry) => void;
  readonly #ports = new Map<string, FailedPort>();

  /** @param again called when a port is due, unless it was forgotten until then */
  constructor(clock: Clock, again: (port: PortInfo, retry: Retry) => void) {
    this.#clock = clock;
    this.#again = again;
  }

  /** A job on `port` has failed; plans the next one where there is to be one. */
  failed(port: PortInfo, trace: JobTrace, error: EspdError): FailureNews {
    const known = this.#ports.get(port.address);
    const failed: FailedPort =
      known?.key === port.key
        ? known
        : { key: port.key, budget: new RetryBudget(), told: undefined, cancel: () => undefined };
    if (known !== failed) known?.cancel();
    this.#ports.set(port.address, failed);
    failed.cancel();
    const retry = failed.budget.next(error, trace, isOwnUsb(port));
    const isNews = failed.told === undefined || !isSameTrouble(failed.told, error);
    if (isNews) failed.told = error;
    failed.cancel =
      retry === undefined ? () => undefined : this.#clock.schedule(retry.waitMs, () => this.#again(port, retry));
    return { isNews, retry };
  }

  /** It is gone, or its job is done. */
  forget(address: string): void {
    this.#ports.get(address)?.cancel();
    this.#ports.delete(address);
  }

  close(): void {
    for (const address of [...this.#ports.keys()]) this.forget(address);
  }
}
