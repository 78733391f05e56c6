/**
 * Boards that are plugged in while a command waits for them. The listing is looked at again and again; a port that comes
 * back after our own reset is no new plug-in, and a port that was asked is not reset again until it is plugged in anew.
 */

import { type Clock, sleep } from '../clock.ts';
import { portChanges } from '../serial/port-changes.ts';
import type { PortInfo } from '../serial/ports.ts';
import { type PortRules, decide } from '../serial/rules.ts';
import type { PlugIn } from './job.ts';
import { Slots } from './slots.ts';

/** A look costs about a millisecond. */
const LOOK_MS = 500;

export interface PlugInsOptions {
  readonly list: () => Promise<readonly PortInfo[]>;
  readonly rules: PortRules;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly cooldownMs: number;
}

export class PlugIns {
  /** What the jobs on these plug-ins tell of their resets. */
  readonly slots: Slots;
  readonly #options: PlugInsOptions;
  #present: ReadonlyMap<string, PortInfo> = new Map();

  constructor(options: PlugInsOptions) {
    this.#options = options;
    this.slots = new Slots(options.cooldownMs);
  }

  /** Takes what is there now for known: only what comes later is a plug-in. */
  async ignorePresent(): Promise<void> {
    this.#present = portChanges(new Map(), await this.#options.list()).present;
  }

  /**
   * Each plug-in that the rules allow to touch, as it comes.
   * @param untilMs of the clock; the last look is then. Infinity = until the signal is aborted, which throws
   */
  async *next(untilMs: number): AsyncGenerator<PlugIn, void> {
    const { clock, signal, rules, list } = this.#options;
    for (;;) {
      signal.throwIfAborted();
      const { detached, attached, present } = portChanges(this.#present, await list());
      this.#present = present;
      for (const port of detached) this.slots.detached(port, clock.now());
      for (const port of attached) {
        const verdict = this.slots.attached(port, clock.now());
        if (verdict !== 'real' && verdict !== 'in-download-mode') continue;
        if (decide(port, rules).touch) yield { port, inDownloadMode: verdict === 'in-download-mode' };
      }
      if (clock.now() >= untilMs) return;
      await sleep(clock, Math.min(LOOK_MS, Math.max(0, untilMs - clock.now())), signal);
    }
  }
}
