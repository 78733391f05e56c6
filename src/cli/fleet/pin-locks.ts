/** The daemon's holds on pinned backups in the object store (`store.lock: pins`): when it looks, and what the log tells. */

import type { EventBus } from '../../daemon/events.ts';
import { toEspdError } from '../../errors.ts';
import type { Logger } from '../../log.ts';
import type { Mac } from '../../mac.ts';
import type { Fleet } from '../../replication/open.ts';
import { lockPins } from '../../replication/pin-locks.ts';
import type { CommandContext } from '../context.ts';
import { plural } from '../text.ts';

/** Pins and pushes come one after the other. */
const QUIET_MS = 10_000;
/** All boards are looked at once so long after the start. */
const START_MS = 60_000;
/** What failed, or was not in the store yet, is tried again. */
const RETRY_MS = 5 * 60_000;

export interface PinLocks {
  /** All boards. Never rejects but with the signal's reason: what fails is told in the log, and tried again. */
  run(): Promise<void>;
  /** What was to come does not come any more. */
  stop(): void;
}

/** @param inTurn does work of the store one after the other; never rejects where the work does not */
export function makePinLocks(
  { archive, clock, log, signal }: Pick<CommandContext, 'archive' | 'clock' | 'signal'> & { readonly log: Logger },
  events: Pick<EventBus, 'subscribe'>,
  fleet: Pick<Fleet, 'openToRead' | 'state'>,
  inTurn: (work: () => Promise<void>) => Promise<void>,
): PinLocks {
  let isAll = false;
  let macs = new Set<Mac>();
  let cancel: (() => void) | undefined;
  let isSoon = false;
  let isStopped = false;
  let told: string | undefined;

  const lock = async (only?: ReadonlySet<Mac>) => {
    try {
      const report = await lockPins(
        { archive, bucket: await fleet.openToRead(), stateFolder: fleet.state.folder },
        { signal, ...(only === undefined ? {} : { only }) },
      );
      told = undefined;
      for (const { mac, id, isHeld } of report.done) {
        log.info(isHeld ? 'The object store holds a pinned backup' : 'The object store holds a backup no longer', {
          mac,
          id,
        });
      }
      const { unread } = report;
      if (unread.length > 0) log.warn('Pins of some boards cannot be read: their holds stay as they are', { unread });
      for (const mac of report.waiting) macs.add(mac);
      if (report.waiting.length > 0) later(RETRY_MS);
    } catch (error) {
      signal.throwIfAborted();
      const { code, message, hint } = toEspdError(error);
      if (told !== code) log.warn(`Pinned backups are not held by the object store: ${message}`, { code, hint });
      told = code;
      isAll ||= only === undefined;
      for (const mac of only ?? []) macs.add(mac);
      later(RETRY_MS);
    }
  };
  const later = (waitMs: number) => {
    if (signal.aborted || isStopped) return;
    cancel?.();
    isSoon = waitMs <= QUIET_MS;
    cancel = clock.schedule(waitMs, () => {
      cancel = undefined;
      isSoon = false;
      const only = isAll ? undefined : macs;
      isAll = false;
      macs = new Set();
      inTurn(() => lock(only)).catch(() => undefined);
    });
  };

  isAll = true;
  later(START_MS);
  events.subscribe((event) => {
    if (event.type === 'backup-pinned' || event.type === 'backup-pushed') macs.add(event.mac);
    else if (event.type === 'stations-heard') {
      for (const mac of event.macs) macs.add(mac);
      isAll ||= event.boards > event.macs.length;
    } else return;
    // A station that is busy pushing for hours holds what is pinned all the same.
    if (!isSoon) later(QUIET_MS);
  });
  return {
    run: () => lock(),
    stop() {
      isStopped = true;
      cancel?.();
    },
  };
}

/** What `espd push` says of it; undefined: there is nothing to do. */
export async function holdPins({ archive, config, signal }: CommandContext, fleet: Fleet): Promise<string | undefined> {
  if (config.store?.lock !== 'pins') return undefined;
  try {
    const bucket = await fleet.openToRead();
    const { done } = await lockPins({ archive, bucket, stateFolder: fleet.state.folder }, { signal });
    const held = done.filter(({ isHeld }) => isHeld).length;
    const ended = done.length - held;
    const parts = [
      ...(held === 0 ? [] : [`${plural(held, 'pinned backup')} held by the store from now on`]),
      ...(ended === 0 ? [] : [`${ended} not any more`]),
    ];
    return parts.length === 0 ? undefined : parts.join(', ');
  } catch (error) {
    signal.throwIfAborted();
    const { message, hint } = toEspdError(error);
    return `Pinned backups are not held by the store: ${message}. ${hint}`;
  }
}
