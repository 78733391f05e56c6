/**
 * Boards that are plugged in while a command waits for them. The listing is looked at again and again; a port that comes
 * back after our own reset is no new plug-in, and a port that was asked is not reset again until it is plugged in anew.
 */

import { type Clock, sleep } from '../clock.ts';
import { type PlugInVerdict, type ResetInto, Slots } from '../daemon/slots.ts';
import type { Mac } from '../mac.ts';
import type { PortInfo } from '../serial/ports.ts';
import { type PortRules, decide } from '../serial/rules.ts';

/** A look costs about a millisecond. */
const LOOK_MS = 500;

export interface PlugInOptions {
  readonly list: () => Promise<readonly PortInfo[]>;
  readonly rules: PortRules;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly cooldownMs: number;
}

export interface PlugIn {
  readonly port: PortInfo;
  /** It went away when it was reset into download mode, and should be there now. */
  readonly inDownloadMode: boolean;
}

export class PlugIns {
  readonly #options: PlugInOptions;
  readonly #slots: Slots;
  #present = new Map<string, PortInfo>();

  constructor(options: PlugInOptions) {
    this.#options = options;
    this.#slots = new Slots(options.cooldownMs);
  }

  /** Takes what is there now for known: only what comes later is a plug-in. */
  async ignorePresent(): Promise<void> {
    this.#present = byAddress(await this.#options.list());
  }

  /**
   * Each plug-in that the rules allow to touch, as it comes.
   * @param untilMs of the clock; the last look is then. Infinity = until the signal is aborted, which throws
   */
  async *next(untilMs: number): AsyncGenerator<PlugIn, void> {
    const { clock, signal, rules, list } = this.#options;
    for (;;) {
      signal.throwIfAborted();
      const now = byAddress(await list());
      for (const [address, port] of this.#present) {
        if (now.get(address)?.key !== port.key) this.#slots.detached(port, clock.now());
      }
      const attached = [...now].filter(([address, { key }]) => this.#present.get(address)?.key !== key);
      this.#present = now;
      for (const [, port] of attached) {
        const verdict: PlugInVerdict = this.#slots.attached(port, clock.now());
        if (verdict !== 'real' && verdict !== 'in-download-mode') continue;
        if (decide(port, rules).touch) yield { port, inDownloadMode: verdict === 'in-download-mode' };
      }
      if (clock.now() >= untilMs) return;
      await sleep(clock, Math.min(LOOK_MS, Math.max(0, untilMs - clock.now())), signal);
    }
  }

  /** A job on `port` begins, by resetting the board. */
  started(port: PortInfo): void {
    this.#slots.started(port);
  }

  identified(port: PortInfo, mac: Mac): void {
    this.#slots.identified(port, mac);
  }

  leaving(port: PortInfo): void {
    this.#slots.leaving(port);
  }

  /** The job on `port` has ended. */
  released(port: PortInfo, resetInto: ResetInto): void {
    this.#slots.released(port, this.#options.clock.now(), resetInto);
  }
}

function byAddress(ports: readonly PortInfo[]): Map<string, PortInfo> {
  return new Map(ports.map((port) => [port.address, port]));
}
