/** Ports that somebody else has for a while: the daemon does not touch them, and knows who to name. */

import type { Clock } from '../clock.ts';
import type { EventBody } from './event-types.ts';
import { heldBy } from './port-errors.ts';
import type { Hold } from './hold.ts';

export type { Hold } from './hold.ts';

export interface HoldRequest {
  /** Who holds it, for people. */
  readonly by: string;
  /** Released by itself after so long, in milliseconds; absent = when it is released. */
  readonly forMs?: number;
}

/** How a port is taken from the daemon. */
export interface TakeRequest extends HoldRequest {
  /** End a job of the daemon that runs there; else its end is waited for. */
  readonly now?: boolean;
  /** Who holds the port by this name already may do so for longer, or shorter; else it is taken. */
  readonly mayProlong?: boolean;
  readonly signal?: AbortSignal;
  /** Called once where a job must end first. */
  readonly onWait?: () => void;
}

/** A port that is somebody else's until it is given back. */
export interface TakenPort {
  readonly hold: Hold;
  /**
   * Whoever had it may have reset the board: what comes of that is no plug-in.
   * @param how `lost`: it may have left the board in download mode, which a job of the daemon then ends
   */
  giveBack(how?: 'closed' | 'lost'): void;
}

interface OwnHold extends Hold {
  readonly cancel: () => void;
}

export interface HoldsParts {
  readonly clock: Clock;
  readonly emit: (event: EventBody) => void;
  /** A port is free again. */
  readonly onReleased: (hold: Hold) => void;
}

/** The longest hold that ends by itself: what the clock can count. */
export const LONGEST_HOLD_MS = 2 ** 31 - 1;

export class Holds {
  readonly #parts: HoldsParts;
  readonly #holds = new Map<string, OwnHold>();

  constructor(parts: HoldsParts) {
    this.#parts = parts;
  }

  at(port: string): Hold | undefined {
    return this.#holds.get(port);
  }

  get all(): readonly Hold[] {
    return [...this.#holds.values()].map(({ port, by, until }) => ({ port, by, until }));
  }

  /**
   * From now on the port is not touched. Who holds it already may do so for longer, or shorter.
   * @throws EspdError `port-busy` where somebody else holds it
   */
  hold(port: string, { by, forMs }: HoldRequest): Hold {
    const { clock, emit } = this.#parts;
    const held = this.#holds.get(port);
    if (held !== undefined && held.by !== by) throw heldBy(held);
    held?.cancel();
    const until = forMs === undefined ? null : new Date(clock.date().getTime() + forMs).toISOString();
    const cancel = forMs === undefined ? () => undefined : clock.schedule(forMs, () => this.release(port));
    const hold: OwnHold = { port, by, until, cancel };
    this.#holds.set(port, hold);
    emit({ type: 'port-held', port, by, until });
    return hold;
  }

  /** @param hold only this one, where somebody else may hold it by now. @returns false where it was not held */
  release(port: string, hold?: Hold): boolean {
    const held = this.#holds.get(port);
    if (held === undefined || (hold !== undefined && held !== hold)) return false;
    held.cancel();
    this.#holds.delete(port);
    this.#parts.emit({ type: 'port-released', port, by: held.by });
    this.#parts.onReleased(held);
    return true;
  }

  close(): void {
    for (const { cancel } of this.#holds.values()) cancel();
    this.#holds.clear();
  }
}
