/** One job at a plug-in, of the daemon or of a command, and what the slots must know of it. */

import { hasCode } from '../errors.ts';
import type { Mac } from '../mac.ts';
import type { PortInfo } from '../serial/ports.ts';
import { openLink } from '../serial/open-link.ts';
import type { Session, SessionResult } from '../transfer/session.ts';
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
}

export function newTrace(): JobTrace {
  return { mac: undefined, wasOpened: false };
}

/** {@link PlugInOptions}, and who wants to know what becomes of it. */
export interface PlugInJobOptions extends PlugInOptions {
  /** Told of the resets of this job. */
  readonly slots?: Slots;
  /** Written while the job goes on. */
  readonly trace?: JobTrace;
}

/**
 * Does `work` on the board that was plugged in, and lets the slots know what that does to its port.
 * @throws EspdError see {@link onPlugIn}
 */
export async function workOnPlugIn<T>(
  port: PortInfo,
  options: PlugInJobOptions,
  work: (session: Session) => Promise<T>,
): Promise<SessionResult<T>> {
  const { clock, reset, slots, trace = newTrace() } = options;
  const open = options.openLink ?? openLink;
  const observed: PlugInOptions = {
    ...options,
    openLink: async (...args) => {
      const link = await open(...args);
      trace.wasOpened = true;
      return link;
    },
    onProgress: (progress) => {
      const { phase, identity } = progress;
      if (phase === 'leaving') slots?.leaving(port);
      if (phase === 'identified' && identity !== undefined) {
        trace.mac = identity.mac;
        slots?.identified(port, identity.mac);
      }
      options.onProgress?.(progress);
    },
  };
  let failure: unknown;
  slots?.started(port);
  try {
    return await onPlugIn(port, observed, work);
  } catch (error) {
    failure = error;
    throw error;
  } finally {
    slots?.released(port, clock.now(), lastReset(trace, reset !== 'none', failure));
  }
}

/**
 * What the last reset in a job that is over leads to.
 * @param resets whether the lines may be moved at all
 */
export function lastReset({ mac, wasOpened }: JobTrace, resets: boolean, failure: unknown): ResetInto {
  if (!resets || !wasOpened) return 'nothing';
  if (hasCode(failure, 'port-vanished')) return mac === undefined ? 'download-mode' : 'nothing';
  return 'app';
}
