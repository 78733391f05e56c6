/** What people read of the daemon's work: one log line for each outcome, and the status in one line. */

import { EspdError, hasCode } from '../errors.ts';
import type { LogFields, Logger } from '../log.ts';
import type { Mac } from '../mac.ts';
import type { PortInfo } from '../serial/ports.ts';
import { notBack } from '../plugs/follow.ts';
import type { Retry } from '../plugs/retry.ts';
import type { ResetInto } from '../plugs/slots.ts';
import { type PortRules, decide } from '../serial/rules.ts';
import type { BackupOutcome } from '../transfer/backup.ts';
import { type SessionResult, stuckError } from '../transfer/session.ts';

/** Where a job was when it failed. */
export interface FailedJob {
  readonly port: PortInfo;
  /** Undefined when no board had answered yet. */
  readonly mac: Mac | undefined;
  readonly rules: PortRules;
  /** When it is tried again without being plugged in anew. */
  readonly retry: Retry | undefined;
}

export class Report {
  readonly #log: Logger;
  readonly #onStatus: (status: string) => void;
  #lastStatus = '';
  #backups = 0;
  #failures = 0;

  constructor(log: Logger, onStatus: (status: string) => void = () => undefined) {
    this.#log = log;
    this.#onStatus = onStatus;
  }

  success(port: PortInfo, result: SessionResult<BackupOutcome>): void {
    const { backup, transfer, unchanged } = result.value;
    const { mac, id } = backup;
    const { sizeBytes, aliasedAtBytes } = backup.manifest.flash;
    this.#backups++;
    this.#log.info(unchanged ? 'Unchanged since its last backup' : 'Backed up and verified', {
      port: port.address,
      mac,
      id,
      sizeBytes,
      flashBytesRead: transfer.flashBytesRead,
      wireBytes: result.wireBytes,
      seconds: Number(result.seconds.toFixed(2)),
    });
    if (!unchanged && aliasedAtBytes !== null) {
      const fields = { port: port.address, mac, id, sizeBytes, aliasedAtBytes };
      this.#log.warn('The flash repeats itself: it is smaller than it claims', fields);
    }
    // The backup is kept, and yet the board's owner has an outage.
    if (result.left === 'stuck') this.#error(port, mac, stuckError(port));
  }

  failure({ port, mac, rules, retry }: FailedJob, error: EspdError): void {
    const next = retry === undefined ? {} : { retry: `in ${Math.round(retry.waitMs / 1000)} s` };
    const fields = { ...fieldsOf(port, mac, error), ...next };
    if (error.code === 'interrupted') {
      this.#log.info('Stopped in the middle of a job; nothing incomplete was kept', fields);
    } else if (error.code === 'no-answer' && mac === undefined && decide(port, rules).known === 'bridge') {
      // Silence of something that was only perhaps a board is no fault.
      this.#log.info(error.message, retry ? fields : { ...fields, note: 'left alone until it is plugged in again' });
    } else if (error.code === 'port-busy' && retry !== undefined) {
      // Whoever has it may have good reason, and is often done in seconds: ModemManager looks at each new port.
      this.#log.warn(error.message, fields);
    } else if (error.code === 'half-restored') {
      // No fault of this job; but somebody must finish what they began.
      this.#failures++;
      this.#log.warn(error.message, fields);
    } else {
      this.#error(port, mac, error, next);
    }
  }

  /** A board that was reset has not come back to its port. */
  missing(port: PortInfo, mac: Mac | undefined, into: ResetInto, waitedMs: number): void {
    const error = notBack(port, into, waitedMs);
    if (into === 'download-mode') this.#error(port, mac, error);
    else this.#log.warn(error.message, fieldsOf(port, mac, error));
  }

  status(activeCount: number, waitingCount: number): void {
    const boards = `${activeCount} board${activeCount === 1 ? '' : 's'}`;
    const waiting = waitingCount === 0 ? '' : `, ${waitingCount} waiting`;
    const work = activeCount === 0 ? 'Waiting for boards' : `Working on ${boards}${waiting}`;
    const status = `${work}; ${this.#backups} backed up, ${this.#failures} failed since the start`;
    if (status === this.#lastStatus) return;
    this.#lastStatus = status;
    this.#onStatus(status);
  }

  #error(port: PortInfo, mac: Mac | undefined, error: EspdError, more: LogFields = {}): void {
    this.#failures++;
    this.#log.error(error.message, { ...fieldsOf(port, mac, error), ...more });
    if (hasCode(error, 'internal')) this.#log.debug('internal', { stack: (error.cause as Error | undefined)?.stack });
  }
}

function fieldsOf(port: PortInfo, mac: Mac | undefined, { code, hint }: EspdError) {
  return { port: port.address, mac, code, hint: hint === '' ? undefined : hint };
}
