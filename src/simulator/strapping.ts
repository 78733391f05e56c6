/** From the host's control lines and a person's fingers to EN and GPIO0: three kinds of boards. */

import type { ControlLines } from '../serial/link.ts';

export type UsbKind = 'bridge' | 'usb-serial-jtag' | 'usb-otg';

export interface Pins {
  /** True while the chip is held in reset. */
  readonly reset: boolean;
  /** True while GPIO0 (GPIO9 on C3 and others) is pulled low: download mode at the next reset. */
  readonly boot: boolean;
}

/** What a change of the lines means for the chip. */
export type LineEffect =
  /** The reset pin goes down or comes up. */
  | { readonly kind: 'pins'; readonly pins: Pins }
  /** The USB peripheral resets the core; the pins are not looked at. */
  | { readonly kind: 'core-reset'; readonly download: boolean }
  /**
   * The app restarts the chip after `afterMs`, into download mode by a flag of the RTC where that is wanted. Another one
   * takes its place; what else happens on USB meanwhile begins the wait anew.
   */
  | { readonly kind: 'restart'; readonly download: boolean; readonly afterMs: number }
  | { readonly kind: 'none' };

const NOTHING: LineEffect = { kind: 'none' };

export interface LineLogic {
  change(lines: ControlLines, loaderRuns: boolean): LineEffect;
}

/** What an app on USB-OTG does with the lines, which reach nothing but the app. */
export type OtgApp = 'esp-idf' | 'arduino' | 'deaf';

export function lineLogicFor(usb: UsbKind, autoReset: boolean, app: OtgApp): LineLogic {
  if (!autoReset) return { change: () => NOTHING };
  if (usb === 'bridge') return bridge();
  if (usb === 'usb-serial-jtag') return usbSerialJtag();
  return OTG_APPS[app]();
}

/**
 * Two transistors across: EN goes low with RTS unless DTR is asserted too, GPIO0 low with DTR unless RTS is (esp-dev-kits'
 * schematics; espflash src/connection/reset.rs).
 */
function bridge(): LineLogic {
  return {
    change: ({ dtr, rts }) => ({ kind: 'pins', pins: { reset: rts && !dtr, boot: dtr && !rts } }),
  };
}

/**
 * USB-Serial/JTAG (ESP32-C3 Technical Reference Manual, "CDC-ACM control signal decoding"): RTS=0 DTR=0 clears the
 * download flag, RTS=0 DTR=1 sets it, RTS=1 DTR=0 resets, RTS=1 DTR=1 does nothing.
 */
function usbSerialJtag(): LineLogic {
  let download = false;
  let wasReset = false;
  return {
    change({ dtr, rts }) {
      const resets = rts && !dtr;
      if (!rts) download = dtr;
      const effect: LineEffect = resets && !wasReset ? { kind: 'core-reset', download } : NOTHING;
      wasReset = resets;
      return effect;
    },
  };
}

/** Between the edge and the restart the console's output is to leave (RESTART_TIMEOUT of usb_console.c: 50 ms). */
const IDF_RESTART_MS = 50;

const OTG_APPS: Readonly<Record<OtgApp, () => LineLogic>> = {
  'esp-idf': idfConsole,
  arduino: arduinoCdc,
  deaf: () => ({ change: () => NOTHING }),
};

/**
 * An app with ESP-IDF's console on USB CDC restarts when RTS falls, into download mode if DTR is asserted then: 50 ms
 * after the last interrupt of USB, and by the last edge until then. So opening its port and releasing both lines restarts
 * it. (esp-idf components/esp_system/port/usb_console.c, esp_usb_console_cdc_acm_cb and esp_usb_console_interrupt.)
 * The ROM's own CDC does nothing of the kind: only its watchdog helps.
 */
function idfConsole(): LineLogic {
  let hadRts = false;
  return {
    change({ dtr, rts }, loaderRuns) {
      const falls = hadRts && !rts;
      hadRts = rts;
      return falls && !loaderRuns ? { kind: 'restart', download: dtr, afterMs: IDF_RESTART_MS } : NOTHING;
    },
  };
}

/** DTR and RTS, one after the other through both, that Arduino's CDC waits for. */
const ARDUINO_STEPS = ['01', '11', '10', '00'] as const;

/**
 * An Arduino app's CDC restarts into download mode after four changes in a row: RTS alone, both, DTR alone, none. A state
 * that is repeated does not count; any other order begins anew, and the first step out of order only ends what had begun.
 * (arduino-esp32 cores/esp32/USBCDC.cpp, _onLineState. It does the same at 1200 baud.)
 */
function arduinoCdc(): LineLogic {
  let before = '00';
  let step = 0;
  return {
    change({ dtr, rts }, loaderRuns) {
      const now = `${Number(dtr)}${Number(rts)}`;
      if (now === before) return NOTHING;
      before = now;
      step = ARDUINO_STEPS[step] === now ? step + 1 : 0;
      if (step < ARDUINO_STEPS.length) return NOTHING;
      step = 0;
      return loaderRuns ? NOTHING : { kind: 'restart', download: true, afterMs: 0 };
    },
  };
}
