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
  | { readonly kind: 'none' };

const NOTHING: LineEffect = { kind: 'none' };

export interface LineLogic {
  change(lines: ControlLines, loaderRuns: boolean): LineEffect;
}

export function lineLogicFor(usb: UsbKind, autoReset: boolean): LineLogic {
  if (!autoReset) return { change: () => NOTHING };
  if (usb === 'bridge') return bridge();
  return usb === 'usb-serial-jtag' ? usbSerialJtag() : usbOtg();
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

/**
 * USB-OTG: an app with Espressif's CDC console restarts itself when RTS falls, into download mode if DTR is asserted
 * (esp-idf components/esp_system/port/usb_console.c). The ROM's own CDC does nothing of the kind: only its watchdog helps.
 */
function usbOtg(): LineLogic {
  let hadRts = false;
  return {
    change({ dtr, rts }, loaderRuns) {
      const falls = hadRts && !rts;
      hadRts = rts;
      return falls && !loaderRuns ? { kind: 'core-reset', download: dtr } : NOTHING;
    },
  };
}
