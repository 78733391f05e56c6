/**
 * Boards that another program has had: looked at again when it has closed their port (`watch.afterRelease`). Nothing is
 * opened for that: who has a port open, or locked, stands in /proc.
 */

import type { Clock } from '../clock.ts';
import type { PortInfo } from '../serial/ports.ts';

export interface AfterReleaseParts {
  readonly clock: Clock;
  readonly isOn: () => boolean;
  /** Ports that are there, and are nobody's in this daemon: no job, no hold. */
  readonly ports: () => readonly PortInfo[];
  /** Addresses of those that another program has now. Never rejects. */
  readonly inUse: (ports: readonly PortInfo[]) => Promise<ReadonlySet<string>>;
  /** Another program has closed it, and has not come back. */
  readonly onReleased: (port: PortInfo) => void;
}

/** Of a port at which nothing happens a look costs a stat. A program that has it for less is most likely no flasher. */
const LOOK_MS = 3000;
/** Flashers open a port several times in a row: so many looks in a row must find it free. */
const FREE_LOOKS = 3;

export class AfterRelease {
  readonly #parts: AfterReleaseParts;
  /** Looks that have found it free since another program had it, by the key of the plug-in. */
  readonly #used = new Map<string, number>();
  #cancel: () => void = () => undefined;
  #isClosed = false;

  constructor(parts: AfterReleaseParts) {
    this.#parts = parts;
  }

  /** At the start, and when the settings are others. */
  applied(): void {
    this.#cancel();
    this.#used.clear();
    this.#plan();
  }

  close(): void {
    this.#isClosed = true;
    this.#cancel();
  }

  #plan(): void {
    if (this.#isClosed || !this.#parts.isOn()) return;
    this.#cancel();
    this.#cancel = this.#parts.clock.schedule(LOOK_MS, () => {
      void this.#look().then(() => this.#plan());
    });
  }

  async #look(): Promise<void> {
    const { inUse, isOn, onReleased, ports } = this.#parts;
    const looked = isOn() ? ports() : [];
    if (looked.length === 0) {
      this.#used.clear();
      return;
    }
    const used = await inUse(looked);
    if (this.#isClosed) return;
    // What has got a job or a hold meanwhile is looked at in another way.
    const now = ports().filter(({ key }) => looked.some((port) => port.key === key));
    for (const key of [...this.#used.keys()]) if (!now.some((port) => port.key === key)) this.#used.delete(key);
    for (const port of now) {
      if (used.has(port.address)) {
        this.#used.set(port.key, 0);
        continue;
      }
      const free = this.#used.get(port.key);
      if (free === undefined) continue;
      this.#used.set(port.key, free + 1);
      if (free + 1 < FREE_LOOKS) continue;
      this.#used.delete(port.key);
      onReleased(port);
    }
  }
}
