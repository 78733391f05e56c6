/** The sections by which the service tells others: `metrics`, `hooks`. Pure. */

import { z } from 'zod';

/** Types of events that can be sent; `job-progress` is a matter of the API's event stream. */
export const SENT_EVENTS = [
  'port-attached',
  'port-detached',
  'port-left-alone',
  'port-flapping',
  'port-held',
  'port-released',
  'job-queued',
  'job-started',
  'job-done',
  'job-failed',
  'job-ended',
  'identified',
  'backup-kept',
  'backup-unchanged',
  'new-board',
  'firmware-changed',
  'board-stuck',
  'board-away',
  'board-missing',
  'half-restored',
  'archive-damaged',
  'archive-verified',
  'disk-low',
  'backup-removed',
  'backup-spared',
  'pruned',
  'config-reloaded',
  'config-rejected',
  'service-started',
  'service-stopping',
] as const;

export type SentEvent = (typeof SENT_EVENTS)[number];

const onEvents = () =>
  z
    .array(z.enum(SENT_EVENTS).describe('A type of events.'))
    .min(1)
    .max(SENT_EVENTS.length)
    .describe('Types of events, such as backup-kept and job-failed.');

export const metricsSchema = z.strictObject({
  perBoard: z
    .boolean()
    .default(true)
    .describe('Whether /metrics has series of single boards, labelled by MAC; at most 1000 boards, the latest ones.'),
});

export const hookSchema = z.strictObject({
  on: onEvents(),
  command: z
    .array(
      z
        .string()
        .max(4096)
        .regex(/^[^\0]*$/, 'wants text without NUL')
        .describe('The program, or an argument.'),
    )
    .min(1)
    .max(64)
    .refine(([program]) => program !== '', { message: 'wants the name of a program first' })
    .describe('Program and arguments. No shell is between; the event is one line of JSON on standard input.'),
  timeoutSeconds: z
    .int()
    .min(1)
    .max(3600)
    .default(30)
    .describe('After so long the program and what it has started are ended.'),
});

export const hooksSchema = z
  .array(hookSchema.describe('A program, and the events for which it runs.'))
  .max(64)
  .default([]);

export type HookConfig = z.output<typeof hookSchema>;
export type MetricsConfig = z.output<typeof metricsSchema>;
