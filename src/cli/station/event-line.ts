/** An event that matters as one line, for `espd watch` where nobody sits at a terminal. Pure. */

import type { ServiceEvent } from '../../daemon/event-types.ts';
import { clockOf } from './words.ts';

/** @returns undefined where the event is not worth a line, or of a type that this espd does not know */
export function eventLine(event: ServiceEvent): string | undefined {
  const text = textOf(event);
  return text === undefined ? undefined : `${clockOf(event.at)}  ${text}`;
}

function textOf(event: ServiceEvent): string | undefined {
  switch (event.type) {
    case 'job-started':
      return event.port === null ? undefined : `${event.port}  WORKING: ${event.kind}`;
    case 'identified':
      return `${event.port}  ${event.mac}  ${event.chip}`;
    case 'backup-kept':
      return `${event.port}  ${event.mac}  DONE: backed up as ${event.id}`;
    case 'backup-unchanged':
      return `${event.port}  ${event.mac}  DONE: unchanged since ${event.id}`;
    case 'board-restored':
      return `${event.port}  ${event.mac}  DONE: restored, ${event.id}`;
    case 'job-failed':
      if (!event.isNews || event.failure === 'stopped') return undefined;
      return `${event.port ?? event.kind}  FAILED: ${event.error.message} (${event.error.code})`;
    case 'board-stuck':
    case 'board-missing':
    case 'half-restored':
      return `${event.port}  ATTENTION: ${event.error.message} (${event.error.code})`;
    case 'archive-damaged':
      return `archive  ATTENTION: ${event.error.message} (${event.error.code})`;
    case 'store-damaged':
      return `store  ATTENTION: ${event.error.message} (${event.error.code})`;
    case 'port-held':
      return `${event.port}  HELD: by ${event.by}`;
    case 'port-released':
      return `${event.port}  RELEASED`;
    case 'port-left-alone':
      return event.existing ? undefined : `${event.port}  LEFT ALONE: ${event.reason}`;
    case 'port-detached':
      return `${event.port}  unplugged`;
    case 'service-stopping':
      return 'The daemon stops';
    default:
      return undefined;
  }
}
