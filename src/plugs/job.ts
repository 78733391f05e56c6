/** One job at a plug-in, of the daemon or of a command, and what the slots must know of it. */

import { sleep } from '../clock.ts';
import { hasCode } from '../errors.ts';
import type { Mac } from '../mac.ts';
import type { PortInfo } from '../serial/ports.ts';
import { openLink } from '../serial/open-link.ts';
import { type Port, type Session, type SessionResult, withBoard } from '../transfer/session.ts';
import { type Finder, comeBack, followIntoDownloadMode, mayComeBack, notBack, sameAddress } from './follow.ts';
import { type PlugInOptions, onPlugIn } from './on-plug-in.ts';
import type { ResetInto, Slots } from './slots.ts';

/** A port that is to be worked on, and how its board is expected to be found. */
export interface PlugIn {
  readonly port: PortInfo;
  /** It went away when it was reset into download mode, and should be there now. */
  readonly inDownloadMode: boolean;
}

/** How far a job came. */
export interface JobTrace {
  /** Undefined until the board has answered. */
  mac: Mac | undefined;
  /** The port has been open: until then nothing of the board was touched. */
  wasOpened: boolean;
  /** Its link can move the lines of the board. */
  hasLines: boolean;
  /** The board was reset into its app. */
  hasLeft: boolean;
  /** The link is closed: from then on the job is only about the disk. */
  isReleased: boolean;
}

export function newTrace(): JobTrace {
  return { mac: undefined, wasOpened: false, hasLines: false, hasLeft: false, isReleased: false };
}

/** {@link PlugInOptions}, and who wants to know what becomes of it. */
export interface PlugInJobOptions extends PlugInOptions {
  /** Told of the resets of this job. */
  readonly slots?: Slots;
  /** Written while the job goes on. */
  readonly trace?: JobTrace;
}

/** A server on the network that has lost its board to a reset is asked so long, in milliseconds. */
const SERVER_RETURN_MS = 5000;
/** A board takes less to come back with its app; whoever runs the next command then finds it. */
const SERVER_SETTLE_MS = 1000;
/** So long a command waits for a board that was reset: USB takes a second, an app with a slow start some more. */
const RETURN_MS = 10_000;

/**
 * Does `work` on the board that was plugged in, and lets the slots know what that does to its port. A board on its own
 * USB that goes away at the reset makes another plug-in when it comes back; behind a server it is followed here.
 * @throws EspdError see {@link onPlugIn}
 */
export async function workOnPlugIn<T>(
  port: Port,
  options: PlugInJobOptions,
  work: (session: Session) => Promise<T>,
): Promise<SessionResult<T>> {
  const { clock, slots, trace = newTrace() } = options;
  const observed = observe(port, options, trace);
  let failure: unknown;
  slots?.started(port);
  try {
    return await onPlugIn(port, observed, work).catch((error: unknown) => {
      if (port.usb !== null || !wentAtReset(trace, options, error)) throw error;
      return followIntoDownloadMode(port, sameAddress, SERVER_RETURN_MS, observed, work);
    });
  } catch (error) {
    failure = error;
    throw error;
  } finally {
    const wentAway = hasCode(failure, 'port-vanished');
    // What is left to do after the release concerns the disk, and takes as long as that takes.
    if (!trace.hasLeft || !trace.isReleased)
      slots?.released(port, clock.now(), lastReset(trace, options.reset !== 'none', failure), wentAway);
  }
}

/** A result, and where the board is now. */
export interface Followed<T> {
  readonly result: SessionResult<T>;
  readonly port: Port;
}

/**
 * Does `work` for a command on a board that has been there for a while, and follows it through its resets. One that does
 * not come back when it is let go is warned of.
 * @throws EspdError see {@link withBoard}; `port-vanished` when it does not come back after the first reset
 */
export async function followBoard<T>(
  port: Port,
  find: Finder,
  options: PlugInOptions,
  work: (session: Session) => Promise<T>,
): Promise<Followed<T>> {
  const trace = newTrace();
  const observed = observe(port, options, trace);
  const finder = port.usb === null ? sameAddress : find;
  let result: SessionResult<T>;
  try {
    result = await withBoard(port, observed, work, observed.openLink);
  } catch (error) {
    if (!mayComeBack(port) || !wentAtReset(trace, options, error)) throw error;
    const waitMs = port.usb === null ? SERVER_RETURN_MS : RETURN_MS;
    result = await followIntoDownloadMode(port, finder, waitMs, observed, work);
  }
  if (!result.wentAway) return { result, port };
  if (port.usb === null) {
    // Nobody but the server knows when its board is back; to ask it would take the port.
    await sleep(options.clock, SERVER_SETTLE_MS, options.signal);
    return { result, port };
  }
  return { result, port: await returned(port, finder, options) };
}

/** Where a board on its own USB is that was let go; `port` with a warning when it stays away. */
export async function returned(
  port: Port,
  find: Finder,
  options: Pick<PlugInOptions, 'clock' | 'log' | 'signal'>,
): Promise<Port> {
  // The listing may still have it for a moment.
  await sleep(options.clock, GONE_MS, options.signal);
  const back = await comeBack(port, find, RETURN_MS, options);
  if (back !== undefined) return back;
  const { message, code, hint } = notBack(port, 'app', RETURN_MS);
  options.log.warn(message, { code, hint });
  return port;
}

/** Kernel and udev take a tty away within this time of the link's end. */
const GONE_MS = 200;

function observe(port: Port, options: PlugInJobOptions, trace: JobTrace): PlugInOptions {
  const open = options.openLink ?? openLink;
  return {
    ...options,
    openLink: async (...args) => {
      const link = await open(...args);
      trace.wasOpened = true;
      trace.hasLines = link.capabilities.controlLines;
      return link;
    },
    onProgress: (progress) => {
      const { phase, identity } = progress;
      const { clock, reset, slots } = options;
      if (phase === 'connecting') {
        Object.assign(trace, { hasLeft: false, isReleased: false });
      } else if (phase === 'leaving') {
        trace.hasLeft = true;
        slots?.leaving(port);
      } else if (phase === 'released') {
        trace.isReleased = true;
        if (trace.hasLeft) slots?.released(port, clock.now(), lastReset(trace, reset !== 'none', undefined));
      }
      if (phase === 'identified' && identity !== undefined) {
        trace.mac = identity.mac;
        slots?.identified(port, identity.mac);
      }
      options.onProgress?.(progress);
    },
  };
}

function wentAtReset(trace: JobTrace, { reset, signal }: PlugInOptions, error: unknown): boolean {
  return !signal.aborted && lastReset(trace, reset !== 'none', error) === 'download-mode';
}

/**
 * What the last reset in a job that is over leads to.
 * @param resets whether the lines may be moved at all
 */
export function lastReset({ mac, wasOpened, hasLines }: JobTrace, resets: boolean, failure: unknown): ResetInto {
  if (!resets || !wasOpened || !hasLines) return 'nothing';
  if (hasCode(failure, 'port-vanished')) return mac === undefined ? 'download-mode' : 'nothing';
  return 'app';
}
