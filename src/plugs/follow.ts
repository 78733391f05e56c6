/**
 * A board that goes away because it was reset, as boards on their own USB do, is followed to where it comes back: also
 * to another tty number, and through a serial port server that hangs up meanwhile.
 */

import { type Clock, sleep } from '../clock.ts';
import { EspdError, hasCode } from '../errors.ts';
import type { ResetMode } from '../esp/reset.ts';
import type { PortInfo } from '../serial/ports.ts';
import type { Port, Session, SessionResult } from '../transfer/session.ts';
import { type PlugInOptions, onPlugIn } from './on-plug-in.ts';
import { type ResetInto, isOwnUsb, isSamePlace } from './slots.ts';

/** Where a board is now that was at `port`; undefined while it is away. */
export type Finder = (port: Port) => Promise<Port | undefined>;

/** A look costs about a millisecond, a connection that is refused little more. */
const LOOK_MS = 250;

/** Looks for the same place of USB in the listing. */
export function finderIn(list: () => Promise<readonly PortInfo[]>): Finder {
  return async (port) => (await list()).find((other) => isSamePlace(port, other));
}

/** A port that is no USB device here keeps its address: a server on the network, most likely. */
export const sameAddress: Finder = (port) => Promise.resolve(port);

/** Where `port` has come back, within `waitMs`; undefined = nowhere. */
export async function comeBack(
  port: Port,
  find: Finder,
  waitMs: number,
  { clock, signal }: { clock: Clock; signal: AbortSignal },
): Promise<Port | undefined> {
  const deadline = clock.now() + waitMs;
  for (;;) {
    const found = await find(port);
    if (found !== undefined || clock.now() >= deadline) return found;
    await sleep(clock, LOOK_MS, signal);
  }
}

/**
 * The job on a board that went away when it was reset into download mode: waits for it and does `work` there. Where it is
 * back in its app, it is reset once more (behind a server once in each way of a chip's own USB), and that is all.
 *
 * @param waitMs how long it may stay away
 * @throws EspdError `port-vanished` when it does not come back; see {@link onPlugIn}
 */
export async function followIntoDownloadMode<T>(
  port: Port,
  find: Finder,
  waitMs: number,
  options: PlugInOptions,
  work: (session: Session) => Promise<T>,
): Promise<SessionResult<T>> {
  const { clock, log, signal } = options;
  log.debug('Went away when it was reset; waiting for its return', { port: port.address });
  const deadline = clock.now() + waitMs;
  // What a server's port ends in shows only now, by its going away: it is a chip's own USB.
  const ways: readonly ResetMode[] =
    port.usb === null && options.reset === 'auto' ? ['usb-serial-jtag', 'usb-otg'] : [options.reset];
  const seen = { resets: 0, identified: false };
  for (;;) {
    const back = await comeBack(port, find, deadline - clock.now(), options);
    if (back === undefined) throw notBack(port, 'download-mode', waitMs);
    const way = ways[seen.resets];
    const observed: PlugInOptions = {
      ...options,
      ...(way === undefined ? { listenOnly: true } : { inDownloadMode: true, reset: way }),
      onReset: () => {
        seen.resets++;
      },
      onProgress: (progress) => {
        seen.identified ||= progress.phase === 'identified';
        options.onProgress?.(progress);
      },
    };
    try {
      return await onPlugIn(back, observed, work);
    } catch (error) {
      // The listing and the server may not have noticed yet that it is away.
      if (seen.identified || !hasCode(error, ...STILL_AWAY)) throw error;
      if (clock.now() >= deadline) throw notBack(port, 'download-mode', waitMs);
    }
    await sleep(clock, LOOK_MS, signal);
  }
}

const STILL_AWAY = ['port-missing', 'port-busy', 'port-failed', 'port-vanished', 'no-rfc2217'] as const;

/** Whether a reset may have taken the port away, so that it is worth waiting for. */
export function mayComeBack(port: Port): boolean {
  return port.usb === null || isOwnUsb(port);
}

/** The error of a board that has not come back after a reset. */
export function notBack({ address }: Port, into: ResetInto, waitMs: number): EspdError {
  const time = `${Math.round(waitMs / 1000)} s`;
  return into === 'app'
    ? new EspdError(
        'port-vanished',
        `The board at ${address} has not come back within ${time} of the reset into its app`,
        {
          hint: 'If its app does not use USB, all is well. If it does, unplug the board and plug it in again',
        },
      )
    : new EspdError(
        'port-vanished',
        `The board at ${address} went away when it was reset into download mode, and did not come back within ${time}`,
        { hint: 'Unplug it and plug it in again. If that does not help, hold its BOOT button while you plug it in' },
      );
}
