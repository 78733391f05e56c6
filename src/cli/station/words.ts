/** How the state of a port is said, the same in `status` and in `watch`. Pure. */

import type { JobOutcome, PortView } from '../../daemon/station.ts';
import { PHASE_WORDS } from '../progress.ts';
import { formatSize } from '../text.ts';

/** In capitals what is to be read from afar, and what follows it. */
export interface Mark {
  readonly mark: string;
  readonly why: string;
}

/** What people call a port: a remote by its name first. */
export function placeOf({ name, port }: Pick<PortView, 'name' | 'port'>): string {
  return name === null ? port : `${name} (${port})`;
}

export function markOf(view: PortView): Mark {
  const { state, error, heldBy, heldUntil, reason, retryAt } = view;
  switch (state) {
    case 'done':
      // What another machine has is not at hand.
      return { mark: 'DONE', why: view.name === null ? 'unplug' : '' };
    case 'working': {
      const percent = percentOf(view);
      const phase = phaseWord(view.phase);
      return percent === null ? { mark: 'WORKING', why: phase } : { mark: `WORKING ${percent} %`, why: phase };
    }
    case 'failed':
      return { mark: 'FAILED', why: error === null ? 'no reason was told' : error.message };
    case 'waiting':
      return { mark: 'WAITING', why: 'for its turn' };
    case 'held':
      return {
        mark: 'HELD',
        why: `by ${heldBy ?? 'somebody'}${heldUntil === null ? '' : ` until ${clockOf(heldUntil)}`}`,
      };
    case 'left-alone':
      return { mark: 'LEFT ALONE', why: reason ?? '' };
    case 'idle':
      return retryAt === null
        ? { mark: 'IDLE', why: '' }
        : {
            mark: 'WAITING',
            why: reason === null ? `tried again at ${clockOf(retryAt)}` : `${reason}, until ${clockOf(retryAt)}`,
          };
    default:
      // Of a newer daemon.
      return { mark: String(state).toUpperCase(), why: '' };
  }
}

/** 0 to 100; null where the phase has no bytes to count. */
export function percentOf({ doneBytes, totalBytes }: Pick<PortView, 'doneBytes' | 'totalBytes'>): number | null {
  if (doneBytes === null || !totalBytes) return null;
  return Math.floor(Math.min(1, Math.max(0, doneBytes / totalBytes)) * 100);
}

/** `connecting` where none is told yet; one of a newer daemon stands as it came. */
export function phaseWord(phase: string | null): string {
  if (phase === null) return 'connecting';
  return Object.hasOwn(PHASE_WORDS, phase) ? PHASE_WORDS[phase as keyof typeof PHASE_WORDS] : phase;
}

export function resultText({ id, unchanged, seconds, wireBytes }: JobOutcome, { hasId } = { hasId: true }): string {
  const what = hasId
    ? `${unchanged ? 'unchanged since' : 'backed up as'} ${id}`
    : unchanged
      ? 'unchanged'
      : 'backed up';
  return `${what}, ${seconds.toFixed(1)} s, ${formatSize(wireBytes)} on the wire`;
}

/** The time of day here, `14:03:07`; what is no date stands as it is. */
export function clockOf(at: string): string {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return at;
  return [date.getHours(), date.getMinutes(), date.getSeconds()]
    .map((value) => String(value).padStart(2, '0'))
    .join(':');
}

export function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}\u2026`.slice(0, width);
}
