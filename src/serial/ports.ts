/** Who is plugged in: the listing is the truth, everything else only says that it is worth looking again. */

import type { UsbFacts } from './link.ts';

/** A port that is there now. */
export interface PortInfo {
  /** What to open: a device path or a link address (`rfc2217://...`). */
  readonly address: string;
  /**
   * The same plug-in has the same key; the same slot after a re-plug has another one where the system lets us see
   * that. Built from address, USB location, USB device number and the identity (inode) of the nodes; only for comparing.
   */
  readonly key: string;
  /** USB facts; null for ports that are no USB devices (pty, link in a watched folder, built-in UART). */
  readonly usb: UsbFacts | null;
  /** True for ports found in a folder that the config names: somebody put them there for us. */
  readonly fromFolder: boolean;
  /** What the config calls a port of another machine (`watch.remotes`): printable, and among the aliases. */
  readonly name?: string;
  /**
   * Other names of the same port, for rules to match: udev's `/dev/serial/by-id/...` (as udev will name it, also
   * while it has not yet done so), links in watched folders. Not for opening.
   */
  readonly aliases?: readonly string[];
}

/** Emitted by the watcher when the listing has changed. `renamed`: the config calls the port otherwise now. */
export type PortEvent = {
  readonly kind: 'attached' | 'detached' | 'renamed';
  readonly port: PortInfo;
  /** True for ports of the first listing that succeeded: they were there before the watcher was. */
  readonly existing?: boolean;
};

/**
 * A pattern for ports: all fields given must match, and one without any field matches nothing (a slip in a config must
 * not mean "every port"). Texts are compared whole and without regard to case; `*` stands for any characters.
 */
export interface PortMatcher {
  /** Four hex digits; `0x` and leading zeros may be there or not. */
  readonly vendorId?: string | undefined;
  readonly productId?: string | undefined;
  readonly serialNumber?: string | undefined;
  readonly manufacturer?: string | undefined;
  readonly product?: string | undefined;
  /** The address or any other name of the port: `/dev/ttyUSB*`, `/dev/serial/by-id/*Sonoff*`, a link in a folder. */
  readonly path?: string | undefined;
  /** The place of the plug: `1-1.4:1.0`. */
  readonly location?: string | undefined;
}
