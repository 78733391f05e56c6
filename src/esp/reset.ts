/**
 * Resets as data. On boards with a USB bridge two transistors make EN of RTS and GPIO0 of DTR, both inverted; while
 * both lines are asserted neither pin moves. So RTS alone holds the chip in reset, DTR alone selects download mode.
 * Sources: Espressif's "Boot Mode Selection" page of the esptool documentation, section "Automatic Bootloader", and
 * for USB-Serial/JTAG the chapter "USB Serial/JTAG Controller" of the ESP32-C3 Technical Reference Manual.
 */

import { type Clock, sleep } from '../clock.ts';
import { EspdError, hasCode } from '../errors.ts';
import type { ControlLines, Link } from '../serial/link.ts';

type ResetStep = ControlLines | { readonly waitMs: number };

export interface ResetSequence {
  readonly name: string;
  readonly steps: readonly ResetStep[];
  /**
   * It resets nothing, and a board that does not answer runs its app: it is not reset to let it go. `silent`: only then;
   * `always`: nor for any other failure, or an abort.
   */
  readonly letsBe?: 'silent' | 'always';
  /** EN is low for so long, where that is less than {@link EN_LOW_MS}. */
  readonly enLowMs?: number;
}

/** How long EN is held low unless a shorter pulse is known to do: as tools do on all boards. */
export const EN_LOW_MS = 100;
/**
 * For the first try behind a bridge on this machine's USB. Chips want 50 us (their data sheets), a transistor empties the
 * capacitor on EN within a millisecond, and Espressif's own monitor resets boards of all kinds with 5 ms
 * (esp-idf-monitor, MINIMAL_EN_LOW_DELAY). The bridge has done one step when the next is asked for, so no pulse gets
 * shorter on the way; over a network it may.
 */
const BRIEF_EN_LOW_MS = 20;

const RELEASED: ControlLines = { dtr: false, rts: false };
const EN_LOW: ControlLines = { dtr: false, rts: true };
const GPIO0_LOW: ControlLines = { dtr: true, rts: false };
const BOTH: ControlLines = { dtr: true, rts: true };

/** Into download mode through a bridge. `holdMs`: how long GPIO0 stays low; slow EN capacitors want more than 50. */
export function classicReset(holdMs: number): ResetSequence {
  return {
    name: `classic ${holdMs} ms`,
    steps: [EN_LOW, { waitMs: EN_LOW_MS }, GPIO0_LOW, { waitMs: holdMs }, RELEASED],
  };
}

/** The same for boards that need both lines to change in one step: passes through "both" on the way. */
export function tightReset(holdMs: number, enLowMs = EN_LOW_MS): ResetSequence {
  const isBrief = enLowMs < EN_LOW_MS;
  return {
    name: `tight ${holdMs} ms${isBrief ? ', brief' : ''}`,
    steps: [RELEASED, BOTH, EN_LOW, { waitMs: enLowMs }, GPIO0_LOW, { waitMs: holdMs }, RELEASED],
    ...(isBrief && { enLowMs }),
  };
}

/** Into download mode through the chip's own USB-Serial/JTAG peripheral, which watches the edges of both lines. */
export const usbSerialJtagReset: ResetSequence = {
  name: 'USB-Serial/JTAG',
  steps: [RELEASED, { waitMs: 100 }, GPIO0_LOW, { waitMs: 100 }, BOTH, EN_LOW, { waitMs: 100 }, RELEASED],
};

/**
 * Into download mode where an app on USB-OTG (ESP32-S2, -S3) reads the lines itself, and whether the port has just been
 * opened with both asserted or both were released. Arduino's CDC wants exactly these four states in a row
 * (arduino-esp32, cores/esp32/USBCDC.cpp, `_onLineState`). ESP-IDF's console restarts 50 ms after RTS fell, and the last
 * fall within that time decides: with DTR into download mode (esp-idf, components/esp_system/port/usb_console.c). So there
 * is no wait between the steps. The ROM's own CDC and a bridge whose EN is that short low take no notice.
 */
export const usbOtgReset: ResetSequence = {
  name: 'USB-OTG',
  steps: [EN_LOW, BOTH, GPIO0_LOW, RELEASED],
};

/** Out of any mode into the app: EN low, GPIO0 high. */
export function hardReset(enLowMs = EN_LOW_MS): ResetSequence {
  return { name: 'hard', steps: [EN_LOW, { waitMs: enLowMs }, RELEASED] };
}

/**
 * A sequence in esptool's notation for `custom_reset_sequence`: `D0|R1|W0.1|D1|R0|W0.05|D0`. D is DTR, R is RTS (1 =
 * asserted), W waits seconds (at most 10), U sets both (`U1,0` = DTR 1, RTS 0).
 * @throws EspdError `config-invalid`
 */
export function parseResetSequence(text: string): ResetSequence {
  const steps: ResetStep[] = [];
  let lines: ControlLines = RELEASED;
  for (const part of text.split('|')) {
    const match = /^\s*(?:([DR])([01])|W(\d+(?:\.\d+)?)|U([01]),([01]))\s*$/.exec(part);
    if (match === null || Number(match[3] ?? 0) > 10) {
      throw new EspdError('config-invalid', `"${part}" is no step of a reset sequence`, {
        hint: 'Write steps like D0|R1|W0.1|D1|R0|W0.05|D0: D = DTR, R = RTS, U1,0 = both at once, W = wait in seconds',
      });
    }
    if (match[3] !== undefined) {
      steps.push({ waitMs: Number(match[3]) * 1000 });
      continue;
    }
    if (match[1] === 'D') lines = { ...lines, dtr: match[2] === '1' };
    else if (match[1] === 'R') lines = { ...lines, rts: match[2] === '1' };
    else lines = { dtr: match[4] === '1', rts: match[5] === '1' };
    steps.push(lines);
  }
  return { name: 'custom', steps };
}

export async function playReset(
  link: Link,
  sequence: ResetSequence,
  clock: Clock,
  signal?: AbortSignal,
): Promise<void> {
  for (const step of sequence.steps) {
    if ('waitMs' in step) await sleep(clock, step.waitMs, signal);
    else await link.setControlLines(step);
  }
}

/**
 * For listening to a boot log: a bridge that cannot do the rate must not keep a board from being reset.
 * @throws EspdError `port-vanished`
 */
export async function setBaudRateIfPossible(link: Link, baudRate: number): Promise<void> {
  try {
    await link.setBaudRate(baudRate);
  } catch (error) {
    if (hasCode(error, 'port-vanished')) throw error;
  }
}

/** How a board is to be reset into download mode. */
export type ResetMode = 'auto' | 'classic' | 'tight' | 'usb-serial-jtag' | 'usb-otg' | 'none' | ResetSequence;

const ESPRESSIF = '303a';
/** Silicon Labs, WCH, FTDI, Prolific: what has their vendor id is a bridge (https://usb-ids.gowdy.us). */
const BRIDGE_MAKERS = ['10c4', '1a86', '0403', '067b'];

/** USB ids of Espressif's USB-Serial/JTAG peripheral (https://github.com/espressif/usb-pids: 0x1001). */
function isUsbSerialJtag(usb: { vendorId: string; productId: string } | null): boolean {
  return usb?.vendorId === ESPRESSIF && usb.productId === '1001';
}

/**
 * The sequences to try, in order, over and over: the likeliest first. Three tries, the default, meet a board with a slow
 * EN pin, too. Where nobody knows what the line ends in (RFC 2217), a chip on its own USB gets its turn; it is not the
 * third, because that sequence starts the app of a board behind a bridge, and the last boot log is what tells. What is no
 * bridge of a known maker may be an app's own USB, of whatever maker; and as one with Espressif's id may be a bridge made
 * of an ESP chip (`esp-usb-bridge`), the sequences for bridges follow.
 */
export function resetPlan(
  mode: ResetMode,
  usb: { vendorId: string; productId: string } | null,
): readonly ResetSequence[] {
  if (typeof mode === 'object') return [mode];
  switch (mode) {
    case 'none':
      return [];
    case 'classic':
      return [classicReset(50), classicReset(550)];
    case 'tight':
      return [tightReset(50), tightReset(550)];
    case 'usb-serial-jtag':
      return [usbSerialJtagReset];
    case 'usb-otg':
      return [usbOtgReset];
    case 'auto': {
      const bridge = [tightReset(50), tightReset(550), classicReset(50), classicReset(550)];
      if (isUsbSerialJtag(usb)) return [usbSerialJtagReset];
      if (usb === null) return [tightReset(50), usbSerialJtagReset, ...bridge.slice(1), usbOtgReset];
      if (BRIDGE_MAKERS.includes(usb.vendorId)) return [tightReset(50, BRIEF_EN_LOW_MS), ...bridge.slice(1)];
      return [usbOtgReset, ...(usb.vendorId === ESPRESSIF ? [usbSerialJtagReset] : []), ...bridge];
    }
  }
}

/**
 * Whether the port is best opened without releasing the lines that the system asserts: for an app that takes their
 * release for a request to restart, the reset must be the first that it sees.
 */
export function beginsAtOpen(mode: ResetMode, usb: { vendorId: string; productId: string } | null): boolean {
  // Where nothing is played, a board is looked for that may still run such an app.
  const isPlayed = typeof mode !== 'object' || mode.steps.length > 0;
  return resetPlan(isPlayed ? mode : 'auto', usb)[0] === usbOtgReset;
}
