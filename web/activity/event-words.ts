/** An event as a person reads it in a list. Pure. */

import { formatSize, plural } from '../../src/cli/text.ts';
import type { ServiceEvent } from '../../src/daemon/event-types.ts';

export type Topic = 'port' | 'job' | 'board' | 'archive' | 'service';

export interface EventWords {
  readonly topic: Topic;
  /** Somebody may have to do something. */
  readonly isProblem: boolean;
  readonly title: string;
  /** Texts of devices are raw in it. */
  readonly detail: string;
}

const ARCHIVE =
  /^(?:archive|disk|pruned|backup-removed|backup-spared|backup-imported|backup-pinned|backup-pulled|backup-released|store)/;
const BOARD = /^(?:board|identified|new-board|backup|firmware|half|clone)/;

export function wordsOf(event: ServiceEvent): EventWords {
  return {
    topic: topicOf(event.type),
    isProblem: isProblem(event),
    title: titleOf(event.type),
    detail: detailOf(event),
  };
}

function topicOf(type: string): Topic {
  if (ARCHIVE.test(type)) return 'archive';
  if (type.startsWith('port')) return 'port';
  if (type.startsWith('job')) return 'job';
  return BOARD.test(type) ? 'board' : 'service';
}

/** `backup-kept` is `Backup kept`: also of a daemon that is newer than the page. */
function titleOf(type: string): string {
  const words = type.replaceAll('-', ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function isProblem(event: ServiceEvent): boolean {
  if (event.type === 'job-failed') return event.failure !== 'stopped' && event.failure !== 'silent';
  if ('error' in event) return event.error !== null;
  return event.type === 'config-rejected' || event.type === 'disk-low';
}

function detailOf(event: ServiceEvent): string {
  switch (event.type) {
    case 'job-queued':
      return [event.kind, event.cause, event.product ?? ''].filter(Boolean).join(', ');
    case 'job-started':
    case 'job-done':
      return event.kind;
    case 'job-ended':
      return `${event.kind} ${event.result}`;
    case 'backup-kept':
    case 'backup-unchanged':
      return `${event.id}, ${event.seconds.toFixed(1)} s, ${formatSize(event.wireBytes)} on the wire`;
    case 'backup-pulled':
      return `${event.id}, ${formatSize(event.fetchedBytes)} fetched`;
    case 'firmware-changed':
      return `${nameOf(event.before)} → ${nameOf(event.now)}`;
    case 'archive-verified':
      return `${plural(event.checked, 'backup')} checked, ${event.damaged} damaged`;
    case 'pruned':
      return `${plural(event.removed, 'backup')} removed, ${formatSize(event.sizeBytes)}`;
    case 'store-verified':
      return `${plural(event.checked, 'backup')} of ${event.of} read back from the store, ${event.damaged + event.missing} damaged or missing`;
    case 'store-compared':
      return event.error?.message ?? `${plural(event.backups, 'backup')}, all as they should be`;
    case 'disk-low':
      return `${formatSize(event.freeBytes)} free, ${formatSize(event.wantedBytes)} wanted`;
    default:
      return other(event);
  }
}

function nameOf(firmware: { readonly name: string; readonly version: string | null } | null): string {
  return firmware === null ? 'unknown' : [firmware.name, firmware.version ?? ''].join(' ').trim();
}

/** What says most, of events that have no words of their own. */
function other(event: ServiceEvent): string {
  const facts = event as unknown as Readonly<Record<string, unknown>>;
  const { error } = facts;
  if (typeof error === 'object' && error !== null && 'message' in error) return String(error.message);
  const texts = ['reason', 'by', 'why', 'problem', 'chip', 'id', 'label', 'verdict', 'version'].map(
    (key) => facts[key],
  );
  return texts.filter((text): text is string => typeof text === 'string').join(', ');
}
