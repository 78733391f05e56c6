/** The sections by which the service tells others: `metrics`, `hooks`, `webhooks`, `mqtt`. Pure. */

import { z } from 'zod';

/** Types of events that can be sent; `job-progress` is a matter of the API's event stream. */
export const SENT_EVENTS = [
  'port-attached',
  'port-detached',
  'port-renamed',
  'port-left-alone',
  'port-postponed',
  'port-flapping',
  'line-bad',
  'line-good',
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
  'board-back',
  'board-missing',
  'half-restored',
  'board-restored',
  'board-described',
  'backup-pinned',
  'clone-done',
  'archive-damaged',
  'archive-verified',
  'disk-low',
  'backup-removed',
  'backup-spared',
  'pruned',
  'backup-pushed',
  'push-failed',
  'stations-heard',
  'journal-unread',
  'store-compared',
  'store-damaged',
  'store-verified',
  'backup-pulled',
  'backup-imported',
  'backup-released',
  'store-removed',
  'store-pruned',
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

export const WEBHOOK_TEMPLATES = ['json', 'ntfy', 'healthchecks'] as const;
export type WebhookTemplate = (typeof WEBHOOK_TEMPLATES)[number];

const secret = () =>
  z
    .strictObject({
      file: z
        .string()
        .max(4096)
        .regex(/^\//, 'wants an absolute path')
        .exactOptional()
        .describe('A file with the secret in one line; absolute path.'),
      env: z
        .string()
        .regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, 'wants the name of a variable of the environment')
        .exactOptional()
        .describe('A variable of the environment of the daemon.'),
    })
    .refine(({ file, env }) => (file === undefined) !== (env === undefined), { message: 'wants either file or env' })
    .nullable()
    .default(null);

export const webhookSchema = z.strictObject({
  on: onEvents(),
  url: z
    .string()
    .max(2048)
    .refine(isWebUrl, { message: 'wants a URL that begins with http:// or https://, without a user in it' })
    .describe('Where events are POSTed to; http or https. Redirects are not followed.'),
  template: z
    .enum(WEBHOOK_TEMPLATES)
    .default('json')
    .describe('json: the event. ntfy: the URL of a topic. healthchecks: the ping URL of a check.'),
  secret: secret().describe('Key of the HMAC-SHA256 signature in the headers webhook-...; null: not signed.'),
  token: secret().describe('Sent as Authorization: Bearer; null: none.'),
});

export const webhooksSchema = z
  .array(webhookSchema.describe('A server, and the events that it is told.'))
  .max(16)
  .default([]);

/** A level of a topic that needs no quoting anywhere, Home Assistant's node_id among them. */
const TOPIC = /^[A-Za-z0-9_-]{1,64}(\/[A-Za-z0-9_-]{1,64}){0,3}$/;

const topic = () => z.string().max(128).regex(TOPIC, 'wants levels of letters, digits, _ and -, with / between');

export const brokerSchema = z
  .strictObject({
    url: z
      .string()
      .max(512)
      .refine(isBrokerUrl, {
        message: 'wants mqtt://HOST:PORT or mqtts://HOST:PORT, without a user or anything after it',
      })
      .describe('The broker, which speaks MQTT 5: mqtt://HOST:PORT, or mqtts:// with TLS.'),
    username: z
      .string()
      .min(1)
      .max(256)
      .regex(/^\P{Cc}*$/u, 'wants one line of text')
      .nullable()
      .default(null)
      .describe('User at the broker; null: none.'),
    password: secret().describe('Password of that user; null: none.'),
    ca: z
      .string()
      .max(4096)
      .regex(/^\//, 'wants an absolute path')
      .nullable()
      .default(null)
      .describe(
        'File with the certificates (PEM) that the certificate of the broker must lead to; null: those of Node.js.',
      ),
    topic: topic()
      .default('espd')
      .describe('What all topics of this daemon begin with. Two daemons at one broker need different ones.'),
    discovery: topic().default('homeassistant').describe('Prefix of the discovery topics of Home Assistant.'),
    button: z
      .boolean()
      .default(true)
      .describe('Whether boards have a button "Back up now". Whoever may publish at the broker can press it.'),
  })
  .refine(({ username, password }) => password === null || username !== null, {
    message: 'wants a username beside the password',
  });

export const mqttSchema = brokerSchema.nullable().default(null);

export type MqttConfig = z.output<typeof brokerSchema>;
export type WebhookConfig = z.output<typeof webhookSchema>;
export type SecretConfig = NonNullable<WebhookConfig['secret']>;
export type HookConfig = z.output<typeof hookSchema>;
export type MetricsConfig = z.output<typeof metricsSchema>;

function isWebUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, username, password } = new URL(text);
  return ['http:', 'https:'].includes(protocol) && username === '' && password === '';
}

function isBrokerUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, username, password, hostname, pathname, search, hash } = new URL(text);
  const isBare = username === '' && password === '' && search === '' && hash === '' && ['', '/'].includes(pathname);
  return ['mqtt:', 'mqtts:'].includes(protocol) && hostname !== '' && isBare;
}
