/** What every way of serving a simulated board has in common: the handle, and being plugged in or not. */

import type { Clock } from '../../clock.ts';
import { systemClock } from '../../clock.ts';
import type { BoardPort } from '../port.ts';

/** A simulated board that other programs can open. */
export interface ServedBoard {
  /** What to open: `socket://127.0.0.1:1234`, `rfc2217://127.0.0.1:1234`, or the path of the link to a pty. */
  readonly address: string;
  /** Bytes of the board that a host did not take in time, lost as in the overrun of a real UART; since the start. */
  readonly droppedBytes: number;
  /** Pulls the cable: who has the board open loses it, and nobody can open it. Nothing when it is out already. */
  unplug(): void;
  /** Puts the cable back, at the same address. Nothing when it is in already. */
  plug(): void;
  /** Ends all; resolves when nothing of it keeps the process alive. May be called again. */
  close(): Promise<void>;
}

export interface ServeOptions {
  /** Must run in real time: what is served to the world lives in the world's time. */
  readonly clock?: Clock;
  /**
   * How long a board stays away after it vanished by itself (`BoardPort.onVanish`), in ms: native USB comes back after
   * a reset. Null: until {@link ServedBoard.plug}. Default 300.
   */
  readonly reappearAfterMs?: number | null;
  /** Once so many bytes of the board wait for a slow host, what comes beyond is dropped. Default 1 MiB. */
  readonly queueLimitBytes?: number;
}

export const DEFAULT_QUEUE_LIMIT_BYTES = 1024 * 1024;

/** Whether the board is plugged in: changed by hand, or by the board itself. Takes over `board.onVanish`. */
export class Plug {
  readonly #board: BoardPort;
  readonly #options: ServeOptions;
  readonly #onOut: () => void;
  readonly #onIn: () => void;
  #isIn = true;
  #cancelReturn: (() => void) | undefined;

  constructor(board: BoardPort, options: ServeOptions, onOut: () => void, onIn: () => void) {
    this.#board = board;
    this.#options = options;
    this.#onOut = onOut;
    this.#onIn = onIn;
    this.#watch();
  }

  get isIn(): boolean {
    return this.#isIn;
  }

  /** A board calls back once: who has the next link to it asks anew. */
  #watch(): void {
    const { clock = systemClock, reappearAfterMs = 300 } = this.#options;
    this.#board.onVanish = () => {
      if (!this.#isIn) return;
      this.out();
      if (reappearAfterMs !== null) this.#cancelReturn = clock.schedule(reappearAfterMs, () => this.in());
    };
  }

  /** A board that vanished by itself does not come back by itself after this. */
  out(): void {
    this.#cancelReturn?.();
    this.#cancelReturn = undefined;
    if (!this.#isIn) return;
    this.#isIn = false;
    this.#onOut();
  }

  in(): void {
    this.#cancelReturn?.();
    this.#cancelReturn = undefined;
    if (this.#isIn) return;
    this.#isIn = true;
    this.#watch();
    this.#onIn();
  }

  /** Pulls out and lets go of the board. */
  end(): void {
    this.#board.onVanish = undefined;
    this.out();
  }
}
