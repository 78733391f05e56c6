/** Hints from the kernel's USB events, through the package `usb`. */

import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { HotplugUnavailable, type HotplugSource } from './source.ts';

/** The part of `usb`'s native emitter that is used: just "something came" and "something went". */
export interface UsbEmitter {
  addAttach(callback: () => void): Promise<void>;
  addDetach(callback: () => void): Promise<void>;
  removeAttach(): Promise<void>;
  removeDetach(): Promise<void>;
}

export interface UsbSourceOptions {
  readonly sysRoot?: string;
  /** That of the package `usb` unless a test has another. */
  readonly openEmitter?: () => Promise<UsbEmitter>;
}

export function createUsbSource(options: UsbSourceOptions = {}): HotplugSource {
  const { sysRoot = '/sys', openEmitter = openNativeEmitter } = options;
  let emitter: UsbEmitter | undefined;
  let closed = false;
  let starting: Promise<void> | undefined;

  async function listen(onHint: (reason: string) => void): Promise<void> {
    if (process.platform === 'linux') {
      await access(join(sysRoot, 'bus/usb')).catch(() => {
        throw new HotplugUnavailable('this system has no USB (no /sys/bus/usb)');
      });
    }
    emitter = await openEmitter();
    // The events' own facts are left alone: reading a serial number there may open the device, and fail.
    await emitter.addAttach(() => onHint('usb attach'));
    await emitter.addDetach(() => onHint('usb detach'));
  }

  return {
    name: 'usb',
    start(onHint) {
      starting = listen((reason) => {
        if (!closed) onHint(reason);
      });
      return starting;
    },
    async close() {
      closed = true;
      await starting?.catch(() => undefined);
      // Each by itself: the emitter keeps the process alive until both are gone.
      await emitter?.removeAttach().catch(() => undefined);
      await emitter?.removeDetach().catch(() => undefined);
      emitter = undefined;
    },
  };
}

/**
 * The emitter below `usb.addEventListener`. That function starts it in the background and throws what goes wrong (no
 * AF_NETLINK in a hardened unit) where nobody can catch it, which ends the process (usb 3.1.0, dist/index.js,
 * queueNativeEmitterOperation); here it rejects.
 */
async function openNativeEmitter(): Promise<UsbEmitter> {
  const { WebUSB } = await import('usb');
  class Usb extends WebUSB {
    get emitter(): UsbEmitter {
      return this.nativeEmitter;
    }
  }
  return new Usb().emitter;
}
