/**
 * The RTC watchdog (RWDT) and the super watchdog (SWD), which a reset over USB-Serial/JTAG leaves running as the app
 * had set them: unless quieted, they reset the chip in the middle of a long read.
 */

import type { RegisterAccess } from './chip.ts';

/** Write-protect keys: RTC_CNTL_WDT_WKEY; RTC_CNTL_SWD_WKEY before the chips with an LP_WDT, which use the first one. */
const RWDT_KEY = 0x50d83aa1;
export const SWD_KEY = 0x8f1d312a;

export interface RtcWatchdog {
  readonly config0: number;
  /** Timeout of stage 0, in ticks of the RTC slow clock. */
  readonly config1: number;
  readonly writeProtect: number;
}

export interface SuperWatchdog {
  readonly config: number;
  readonly writeProtect: number;
  readonly key: number;
  /** SWD_AUTO_FEED_EN, as a mask. */
  readonly autoFeed: number;
}

export interface Watchdogs {
  readonly rtc: RtcWatchdog;
  readonly super: SuperWatchdog;
}

/** LP_WDT of ESP32-C5, -C6, -C61 and -P4 (esp-idf components/soc/<chip>/register/soc/lp_wdt_reg.h). */
export function lpWatchdogs(base: number): Watchdogs {
  return {
    rtc: { config0: base, config1: base + 0x04, writeProtect: base + 0x18 },
    super: { config: base + 0x1c, writeProtect: base + 0x20, key: RWDT_KEY, autoFeed: 1 << 18 },
  };
}

/** LP_WDT of ESP32-H2: one more register before the write protection (its lp_wdt_reg.h). */
export function h2Watchdogs(base: number): Watchdogs {
  return {
    rtc: { config0: base, config1: base + 0x04, writeProtect: base + 0x1c },
    super: { config: base + 0x20, writeProtect: base + 0x24, key: RWDT_KEY, autoFeed: 1 << 18 },
  };
}

/** Switches the RTC watchdog off and lets the super watchdog feed itself, as esptool does before it loads a stub. */
export async function quietWatchdogs(registers: RegisterAccess, watchdogs: Watchdogs): Promise<void> {
  const { rtc, super: swd } = watchdogs;
  await registers.write(rtc.writeProtect, RWDT_KEY);
  await registers.write(rtc.config0, 0);
  await registers.write(rtc.writeProtect, 0);
  await registers.write(swd.writeProtect, swd.key);
  await registers.write(swd.config, ((await registers.read(swd.config)) | swd.autoFeed) >>> 0);
  await registers.write(swd.writeProtect, 0);
}

/** Enabled, stage 0 resets the system and the RTC, reset signals of the lengths that esptool writes. */
const RESET_CONFIG = ((1 << 31) | (5 << 28) | (1 << 8) | 2) >>> 0;
/** Some 15 ms of the slow clock: time for the last reply to leave. */
const RESET_TICKS = 2000;

/** Lets the RTC watchdog reset the chip, strapping pins and all. Source: esptool `watchdog_reset`. */
export async function resetThroughWatchdog(registers: RegisterAccess, rtc: RtcWatchdog): Promise<void> {
  await registers.write(rtc.writeProtect, RWDT_KEY);
  await registers.write(rtc.config1, RESET_TICKS);
  await registers.write(rtc.config0, RESET_CONFIG);
  await registers.write(rtc.writeProtect, 0);
}

/** What decides how a chip with USB-OTG starts after a reset. */
export interface BootSelection {
  /** GPIO_STRAP_REG; its bit 3 is 0 where the boot pin was held for download mode. */
  readonly strapping: number;
  /** Register with the bit that forces download mode over USB, as a mask. */
  readonly forceDownload: { readonly address: number; readonly mask: number };
}

/** Whether the boot pin was low at the last reset; a reset line of native USB does not look at it again. */
export async function isBootPinLow(registers: RegisterAccess, selection: BootSelection): Promise<boolean> {
  return ((await registers.read(selection.strapping)) & (1 << 3)) === 0;
}

/** https://github.com/espressif/arduino-esp32/issues/6762: left set, the chip comes back into download mode. */
export async function clearForceDownload(registers: RegisterAccess, selection: BootSelection): Promise<void> {
  const { address, mask } = selection.forceDownload;
  const word = await registers.read(address);
  if ((word & mask) !== 0) await registers.write(address, (word & ~mask) >>> 0);
}
