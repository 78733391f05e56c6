/** Who is plugged in: the listing is the truth, everything else only says that it is worth looking again. */

import type { UsbFacts } from './link.ts';

/** A port that is there now. */
export interface PortInfo {
  /** What to open: a device path or a link address (`rfc2217://...`). */
  readonly address: string;
  /**
   * The same plug-in has the same key; the same slot after a re-plug has another one where the system lets us see
   * that. Built from address, USB location and the node's identity (inode and creation time).
   */
  readonly key: string;
  /** USB facts; null for ports that are no USB devices (pty, link in a watched folder, built-in UART). */
  readonly usb: UsbFacts | null;
  /** True for ports found in a folder that the config names: somebody put them there for us. */
  readonly fromFolder: boolean;
}

/** Emitted by the watcher when the listing has changed. */
export type PortEvent = { readonly kind: 'attached' | 'detached'; readonly port: PortInfo };
