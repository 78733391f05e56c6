/** Which ports may be touched, by the rules and by the policy for ports that were there at the start; says why not. */

import type { Archive } from '../archive/types.ts';
import { type EspdError, toEspdError } from '../errors.ts';
import { ownUsbMac } from '../plugs/slots.ts';
import type { PortInfo } from '../serial/ports.ts';
import { type ExistingPolicy, type PortRules, decide, touchExisting } from '../serial/rules.ts';

export interface AdmissionParts {
  readonly archive: Archive;
  readonly settings: () => { readonly rules: PortRules; readonly existing: ExistingPolicy };
  /** The daemon before this one had begun with it: it is a board, and may be in download mode. */
  readonly isUnfinished: (port: PortInfo) => boolean;
  readonly onFailure: (port: PortInfo, error: EspdError) => void;
  /** Told once for each port and reason. */
  readonly onLeftAlone: (left: LeftAlone) => void;
}

/** A port that is there and was left alone. */
export interface LeftAlone {
  readonly port: PortInfo;
  /** It was there before the daemon. */
  readonly isExisting: boolean;
  readonly reason: string;
  /** `rules`: they say so; `existing`: that was there at the start, and nothing says that it is a board. */
  readonly by: 'rules' | 'existing';
}

export class Admission {
  readonly #parts: AdmissionParts;
  readonly #leftAlone = new Map<string, LeftAlone>();

  constructor(parts: AdmissionParts) {
    this.#parts = parts;
  }

  /** The ports that are there and were left alone: other settings may admit them. */
  get leftAlone(): readonly LeftAlone[] {
    return [...this.#leftAlone.values()];
  }

  forget(address: string): void {
    this.#leftAlone.delete(address);
  }

  /** Whether a port that was plugged in may be touched. */
  mayTouch(port: PortInfo): boolean {
    const { touch, reason } = decide(port, this.#parts.settings().rules);
    if (touch) this.forget(port.address);
    else this.#leaveAlone({ port, isExisting: false, reason, by: 'rules' }, true);
    return touch;
  }

  /** Whether a port that was there before the daemon may be touched: only as `watch.existing` says. */
  async mayTouchExisting(port: PortInfo): Promise<boolean> {
    const { existing, rules } = this.#parts.settings();
    const decision = decide(port, rules);
    if (!decision.touch || existing === 'none') {
      this.#leaveAlone({ port, isExisting: true, reason: decision.reason, by: 'rules' }, true);
      return false;
    }
    // Noted before the archive is asked: the port may go meanwhile.
    const left: LeftAlone = { port, isExisting: true, reason: NOT_KNOWN, by: 'existing' };
    this.#leaveAlone(left, false);
    const isKnown = touchExisting(decision, existing) || this.#parts.isUnfinished(port);
    if (isKnown || (await this.#isArchived(port))) return true;
    if (this.#leftAlone.get(port.address)?.port === port) this.#parts.onLeftAlone(left);
    return false;
  }

  /** Whether the board says by its USB serial number that the archive knows it. */
  async #isArchived(port: PortInfo): Promise<boolean> {
    const mac = ownUsbMac(port);
    if (mac === undefined) return false;
    try {
      return (await this.#parts.archive.boards()).macs.includes(mac);
    } catch (error) {
      this.#parts.onFailure(port, toEspdError(error));
      return false;
    }
  }

  /** @param isTold says so, once for each reason */
  #leaveAlone(left: LeftAlone, isTold: boolean): void {
    const { port, reason } = left;
    const before = this.#leftAlone.get(port.address);
    this.#leftAlone.set(port.address, left);
    if (isTold && (before?.port !== port || before.reason !== reason)) this.#parts.onLeftAlone(left);
  }
}

const NOT_KNOWN = 'Left alone: it was there at the start and is not known to be an ESP board';
