/** What is sent for an event: espd's own JSON, or what a well-known service wants. Pure. */

import { createHash } from 'node:crypto';
import type { WebhookTemplate } from '../config/outbound.ts';
import type { ServiceEvent } from '../daemon/event-types.ts';
import { printable } from '../printable.ts';

/** What is sent, but for the URL of the config, its token and its signature. */
export interface Message {
  /** Appended to the path of the URL. */
  readonly path: string;
  readonly query: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** @param instance the daemon's, so that numbers of two of its lives are not mixed up */
export function messageOf(template: WebhookTemplate, event: ServiceEvent, instance: string): Message {
  switch (template) {
    case 'json':
      return {
        ...{ path: '', query: '', headers: { 'content-type': 'application/json' } },
        body: JSON.stringify({ instance, ...event }),
      };
    case 'ntfy':
      return ntfy(event);
    case 'healthchecks':
      return healthchecks(event, instance);
  }
}

const isBad = ({ type }: ServiceEvent) =>
  [
    'job-failed',
    'board-stuck',
    'board-missing',
    'half-restored',
    'archive-damaged',
    'store-damaged',
    'config-rejected',
  ].includes(type);

/** Title, priority (3 is the usual one of 1 to 5) and tags as headers: https://docs.ntfy.sh/publish/ */
function ntfy(event: ServiceEvent): Message {
  return {
    path: '',
    query: '',
    headers: {
      'content-type': 'text/plain; charset=utf-8',
      title: `espd: ${event.type.replaceAll('-', ' ')}`,
      priority: isBad(event) ? '4' : '3',
      tags: isBad(event) ? 'warning' : 'floppy_disk',
    },
    body: textOf(event),
  };
}

/**
 * `/start`, success and `/fail` are told apart by the path, and jobs side by side by `rid`, a UUID; `/log` changes no
 * state: https://healthchecks.io/docs/http_api/
 */
function healthchecks(event: ServiceEvent, instance: string): Message {
  const job = 'job' in event ? event.job : null;
  const path = event.type === 'job-started' ? '/start' : isBad(event) ? '/fail' : isGood(event) ? '' : '/log';
  return {
    path,
    query: job === null ? '' : `rid=${uuidOf(`${instance}:${job}`)}`,
    headers: { 'content-type': 'text/plain; charset=utf-8' },
    body: textOf(event),
  };
}

const isGood = ({ type }: ServiceEvent) => ['job-done', 'backup-kept', 'backup-unchanged'].includes(type);

/** A UUID of a text: version 8, whose bits are free (RFC 9562). */
function uuidOf(text: string): string {
  const hex = createHash('sha256').update(text).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/** One line for people. */
function textOf(event: ServiceEvent): string {
  const facts = event as unknown as Readonly<Record<string, unknown>>;
  const named = ['mac', 'port', 'chip', 'id', 'file', 'problem', 'path'].flatMap((key) => {
    const value = facts[key];
    return typeof value === 'string' ? [`${key} ${printable(value)}`] : [];
  });
  const why =
    'error' in event && event.error !== null ? [`${printable(event.error.message)} (${event.error.code})`] : [];
  return [event.type.replaceAll('-', ' '), ...why, ...named].join(', ');
}
