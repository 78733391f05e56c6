/** `espd wait`: until the daemon sees a board, or has backed it up; for scripts. Follows the events, and polls nothing. */

import { type Followed, followStation } from '../../client/follow.ts';
import type { ApiClient } from '../../client/api.ts';
import { systemClock } from '../../clock.ts';
import { type JobOutcome, type PortView, Station } from '../../daemon/station.ts';
import type { EventError, ServiceEvent } from '../../daemon/event-types.ts';
import { EspdError } from '../../errors.ts';
import type { Mac } from '../../mac.ts';
import type { CommonOptions, Host } from '../host.ts';
import type { Output } from '../output.ts';
import { daemonOf } from './find-daemon.ts';
import { boardOf, portsWith } from './target.ts';
import { clockOf, resultText } from './words.ts';

export interface WaitCommandOptions {
  /** MAC or label. */
  readonly mac: string;
  /** It is enough that the board is there. Else its backup is waited for. */
  readonly plugged?: boolean;
  /** In milliseconds; absent = for as long as it takes. */
  readonly timeout?: number;
}

/** What was waited for. */
interface Awaited {
  readonly port: string;
  /** Null where only the board was waited for. */
  readonly backup: JobOutcome | null;
}

/**
 * @throws EspdError `board-not-found` or `wait-timeout` when the time is over; the error of a backup that is not tried
 *   again; those of the daemon
 */
export async function wait(
  options: CommonOptions,
  host: Host,
  out: Output,
  { mac: text, plugged = false, timeout }: WaitCommandOptions,
): Promise<undefined> {
  const client = await daemonOf(options, host);
  const mac = await boardOf(client, text, host.signal);
  const watch = new BoardWatch(mac, plugged);
  const tooLate = new AbortController();
  const cancel =
    timeout === undefined
      ? () => undefined
      : systemClock.schedule(timeout, () => tooLate.abort(watch.lateError(timeout)));
  try {
    const found = await follow(client, AbortSignal.any([host.signal, tooLate.signal]), watch, out);
    out.document({ mac, port: found.port, backup: found.backup });
    const what = found.backup === null ? 'is plugged in' : resultText(found.backup);
    out.paragraph(`${mac}  ${what}, at ${found.port}`, '  ');
  } finally {
    cancel();
  }
  return undefined;
}

async function follow(client: ApiClient, signal: AbortSignal, watch: BoardWatch, out: Output): Promise<Awaited> {
  let hasSaid = false;
  for await (const followed of followStation(client, signal)) {
    const found = watch.onFollowed(followed);
    if (found !== undefined) return found;
    if (followed.kind === 'gone') out.note('The daemon is gone, waiting for it');
    else if (followed.kind === 'back') out.note('The daemon is back');
    else if (watch.retry !== undefined) out.note(watch.retry);
    if (!hasSaid) out.note(watch.waitingText);
    hasSaid = true;
  }
  throw new EspdError('internal', 'The events have ended');
}

/** One board in what the daemon tells. */
class BoardWatch {
  readonly #mac: Mac;
  readonly #isPluggedEnough: boolean;
  #station = new Station();
  /** What to say of a failure that is tried again; undefined = nothing new. */
  retry: string | undefined;

  constructor(mac: Mac, isPluggedEnough: boolean) {
    this.#mac = mac;
    this.#isPluggedEnough = isPluggedEnough;
  }

  /** @returns what was waited for. @throws EspdError what keeps it from ever coming */
  onFollowed(followed: Followed): Awaited | undefined {
    this.retry = undefined;
    if (followed.kind === 'state') this.#station = new Station(followed.status);
    else if (followed.kind === 'event') return this.#onEvent(followed.event);
    else return undefined;
    for (const view of this.#views) {
      const found = this.#foundAt(view);
      if (found !== undefined) return found;
      if (view.state === 'failed' && view.error !== null && view.retryAt === null) throw errorOf(view.error);
    }
    return undefined;
  }

  get waitingText(): string {
    const [view] = this.#views;
    const where = view === undefined ? '' : `, which is at ${view.port}`;
    return this.#isPluggedEnough
      ? `Waiting until ${this.#mac} is plugged in`
      : `Waiting for a backup of ${this.#mac}${where}`;
  }

  lateError(limitMs: number): EspdError {
    const within = `within ${Math.round(limitMs / 1000)} s`;
    const [view] = this.#views;
    if (view === undefined) {
      return new EspdError('board-not-found', `${this.#mac} was not plugged in ${within}, as far as the daemon knows`, {
        hint: 'A board behind a USB bridge is known once the daemon has asked it: "espd status" shows the ports',
      });
    }
    return new EspdError('wait-timeout', `${this.#mac} at ${view.port} was not backed up ${within}`, {
      hint: '"espd status" shows what is done there. To back it up now: espd backup',
    });
  }

  get #views(): readonly PortView[] {
    return portsWith(this.#station.view, this.#mac);
  }

  #foundAt({ port, result, state }: PortView): Awaited | undefined {
    if (this.#isPluggedEnough) return { port, backup: null };
    return result !== null && ['done', 'held'].includes(state) ? { port, backup: result } : undefined;
  }

  #onEvent(event: ServiceEvent): Awaited | undefined {
    this.#station.onEvent(event);
    if (event.type === 'backup-kept' || event.type === 'backup-unchanged') {
      if (event.mac !== this.#mac || this.#isPluggedEnough) return this.#pluggedAt();
      const { id, seconds, wireBytes, flashBytesRead } = event;
      const unchanged = event.type === 'backup-unchanged';
      return { port: event.port, backup: { id, unchanged, seconds, wireBytes, flashBytesRead } };
    }
    if (event.type === 'job-failed' && event.mac === this.#mac && !this.#isPluggedEnough && event.isNews) {
      const { at, error, failure, retryInMs } = event;
      const isOver = retryInMs === null && (failure === 'fault' || error.code === 'half-restored');
      if (isOver) throw errorOf(error);
      if (retryInMs !== null) {
        const next = clockOf(new Date(Date.parse(at) + retryInMs).toISOString());
        this.retry = `${error.message} (${error.code}); tried again at ${next}`;
      }
    }
    return this.#pluggedAt();
  }

  #pluggedAt(): Awaited | undefined {
    const [view] = this.#isPluggedEnough ? this.#views : [];
    return view === undefined ? undefined : { port: view.port, backup: null };
  }
}

function errorOf({ code, message, hint }: EventError): EspdError {
  return new EspdError(code, message, { hint });
}
