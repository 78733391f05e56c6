/**
 * Remotes that are looked at again by the clock, as the config says for each (`every`): nobody sees from here when a board
 * is exchanged there. Each look resets a board, so one that finds none makes the next wait twice as long.
 */

import type { Clock } from '../clock.ts';
import type { PortEvent, PortInfo } from '../serial/ports.ts';

export interface RoundsParts {
  readonly clock: Clock;
  /** How long after the last job at this port it is looked at again, in milliseconds; undefined = never by the clock. */
  readonly everyMs: (port: PortInfo) => number | undefined;
  readonly onDue: (port: PortInfo) => void;
}

interface Round {
  port: PortInfo;
  /** When it came, or the last job there ended. */
  sinceMs: number;
  /** Looks by the clock in a row that have found no board. */
  fruitless: number;
  cancel: () => void;
}

/** A port without a board waits up to 2 to the power of this as long. */
const MOST_DOUBLINGS = 4;
/** Longest delay of a timer (2^31-1 ms). */
const LONGEST_DELAY_MS = 2 ** 31 - 1;

export class Rounds {
  readonly #parts: RoundsParts;
  /** By the address of their port. */
  readonly #rounds = new Map<string, Round>();

  constructor(parts: RoundsParts) {
    this.#parts = parts;
  }

  onPortEvent({ kind, port }: PortEvent): void {
    const known = this.#rounds.get(port.address);
    if (kind === 'renamed') {
      if (known !== undefined) known.port = port;
      return;
    }
    known?.cancel();
    this.#rounds.delete(port.address);
    if (kind === 'detached' || port.name === undefined) return;
    const round: Round = { port, sinceMs: this.#parts.clock.now(), fruitless: 0, cancel: () => undefined };
    this.#rounds.set(port.address, round);
    this.#plan(round);
  }

  /** A job at this port has ended, whoever wanted it. */
  jobEnded({ address }: PortInfo, hasFoundBoard: boolean): void {
    const round = this.#rounds.get(address);
    if (round === undefined) return;
    round.sinceMs = this.#parts.clock.now();
    if (hasFoundBoard) round.fruitless = 0;
    this.#plan(round);
  }

  /** The config may say otherwise now. */
  applied(): void {
    for (const round of this.#rounds.values()) this.#plan(round);
  }

  close(): void {
    for (const { cancel } of this.#rounds.values()) cancel();
    this.#rounds.clear();
  }

  #plan(round: Round): void {
    const { clock, everyMs } = this.#parts;
    round.cancel();
    const every = everyMs(round.port);
    if (every === undefined) return;
    const dueMs = round.sinceMs + every * 2 ** Math.min(round.fruitless, MOST_DOUBLINGS);
    const waitMs = Math.min(Math.max(0, dueMs - clock.now()), LONGEST_DELAY_MS);
    round.cancel = clock.schedule(waitMs, () => (clock.now() < dueMs ? this.#plan(round) : this.#begin(round)));
  }

  /** The next is planned from its end; should none begin (it is denied now), from here. */
  #begin(round: Round): void {
    round.sinceMs = this.#parts.clock.now();
    round.fruitless++;
    this.#plan(round);
    this.#parts.onDue(round.port);
  }
}
