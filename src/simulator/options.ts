/** What a simulated board can be told to be. */

import type { Clock } from '../clock.ts';
import { systemClock } from '../clock.ts';
import { chipModelOf } from './chips/index.ts';
import type { ChipIdentity, ChipModel, Family } from './chips/model.ts';
import type { Fault } from './faults.ts';
import { Flash, jedecFor } from './flash.ts';
import type { LineOptions } from './line.ts';
import { INSTANT_SPEEDS } from './loader.ts';
import type { ChipSpeeds } from './loader.ts';
import { seedOf } from './random.ts';
import type { BuiltReader } from './reader/program.ts';
import type { OtgApp, UsbKind } from './strapping.ts';

export interface BoardOptions {
  readonly family: Family;
  /** Default: made from the family and the seed, in Espressif's range 24:0a:c4. */
  readonly mac?: string;
  /** 256 KiB to 128 MiB, a power of two; default 4 MiB. */
  readonly flashSizeBytes?: number;
  /** Manufacturer, type, capacity; default an ordinary chip of that size. */
  readonly jedec?: readonly [number, number, number];
  /** Flash content from address 0; the rest is blank. */
  readonly content?: Uint8Array;
  /** The flash really ends here and begins anew (a counterfeit chip). */
  readonly aliasedAtBytes?: number;
  readonly wornSectors?: readonly number[];
  readonly flippedReads?: readonly number[];
  /** The flash's status register: see `FlashOptions.status`. */
  readonly flashStatus?: number;
  readonly crystalMHz?: number;
  readonly revision?: { readonly major: number; readonly minor: number };
  readonly packageVersion?: number;
  /** eFuse codes of memory in the package. */
  readonly embedded?: Partial<Pick<ChipIdentity, 'flashCapacity' | 'flashVendor' | 'psramCapacity' | 'psramVendor'>>;
  readonly security?: Partial<
    Pick<ChipIdentity, 'flashEncryption' | 'secureBoot' | 'secureDownload' | 'downloadDisabled'>
  >;
  /** Seven key purposes of GET_SECURITY_INFO; default as a new chip has them. */
  readonly keyPurposes?: readonly number[];
  /** How the board hangs on USB; default a bridge chip. */
  readonly usb?: UsbKind;
  /**
   * USB-OTG: what the app makes of DTR and RTS; default `esp-idf`, its console on USB CDC. `arduino`: its CDC; an ESP32-S3
   * then shows its USB-Serial/JTAG in download mode (`usb_persist_restart` of arduino-esp32). `deaf`: an app of another
   * kind.
   */
  readonly otgApp?: OtgApp;
  /** False: DTR and RTS reach nothing; a person must press BOOT and RESET. Default true. */
  readonly autoReset?: boolean;
  /** Native USB: the port goes away at each reset and comes back. Default false. */
  readonly reenumerates?: boolean;
  readonly faults?: readonly Fault[];
  readonly speeds?: Partial<ChipSpeeds>;
  /** Default: the system's. */
  readonly clock?: Clock;
  /** Baud rates, latency and chunks; absent = the wire takes no time, though rates must still agree. */
  readonly line?: LineOptions;
  /** The stub uploaded behaves as those of before 2024 did. */
  readonly legacyStub?: boolean;
  /** The stub uploaded reaches 16 MiB only and wraps above, as some do that were built before large flashes. */
  readonly smallStub?: boolean;
  /** From EN's release to the moment at which GPIO0 is looked at; default 1 ms. Large capacitors on EN take longer. */
  readonly enRiseMs?: number;
  /** A pulse on EN that is shorter than this goes unnoticed; default 0. */
  readonly minEnLowMs?: number;
  /** From there to a loader that listens (or an app that runs); default 5 ms. */
  readonly bootMs?: number;
  /** The app writes into its NVS partition so long after its start; absent = never. */
  readonly appWritesNvsAfterMs?: number;
  /** What the app prints at its start; default a few lines of an ESP-IDF app. */
  readonly appOutput?: string;
  /** The app prints a line this often, for ever; absent = never. */
  readonly appChatterMs?: number;
  /** Default 115200. */
  readonly appBaudRate?: number;
  /** USB-Serial/JTAG: a watchdog left running by the app resets the chip in download mode after this time unless it is switched off. */
  readonly armedWatchdogMs?: number;
  /** Register words that stand whatever else is said (of a recorded chip). */
  readonly registerPresets?: ReadonlyMap<number, number>;
  /** The reader that the chip can run, as its artefact describes it; default: the one that was built for it, if any. */
  readonly reader?: BuiltReader;
  /** For noise and default content; default 1. */
  readonly seed?: number;
}

/** Options with every default filled in. */
export interface BoardPlan {
  readonly model: ChipModel;
  readonly identity: ChipIdentity;
  readonly flash: Flash;
  readonly options: BoardOptions;
  readonly usb: UsbKind;
  readonly clock: Clock;
  readonly speeds: ChipSpeeds;
  readonly seed: number;
}

export function planOf(options: BoardOptions): BoardPlan {
  const model = chipModelOf(options.family);
  const seed = options.seed ?? 1;
  const sizeBytes = options.flashSizeBytes ?? 4 * 1024 * 1024;
  const identity: ChipIdentity = {
    mac: options.mac ?? defaultMac(options.family, seed),
    revision: options.revision ?? model.defaults.revision,
    packageVersion: options.packageVersion ?? model.defaults.packageVersion,
    crystalMHz: options.crystalMHz ?? model.defaults.crystalMHz,
    flashCapacity: 0,
    flashVendor: 0,
    psramCapacity: 0,
    psramVendor: 0,
    flashEncryption: false,
    secureBoot: false,
    secureDownload: false,
    downloadDisabled: false,
    ...options.embedded,
    ...options.security,
  };
  const flash = new Flash({
    sizeBytes,
    jedec: options.jedec ?? jedecFor(sizeBytes),
    ...(options.content === undefined ? {} : { content: options.content }),
    ...(options.aliasedAtBytes === undefined ? {} : { aliasedAtBytes: options.aliasedAtBytes }),
    ...(options.wornSectors === undefined ? {} : { wornSectors: options.wornSectors }),
    ...(options.flippedReads === undefined ? {} : { flippedReads: options.flippedReads }),
    ...(options.flashStatus === undefined ? {} : { status: options.flashStatus }),
  });
  return {
    model,
    identity,
    flash,
    options,
    usb: options.usb ?? 'bridge',
    clock: options.clock ?? systemClock,
    speeds: { ...INSTANT_SPEEDS, ...options.speeds },
    seed,
  };
}

function defaultMac(family: Family, seed: number): string {
  const tail = seedOf(`${family}/${seed}`).toString(16).padStart(8, '0').slice(-6);
  return `24:0a:c4:${tail.slice(0, 2)}:${tail.slice(2, 4)}:${tail.slice(4, 6)}`;
}
