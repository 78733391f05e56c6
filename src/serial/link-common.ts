/** What every kind of byte link is opened with, and the limits and errors that all of them share. */

import type { Clock } from '../clock.ts';
import { EspdError } from '../errors.ts';
import type { Logger } from '../log.ts';

export interface LinkOptions {
  /** Rate to open with, in baud; 1 to 4,000,000 on real ports, any that the driver takes (74880 included). */
  readonly baudRate: number;
  readonly clock: Clock;
  readonly log: Logger;
  /** Ends the opening, with the signal's reason; without influence once the link is open. */
  readonly signal?: AbortSignal | undefined;
  /** A server of the network must prove that it has a serial port before a byte goes to its device. Default: no. */
  readonly mustSpeakRfc2217?: boolean | undefined;
}

/**
 * Time that the system may need beyond the wire: USB latency, scheduling, a busy network. Kernels give a USB control
 * transfer up to 5 s (USB_CTRL_SET_TIMEOUT in include/linux/usb.h); a device that takes 3 s is lost for this work.
 */
const SYSTEM_MARGIN_MS = 3000;

/** Milliseconds that `sizeBytes` take on the wire: 8N1 makes ten bits of a byte. */
export function wireTimeMs(sizeBytes: number, baudRate: number): number {
  return (sizeBytes * 10_000) / baudRate;
}

/** Milliseconds after which a transfer of `sizeBytes` is given up: twice the time on the wire, and a margin. */
export function transferLimitMs(sizeBytes: number, baudRate: number): number {
  return SYSTEM_MARGIN_MS + Math.ceil(2 * wireTimeMs(sizeBytes, baudRate));
}

/** The `port-vanished` of a link that ended by itself. */
export function vanished(address: string, cause: unknown, what = 'went away while it was in use'): EspdError {
  return new EspdError('port-vanished', `${address} ${what}`, {
    cause,
    hint: 'Check the cable, the hub and the power of the board, then plug it in again',
  });
}

/** The `port-vanished` of a link that its owner has closed. */
export function closedByUs(address: string): EspdError {
  return new EspdError('port-vanished', `${address} is closed`);
}

/** Resolves after the event loop has polled once more, so that what the kernel already holds has been handed up. */
export function nextPoll(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/**
 * `work`, but rejecting with the signal's reason as soon as it is aborted. The work goes on; `discard` gets a result
 * that comes too late.
 */
export function unlessAborted<T>(
  signal: AbortSignal | undefined,
  work: Promise<T>,
  discard: (late: T) => void,
): Promise<T> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    let done = false;
    const onAbort = () => {
      done = true;
      reject(signal.reason as Error);
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    work
      .finally(() => signal.removeEventListener('abort', onAbort))
      .then((value) => {
        if (done) discard(value);
        else resolve(value);
      }, reject);
  });
}
