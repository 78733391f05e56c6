/** Goes the ways out of `recovery.ts` when a read or a command fails: counts them, tells of them, and ends in time. */

import { EspdError, hasCode } from '../errors.ts';
import type { Flasher } from './flasher.ts';
import type { Line } from './line.ts';
import { type EspContext, isLineFault } from './loader.ts';
import { RateNotHeld } from './rate-trial.ts';
import { ReaderFault } from './reader/fault.ts';
import { type RecoveryCounts, type RecoveryStep, nextStep } from './recovery.ts';

/**
 * After so long since its first failure, no further way is tried for a region or a command. What is under way then
 * ends by limits of its own: `read-failed` comes within six minutes.
 */
const LIMIT_MS = 180_000;
/** Pieces that came through the ROM alone, each larger than the one before: the rest will hardly come another way. */
const CRAWLING_PIECES = 3;

export interface Task<T> {
  /** `read at 0x010000`. */
  readonly what: string;
  /** It is a read: other packets and the ROM can help. */
  readonly isRead: boolean;
  /** The read before it was to be had through the ROM only. */
  readonly romWasNeeded?: boolean;
  /** @param tried the steps gone so far for this task */
  work(tried: readonly RecoveryStep[]): Promise<T>;
  /** An attempt has failed, and another one follows. */
  failed?(error: EspdError): void;
}

const STEP_TEXT = {
  repeated: 'once more',
  smallerPackets: 'in smaller packets',
  reconnected: 'over a new connection',
  romReads: 'through the ROM',
};

export class Persistence {
  readonly #flasher: Flasher;
  readonly #line: Line;
  readonly #context: EspContext;
  /** Of a lower rate the line itself keeps count: there are other reasons to give one up. */
  readonly #counts: Record<Exclude<RecoveryStep, 'lowerBaudRate'>, number> = {
    repeated: 0,
    smallerPackets: 0,
    reconnected: 0,
    romReads: 0,
  };

  constructor(flasher: Flasher, line: Line, context: EspContext) {
    this.#flasher = flasher;
    this.#line = line;
    this.#context = context;
  }

  get counts(): RecoveryCounts {
    return { ...this.#counts, lowerBaudRate: this.#line.falls };
  }

  /** Steps gone so far, of all kinds. */
  get total(): number {
    return Object.values(this.counts).reduce((sum, count) => sum + count, 0);
  }

  /**
   * @throws EspdError `read-failed` when nothing helps, `no-stub-read` where the ROM might have, had it reached all of the
   *   flash; at once what is no fault of the line
   */
  async run<T>(task: Task<T>): Promise<T> {
    const { clock } = this.#context;
    const line = this.#line;
    const tried: RecoveryStep[] = [];
    const acquitRates = line.checkpoint();
    let hasErred = false;
    let giveUpAt = Infinity;
    for (;;) {
      try {
        const result = await task.work(tried);
        if (isNoFaultOfTheRate(tried)) acquitRates();
        return result;
      } catch (error) {
        if (!isRecoverable(error)) throw error;
        giveUpAt = Math.min(giveUpAt, clock.now() + LIMIT_MS);
        const step = clock.now() < giveUpAt ? await this.#stepAfter(tried, task, error) : null;
        if (step === null) {
          acquitRates();
          throw failure(task.what, tried.length + 1, error, task.isRead && this.#flasher.isBeyondRom);
        }
        // Once a task. What the reader does is another matter: the stub that reads on is a new witness.
        if (!hasErred && !(error instanceof ReaderFault)) {
          hasErred = true;
          line.erred();
        }
        tried.push(step);
        this.#note(step, task.what, error, tried.length);
        task.failed?.(error);
        if (step === 'reconnected') this.#flasher.drop();
      }
    }
  }

  async #stepAfter<T>(tried: readonly RecoveryStep[], task: Task<T>, error: EspdError): Promise<RecoveryStep | null> {
    const flasher = this.#flasher;
    // Nobody knows what runs on the chip now, and no rate is to blame.
    if (error instanceof ReaderFault) return 'reconnected';
    return nextStep({
      tried,
      answers: error instanceof RateNotHeld ? flasher.writeOff() : await flasher.isBack(),
      isTrial: this.#line.isTrial,
      canLower: this.#line.canLower,
      hasPackets: task.isRead && flasher.loader.kind === 'stub',
      canUseRom: task.isRead && flasher.canUseRom,
      romWasNeeded: task.romWasNeeded ?? false,
    });
  }

  #note(step: RecoveryStep, what: string, { message: reason }: EspdError, attempts: number): void {
    if (step === 'lowerBaudRate') {
      this.#line.giveUp(this.#line.baudRate, `${what}: ${reason}`, attempts);
      return;
    }
    const { log } = this.#context;
    const level = this.#counts[step]++ === 0 ? 'warn' : 'debug';
    log[level](`Trying again: ${what}, ${STEP_TEXT[step]}`, { reason });
    // It brings the right bytes, perhaps in hours: whoever stands there can have them sooner.
    if (step === 'romReads' && this.#counts.romReads === CRAWLING_PIECES)
      log.warn('This line is bad: it goes on through the ROM, slowly. Try another cable or USB port', { reason });
  }
}

/** Lower rates were tried, and then something else helped. */
function isNoFaultOfTheRate(tried: readonly RecoveryStep[]): boolean {
  const last = tried.at(-1);
  return tried.includes('lowerBaudRate') && (last === 'reconnected' || last === 'romReads');
}

function isRecoverable(error: unknown): error is EspdError {
  return isLineFault(error) || hasCode(error, 'read-failed', 'digest-mismatch');
}

function failure(what: string, attempts: number, cause: EspdError, isBeyondRom: boolean): EspdError {
  const subject = what.charAt(0).toUpperCase() + what.slice(1);
  const beyondRom = isBeyondRom ? ' through the stub, and the ROM does not reach above 16 MB' : '';
  const message = `${subject} failed ${attempts} times${beyondRom}: ${cause.message}`;
  return new EspdError(isBeyondRom ? 'no-stub-read' : 'read-failed', message, {
    cause,
    hint: cause.hint || 'Try another cable, another USB port, or a lower serial.baudRate in the config',
  });
}
