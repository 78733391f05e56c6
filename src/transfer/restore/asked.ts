/** Digests that a restore has asked the chip for: how many, and what the largest took. */

import type { Region } from '../../flash.ts';
import type { Session } from '../session.ts';

export class AskedDigests {
  readonly #session: Session;
  count = 0;
  /** What the chip took for the slowest one, in seconds. */
  slowestSeconds = 0;

  constructor(session: Session) {
    this.#session = session;
  }

  /** MD5 of a region, by the chip, lower-case hex. @throws the signal's reason, and what {@link Board.digest} throws */
  async ask({ offset, sizeBytes }: Region): Promise<string> {
    const { clock, signal } = this.#session.options;
    signal.throwIfAborted();
    this.count++;
    const startedMs = clock.now();
    const digest = await this.#session.board.digest(offset, sizeBytes);
    this.slowestSeconds = Math.max(this.slowestSeconds, (clock.now() - startedMs) / 1000);
    return digest;
  }
}
