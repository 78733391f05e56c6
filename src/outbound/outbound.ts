/** All by which the service tells others what happens, wired to the bus: metrics, hooks, webhooks, MQTT. */

import type { BoardOverview } from '../archive/types.ts';
import type { Clock } from '../clock.ts';
import type { Config } from '../config/loader.ts';
import type { EventSource } from '../daemon/events.ts';
import type { Logger } from '../log.ts';
import { BoardBook } from './board-book.ts';
import { Hooks } from './hooks.ts';
import { Metrics, type MetricsParts } from './metrics.ts';
import { Mqtt, type MqttParts } from './mqtt/mqtt.ts';
import { Webhooks } from './webhooks.ts';

/** The sections that are looked at. */
export type OutboundConfig = Pick<Config, 'metrics' | 'hooks' | 'webhooks' | 'mqtt'>;

export interface OutboundParts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly events: EventSource;
  readonly version: string;
  readonly config: OutboundConfig;
  /** The environment of hooks; secrets of webhooks may be in it. */
  readonly env: NodeJS.ProcessEnv;
  /** Where webhooks wait that could not be delivered yet; made when it is needed. */
  readonly spoolFolder: string;
  /** From 0 to 1. */
  readonly random: () => number;
  /** All boards of the archive, as `Archive.overview` gives them. */
  readonly boards: (signal: AbortSignal) => Promise<readonly BoardOverview[]>;
  /** Free bytes on the archive's disk; asked at each scrape, which gets the answer before. */
  readonly freeBytes: () => Promise<number>;
  /** Of the other stations of the object store, as of the last look; undefined where there is no store. */
  readonly stations?: MetricsParts['stations'];
  readonly requestBackup: MqttParts['requestBackup'];
}

export interface Outbound {
  /** The text of `/metrics`. */
  metrics(): string;
  /** Asks what the archive knows; to be called once, when the service is ready for boards. Nobody waits for it. */
  readBoards(): void;
  /** Takes over a config that was read anew. */
  apply(config: OutboundConfig): void;
  /** Ends everything within some seconds. Never rejects. */
  stop(): Promise<void>;
}

export function startOutbound(parts: OutboundParts): Outbound {
  const { boards, clock, env, events, log, random, spoolFolder, version } = parts;
  const stopping = new AbortController();
  const disk = freeDisk(parts.freeBytes);
  const { requestBackup } = parts;
  const mqtt = new Mqtt({ clock, log, env, version, instance: events.instance, random, requestBackup });
  const book = new BoardBook(mqtt.onBoard);
  const metrics = new Metrics({
    ...{ clock, version, book, freeBytes: disk.last },
    spooled: () => webhooks.waiting,
    broker: () => mqtt.isConnected,
    ...(parts.stations === undefined ? {} : { stations: parts.stations }),
  });
  const hooks = new Hooks({ clock, log, env, onEnd: (outcome) => metrics.sent('hook', outcome) });
  const webhooks = new Webhooks(
    {
      ...{ clock, log, env, random, instance: events.instance, folder: spoolFolder },
      onEnd: (outcome) => metrics.sent('webhook', outcome),
    },
    parts.config.webhooks,
  );
  const apply = (config: OutboundConfig) => {
    metrics.perBoard = config.metrics.perBoard;
    hooks.apply(config.hooks);
    webhooks.apply(config.webhooks);
    mqtt.apply(config.mqtt);
  };
  apply(parts.config);
  const unsubscribe = [book.onEvent, metrics.onEvent, hooks.onEvent, webhooks.onEvent].map((listener) =>
    events.subscribe(listener),
  );

  disk.refresh();
  const readBoards = () => {
    boards(stopping.signal).then(
      (all) => book.seed(all),
      (error: unknown) => {
        if (!stopping.signal.aborted) log.debug('Metrics know no boards of the archive', { error: String(error) });
      },
    );
  };
  return {
    readBoards,
    metrics: () => {
      disk.refresh();
      return metrics.render();
    },
    apply,
    stop: async () => {
      stopping.abort();
      for (const leave of unsubscribe) leave();
      await Promise.all([hooks.stop(), webhooks.stop(), mqtt.stop()]);
    },
  };
}

/** The last answer of a disk that may not answer at all: a scrape must not wait for it. */
function freeDisk(ask: () => Promise<number>) {
  let bytes: number | undefined;
  let isAsking = false;
  return {
    last: () => bytes,
    refresh: () => {
      if (isAsking) return;
      isAsking = true;
      ask()
        .then((answer) => (bytes = answer))
        .catch(() => (bytes = undefined))
        .finally(() => (isAsking = false));
    },
  };
}
