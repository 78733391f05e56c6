/**
 * Which plug-ins are real. A board on its own USB goes away and comes back when the daemon resets it; that must not
 * start another job, or it would never end. A board behind a bridge never does that: its plug-ins are a person's, or
 * those of a hub that loses power.
 * Pure: time comes in with each call.
 */

import { type Mac, parseMac } from '../mac.ts';
import type { PortInfo } from '../serial/ports.ts';
import { BRIDGES, ESPRESSIF_VENDOR } from '../serial/usb-ids.ts';

/** A port that goes away this soon after the daemon let go of it went because of the daemon's reset. */
const OWN_RESET_MS = 3000;
/**
 * One that goes away this soon may have: it is not taken for ours, but it counts for a loop. Longer than the watcher
 * takes to notice where it has no hotplug events (its regular look comes every 5 s).
 */
const MAYBE_OWN_RESET_MS = 10_000;
/** Whoever stays away longer than this between two plug-ins has been in a person's hand. */
const PERSON_MS = 3000;
/** After so many quick comings and goings in a row a port is left alone for {@link LOOP_REST_MS}. */
const LOOP_LIMIT = 3;
/** Then it is tried once, and rests again where it goes away once more. */
export const LOOP_REST_MS = 5 * 60_000;

/**
 * `real`: to be worked on. `in-download-mode`: it went away when it was reset into download mode, and should be there
 * now. `own-reset`: it went away when it was let go. `loop`: it comes and goes by itself, and a rest begins. `resting`:
 * that rest is not over.
 */
export type PlugInVerdict = 'real' | 'in-download-mode' | 'own-reset' | 'loop' | 'resting';

/** What the daemon's last reset of a board leads to; `nothing` where it was not reset, or went away for no such reason. */
export type ResetInto = 'download-mode' | 'app' | 'nothing';

interface Slot {
  /** A job works on it now. */
  busy: boolean;
  resetInto: ResetInto;
  /** The board that the last job found there. */
  mac: Mac | undefined;
  releasedAtMs: number;
  /** The last job ended because the port went away; the listing may be late to notice. */
  wentAway: boolean;
  wentAtMs: number;
  /** Why it went away, where that was the daemon's doing; asked once. */
  wentInto: ResetInto;
  /** What was said of its last plug-in. */
  verdict: PlugInVerdict;
  /** How often in a row it went away while, or soon after, the daemon had it. */
  inARow: number;
  /** Set while it is left alone. */
  restUntilMs: number | undefined;
}

/** As much of a port as tells where it is. */
export type Place = Pick<PortInfo, 'address' | 'usb'>;

export class Slots {
  readonly #slots = new Map<string, Slot>();
  #cooldownMs: number;

  /** @param cooldownMs how long after the daemon's own reset a port's return is expected */
  constructor(cooldownMs: number) {
    this.#cooldownMs = cooldownMs;
  }

  set cooldownMs(value: number) {
    this.#cooldownMs = value;
  }

  /** A job on `port` begins, by resetting the board into download mode. */
  started(port: Place): void {
    Object.assign(this.#slotOf(port), { busy: true, resetInto: 'download-mode', mac: undefined, wentAway: false });
  }

  /** The board answers: from now on it is not reset until it is let go. */
  identified(port: Place, mac: Mac): void {
    Object.assign(this.#slotOf(port), { resetInto: 'nothing', mac });
  }

  /** The board that the last job found there. */
  macAt(port: Place): Mac | undefined {
    return this.#slotOf(port).mac;
  }

  /** The board is being reset into its app. */
  leaving(port: Place): void {
    this.#slotOf(port).resetInto = 'app';
  }

  /**
   * The job on `port` has ended. The port may go away only now, or only now be seen to have gone.
   * @param wentAway the job ended because its link did
   */
  released(port: Place, nowMs: number, resetInto: ResetInto, wentAway = false): void {
    Object.assign(this.#slotOf(port), { busy: false, releasedAtMs: nowMs, resetInto, wentAway });
  }

  /** @returns the reset of ours because of which it went, and after which it is to come back */
  detached(port: PortInfo, nowMs: number): ResetInto {
    const slot = this.#slotOf(port);
    const isOwn = isOwnUsb(port);
    const sinceMs = slot.busy ? 0 : nowMs - slot.releasedAtMs;
    slot.wentAtMs = nowMs;
    // A job that ended because the port went away has seen it go, however late the listing notices.
    const isSeenGone = slot.resetInto === 'download-mode';
    slot.wentInto = isOwn && (isSeenGone || sinceMs <= OWN_RESET_MS) ? slot.resetInto : 'nothing';
    const inJob = slot.busy || slot.wentAway;
    slot.wentAway = false;
    const isQuick = inJob || (isOwn && sinceMs <= MAYBE_OWN_RESET_MS) || nowMs < (slot.restUntilMs ?? -Infinity);
    if (!isQuick) forgetLoop(slot);
    else if (!isOnItsWay(slot)) slot.inARow++;
    return slot.wentInto;
  }

  /** What the appearance of `port` means. `own-reset` is said once for each reset of ours. */
  attached(port: PortInfo, nowMs: number): PlugInVerdict {
    const slot = this.#slotOf(port);
    slot.verdict = this.#judge(slot, port, nowMs);
    slot.wentInto = 'nothing';
    return slot.verdict;
  }

  /** The rest of a port that is there now is over. */
  rested(port: Place): void {
    endRest(this.#slotOf(port));
  }

  #judge(slot: Slot, port: PortInfo, nowMs: number): PlugInVerdict {
    const awayMs = nowMs - slot.wentAtMs;
    const isExpected = awayMs <= this.#cooldownMs && isSameBoard(port, slot.mac);
    if (isExpected && slot.wentInto === 'app') {
      slot.resetInto = 'nothing';
      return 'own-reset';
    }
    if (isExpected && isOnItsWay(slot)) return 'in-download-mode';
    if (awayMs > PERSON_MS) forgetLoop(slot);
    if (slot.inARow >= LOOP_LIMIT) {
      if (slot.restUntilMs === undefined) {
        slot.restUntilMs = nowMs + LOOP_REST_MS;
        return 'loop';
      }
      if (nowMs < slot.restUntilMs) return 'resting';
      endRest(slot);
    }
    return 'real';
  }

  #slotOf(port: Place): Slot {
    const key = slotKey(port);
    let slot = this.#slots.get(key);
    if (slot === undefined) {
      slot = {
        busy: false,
        resetInto: 'nothing',
        mac: undefined,
        releasedAtMs: -Infinity,
        wentAway: false,
        wentAtMs: -Infinity,
        wentInto: 'nothing',
        verdict: 'real',
        inARow: 0,
        restUntilMs: undefined,
      };
      this.#slots.set(key, slot);
    }
    return slot;
  }
}

/**
 * It went away because it was reset into download mode. Once: where the job that should find it there has to reset it
 * again, and it goes away again, that is the beginning of a loop.
 */
function isOnItsWay({ wentInto, verdict }: Slot): boolean {
  return wentInto === 'download-mode' && verdict !== 'in-download-mode';
}

/** One try; a port that goes away once more begins its next rest. */
function endRest(slot: Slot): void {
  slot.restUntilMs = undefined;
  slot.inARow = LOOP_LIMIT - 1;
}

function forgetLoop(slot: Slot): void {
  slot.inARow = 0;
  slot.restUntilMs = undefined;
}

/**
 * Whether the port may be the USB of the chip itself, so that a reset of the chip takes it away: everything on USB that
 * is not one of the bridges. Only Espressif's vendor id would miss apps with their maker's.
 */
export function isOwnUsb({ usb }: Pick<PortInfo, 'usb'>): boolean {
  return usb !== null && !BRIDGES.has(`${usb.vendorId}:${usb.productId}`);
}

/**
 * The MAC of a board on its own USB, where it gives it as serial number: USB-Serial/JTAG always does (see `macFromUsb`
 * of serial/rules.ts), apps often do (https://github.com/esphome/esphome, components/tinyusb). A hint, no proof.
 */
export function ownUsbMac({ usb }: Pick<PortInfo, 'usb'>): Mac | undefined {
  return usb?.vendorId === ESPRESSIF_VENDOR ? parseMac(usb.serialNumber ?? '') : undefined;
}

/** Not where the port itself says that it is another. */
function isSameBoard(port: PortInfo, mac: Mac | undefined): boolean {
  const own = ownUsbMac(port);
  return own === undefined || mac === undefined || own === mac;
}

/** Whether `other` is at the place of `port`, and does not say that it is another board. */
export function isSamePlace(port: Place, other: PortInfo): boolean {
  return slotKey(port) === slotKey(other) && isSameBoard(other, ownUsbMac(port));
}

/**
 * The identity of a place to plug in: the physical USB path, else what the chip says of itself, else the address. A
 * bridge may have several ports (its interfaces); a chip's own USB has another interface and serial number in download
 * mode than in its app, and may come back under another tty number.
 */
export function slotKey(port: Place): string {
  const { usb, address } = port;
  const location = usb?.location ?? null;
  if (location !== null) return `usb ${isOwnUsb(port) ? location.replace(/:[^:]*$/, '') : location}`;
  const mac = ownUsbMac(port);
  return mac === undefined ? `address ${address}` : `board ${mac}`;
}
