/** Events to servers: in order, again and again until one takes them or they are too old, across restarts. */

import { createHash } from 'node:crypto';
import { type Clock, sleep } from '../clock.ts';
import type { WebhookConfig } from '../config/outbound.ts';
import type { EventType, ServiceEvent } from '../daemon/event-types.ts';
import type { Logger } from '../log.ts';
import { printable } from '../printable.ts';
import type { SentOutcome } from './metrics.ts';
import { type Post, type PostEnd, post, signatureHeaders } from './post.ts';
import { readSecret } from './secret.ts';
import { Spool, type Spooled } from './spool.ts';
import { messageOf } from './templates.ts';

const FIRST_RETRY_MS = 2000;
const MAX_RETRY_MS = 10 * 60 * 1000;
/** What could not be delivered for so long is dropped. */
export const MAX_AGE_MS = 24 * 60 * 60 * 1000;

export interface WebhooksParts {
  readonly clock: Clock;
  readonly log: Logger;
  /** Secrets may be in it. */
  readonly env: NodeJS.ProcessEnv;
  readonly instance: string;
  /** Where deliveries wait; null = in memory only. */
  readonly folder: string | null;
  readonly onEnd: (outcome: SentOutcome) => void;
  /** From 0 to 1. */
  readonly random: () => number;
  /** Default: {@link post}. */
  readonly send?: (message: Post) => Promise<PostEnd>;
}

export class Webhooks {
  readonly #parts: WebhooksParts;
  readonly #spool: Spool;
  readonly #stop = new AbortController();
  readonly #working = new Map<string, Promise<void>>();
  #webhooks: ReadonlyMap<string, WebhookConfig> = new Map();
  #hasToldDrop = false;
  readonly #loaded: Promise<void>;

  constructor(parts: WebhooksParts, webhooks: readonly WebhookConfig[]) {
    this.#parts = parts;
    this.#spool = new Spool(parts.folder, parts.log);
    this.#take(webhooks);
    this.#loaded = this.#spool.load().then(() => this.#workAll());
  }

  /** Deliveries that wait. */
  get waiting(): number {
    return this.#spool.entries.length;
  }

  /** What waits for a webhook that is no longer there is dropped. */
  apply(webhooks: readonly WebhookConfig[]): void {
    this.#take(webhooks);
    void this.#loaded.then(() => this.#workAll());
  }

  /** To be subscribed. Never waits, never throws. */
  readonly onEvent = (event: ServiceEvent): void => {
    if (this.#stop.signal.aborted) return;
    const { instance } = this.#parts;
    for (const [webhook, { on, template }] of this.#webhooks) {
      if (!(on as readonly EventType[]).includes(event.type)) continue;
      const id = `${instance}-${event.seq}`;
      const dropped = this.#spool.add({
        webhook,
        id,
        atMs: Date.parse(event.at),
        ...messageOf(template, event, instance),
      });
      for (const entry of dropped) this.#drop(entry);
      void this.#loaded.then(() => this.#workOn(webhook));
    }
  };

  /** Ends what is under way; it waits on the disk for the next start. Never rejects. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#loaded;
    await Promise.all(this.#working.values());
    await this.#spool.settled();
  }

  #take(webhooks: readonly WebhookConfig[]): void {
    this.#webhooks = new Map(webhooks.map((webhook) => [keyOf(webhook), webhook]));
  }

  #workAll(): void {
    for (const entry of [...this.#spool.entries]) {
      if (this.#webhooks.has(entry.delivery.webhook)) this.#workOn(entry.delivery.webhook);
      else this.#spool.remove(entry);
    }
  }

  #workOn(key: string): void {
    if (this.#working.has(key) || this.#stop.signal.aborted) return;
    const work = this.#work(key).catch((error: unknown) => {
      if (!this.#stop.signal.aborted) this.#parts.log.error('A webhook failed', { reason: String(error) });
    });
    this.#working.set(key, work);
    void work.then(() => {
      this.#working.delete(key);
      // One may have come while the last one ended.
      if (this.#next(key) !== undefined) this.#workOn(key);
    });
  }

  #next(key: string): Spooled | undefined {
    return this.#spool.entries.find(({ delivery }) => delivery.webhook === key);
  }

  async #work(key: string): Promise<void> {
    const { clock, log, onEnd, random } = this.#parts;
    let retryMs = 0;
    for (let entry = this.#next(key); entry !== undefined; entry = this.#next(key)) {
      const config = this.#webhooks.get(key);
      if (config === undefined) return;
      const { result, reason } = await this.#send(config, entry);
      this.#stop.signal.throwIfAborted();
      const isOld = clock.date().getTime() - entry.delivery.atMs > MAX_AGE_MS;
      const facts = { server: printable(new URL(config.url).host), reason };
      if (result === 'again' && !isOld) {
        log[retryMs === 0 ? 'warn' : 'debug']('A webhook could not be delivered, and is tried again', facts);
        retryMs = Math.min(MAX_RETRY_MS, retryMs === 0 ? FIRST_RETRY_MS : retryMs * 2);
        // Not all clients of a server that is back at the same moment.
        await sleep(clock, retryMs * (0.5 + random() / 2), this.#stop.signal);
        continue;
      }
      if (result !== 'done') log.warn('A webhook was not delivered, and is dropped', facts);
      if (result === 'done') this.#hasToldDrop = false;
      onEnd(result === 'done' ? 'done' : 'failed');
      this.#spool.remove(entry);
      retryMs = 0;
    }
  }

  async #send({ url, secret, token }: WebhookConfig, { delivery }: Spooled): Promise<PostEnd> {
    const { clock, env, send = post } = this.#parts;
    const { id, path, query, headers, body } = delivery;
    const target = new URL(url);
    target.pathname = path === '' ? target.pathname : target.pathname.replace(/\/$/, '') + path;
    if (query !== '') target.search = target.search === '' ? query : `${target.search}&${query}`;
    const all: Record<string, string> = { 'user-agent': 'espd', ...headers };
    try {
      const atSeconds = Math.floor(clock.date().getTime() / 1000);
      if (secret !== null) Object.assign(all, signatureHeaders(await readSecret(secret, env), { id, atSeconds, body }));
      if (token !== null) all['authorization'] = `Bearer ${await readSecret(token, env)}`;
    } catch (error) {
      // Never sent without its signature; the file may be mended.
      return { result: 'again', reason: error instanceof Error ? error.message : String(error) };
    }
    return send({ url: target, headers: all, body, clock, signal: this.#stop.signal });
  }

  #drop({ delivery }: Spooled): void {
    const { log, onEnd } = this.#parts;
    onEnd('dropped');
    if (this.#hasToldDrop) return;
    this.#hasToldDrop = true;
    const server = printable(new URL(this.#webhooks.get(delivery.webhook)?.url ?? 'http://unknown').host);
    log.warn('Too many webhooks wait: the oldest are dropped until some can be delivered', { server });
  }
}

/** The same webhook after a restart has the same key. */
function keyOf({ url, template }: WebhookConfig): string {
  return createHash('sha256').update(`${template} ${url}`).digest('hex').slice(0, 32);
}
