/** What becomes of a failure at a port: whether it is tried again, and what is told of it. */

import type { Clock } from '../clock.ts';
import type { EspdError } from '../errors.ts';
import type { Logger } from '../log.ts';
import type { Mac } from '../mac.ts';
import { notBack } from '../plugs/follow.ts';
import { type JobTrace, newTrace } from '../plugs/job.ts';
import type { Retry } from '../plugs/retry.ts';
import type { ResetInto } from '../plugs/slots.ts';
import type { PortInfo } from '../serial/ports.ts';
import type { PortRules } from '../serial/rules.ts';
import type { EventBus } from './events.ts';
import { failureKind } from './failure-kind.ts';
import { linkBroke } from './port-errors.ts';
import { Retries } from './retries.ts';

export interface PortFailuresParts {
  readonly clock: Clock;
  readonly events: EventBus;
  readonly log: Logger;
  readonly rules: () => PortRules;
  readonly isThere: (port: PortInfo) => boolean;
  /** A failure may have passed. */
  readonly again: (port: PortInfo, retry: Retry) => void;
}

export class PortFailures {
  readonly #parts: PortFailuresParts;
  readonly #retries: Retries;

  constructor(parts: PortFailuresParts) {
    this.#parts = parts;
    this.#retries = new Retries(parts.clock, parts.again);
  }

  /** It is gone, or its job is done. */
  forget(address: string): void {
    this.#retries.forget(address);
  }

  close(): void {
    this.#retries.close();
  }

  /** A failure that nothing is tried again for. @param job null where none ran */
  tell(port: PortInfo, job: number | null, mac: Mac | undefined, error: EspdError): void {
    this.#tell(port, job, mac, error, true, undefined);
  }

  /** A failure at a port that is still there: it may pass, and is told when it is news. */
  mayPass(port: PortInfo, job: number | null, trace: JobTrace, error: EspdError): void {
    const { isNews, retry } = this.#retries.failed(port, trace, error);
    // Where a USB port vanished, the listing will most likely say so, too.
    const isLikely = error.code !== 'port-vanished' || port.usb === null;
    this.#tell(port, job, trace.mac, error, isNews, isLikely || !isNews ? retry : undefined);
  }

  /**
   * A board that went away when it was reset, and has not come back within `waitedMs`.
   * @param mac of the board that was there
   */
  missing(port: PortInfo, mac: Mac | undefined, into: ResetInto, waitedMs: number): void {
    const { events, isThere } = this.#parts;
    if (isThere(port)) {
      this.mayPass(port, null, { ...newTrace(), wasOpened: true }, linkBroke(port));
      return;
    }
    const error = notBack(port, into, waitedMs).toJSON();
    events.emit({ type: 'board-missing', port: port.address, mac: mac ?? null, into, error });
  }

  #tell(
    port: PortInfo,
    job: number | null,
    mac: Mac | undefined,
    error: EspdError,
    isNews: boolean,
    retry: Retry | undefined,
  ): void {
    const { events, log, rules } = this.#parts;
    const failure = failureKind(error, { port, mac, rules: rules(), isRetried: retry !== undefined });
    const facts = { port: port.address, mac: mac ?? null, error: error.toJSON() };
    const retryInMs = retry?.waitMs ?? null;
    events.emit({ type: 'job-failed', job, kind: 'backup', ...facts, failure, isNews, retryInMs });
    if (error.code === 'half-restored' && isNews) events.emit({ type: 'half-restored', ...facts });
    if (error.code === 'internal') log.debug('internal', { stack: (error.cause as Error | undefined)?.stack });
  }
}
