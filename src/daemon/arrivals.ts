/** Ports that come and go: which of it is a plug-in, and which is the daemon's own doing, or a port that flaps. */

import type { Clock } from '../clock.ts';
import type { Logger } from '../log.ts';
import type { PlugIn } from '../plugs/job.ts';
import { type ResetInto, type Slots, isOwnUsb } from '../plugs/slots.ts';
import type { PortEvent, PortInfo } from '../serial/ports.ts';
import type { AttachedPorts } from './attached.ts';
import type { BoardJob } from './board-jobs.ts';
import type { EventBody } from './event-types.ts';
import { unplugged } from './port-errors.ts';
import { Rests } from './rests.ts';
import { Returns } from './returns.ts';

export interface ArrivalsParts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly emit: (event: EventBody) => void;
  readonly attached: AttachedPorts;
  readonly slots: Slots;
  readonly cooldownMs: () => number;
  readonly jobAt: (address: string) => BoardJob | undefined;
  readonly isHeld: (port: PortInfo) => boolean;
  /** Somebody has plugged a board in, or it is there as our reset has left it. */
  readonly onPlugIn: (plugIn: PlugIn) => void;
  /** It was there before the daemon. */
  readonly onPresent: (port: PortInfo) => void;
  /** Plugged in while somebody else had the port. */
  readonly onPlugInWhileHeld: (plugIn: PlugIn) => void;
  /** It is not there any more: nothing waits for it. */
  readonly onGone: (port: PortInfo) => void;
  /** The config calls a remote otherwise now. */
  readonly onRenamed: (port: PortInfo) => void;
  /** It was reset, went away, and has stayed away for `waitedMs`. */
  readonly onMissing: (port: PortInfo, into: ResetInto, waitedMs: number) => void;
}

export class Arrivals {
  readonly #parts: ArrivalsParts;
  readonly #returns: Returns;
  readonly #rests: Rests;
  /** Ports, by key, whose link ended when their board was let go, and whose going the listing has not shown yet. */
  readonly #wentAway = new Set<string>();

  constructor(parts: ArrivalsParts) {
    this.#parts = parts;
    this.#rests = new Rests(parts.clock, (key) => this.#onRested(key));
    this.#returns = new Returns(parts.clock, (port, into) => parts.onMissing(port, into, parts.cooldownMs()));
  }

  onPortEvent({ kind, port, existing }: PortEvent): void {
    const { attached, emit, onPresent, onRenamed } = this.#parts;
    const { address, name, usb } = port;
    if (kind === 'renamed') {
      attached.came(port);
      if (name !== undefined) emit({ type: 'port-renamed', port: address, name });
      onRenamed(port);
      return;
    }
    if (kind === 'detached') {
      emit({ type: 'port-detached', port: address });
      this.#onDetached(port);
      return;
    }
    emit({
      type: 'port-attached',
      port: address,
      usb,
      existing: existing === true,
      ...(name !== undefined && { name }),
    });
    if (existing === true) onPresent(port);
    else this.#onAttached(port);
  }

  /** The link of a board has ended as it was let go. */
  linkEnded(port: PortInfo): void {
    if (this.#parts.attached.has(port)) this.#wentAway.add(port.key);
  }

  /** A board went away when it was reset into download mode, and is to come back. */
  expectInDownloadMode(port: PortInfo): void {
    const { attached, cooldownMs, emit } = this.#parts;
    emit({ type: 'board-away', port: port.address });
    // The listing may be late.
    if (attached.has(port)) this.#returns.expect(port, 'download-mode', cooldownMs());
  }

  close(): void {
    this.#returns.close();
    this.#rests.close();
  }

  #onDetached(port: PortInfo): void {
    const { attached, clock, cooldownMs, isHeld, jobAt, onGone, slots } = this.#parts;
    const { address, key } = port;
    attached.went(address);
    onGone(port);
    // Whoever holds it resets its board as they like.
    if (isHeld(port) && !jobAt(address)?.isRunning) return;
    const into = slots.detached(port, clock.now());
    const job = jobAt(address);
    // After its job it may be in a person's hand as well, unless its link has told.
    const isWorkedOn = job !== undefined && !job.trace.isReleased;
    const isSure = isWorkedOn || into === 'download-mode' || this.#wentAway.delete(key);
    if (into !== 'nothing' && isSure) this.#returns.expect(port, into, cooldownMs());
    // A board that was released may go: what was read of it is being kept.
    if (!isWorkedOn) return;
    // A device that is gone does not always fail its reads and writes. But a port of which more is known by now is
    // reported as gone and come, both in one step: then it is still the same.
    queueMicrotask(() => {
      if (!attached.has(port)) job.abort.abort(unplugged(address));
    });
  }

  #onAttached(port: PortInfo): void {
    const { attached, clock, emit, isHeld, log, onPlugIn, onPlugInWhileHeld, slots } = this.#parts;
    attached.came(port);
    this.#returns.came(port);
    if (isHeld(port)) {
      // A chip's own USB comes back after each reset; behind a bridge it was a person.
      if (!isOwnUsb(port)) onPlugInWhileHeld({ port, inDownloadMode: false });
      return;
    }
    const verdict = slots.attached(port, clock.now());
    switch (verdict) {
      case 'real':
      case 'in-download-mode':
        onPlugIn({ port, inDownloadMode: verdict === 'in-download-mode' });
        return;
      case 'loop':
        emit({ type: 'port-flapping', port: port.address, restMs: this.#rests.begin(port) });
        return;
      case 'resting':
        log.debug('Left alone: its rest is not over', { port: port.address });
        return;
      case 'own-reset':
        log.debug("Came back after espd's own reset", { port: port.address });
        emit({ type: 'board-back', port: port.address, mac: slots.macAt(port) ?? null });
    }
  }

  /** The rest of a slot is over: a port that is there gets one try. */
  #onRested(key: string): void {
    const { attached, onPlugIn, slots } = this.#parts;
    const port = attached.inSlot(key);
    if (port === undefined) return;
    slots.rested(port);
    onPlugIn({ port, inDownloadMode: false });
  }
}
