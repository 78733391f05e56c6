/**
 * Boards in Home Assistant: one connection to a broker, which is made again and again, and on it for each board a
 * device and its state. What waits is never more than the newest state of each board.
 */

import { readFile } from 'node:fs/promises';
import { type Clock, sleep, unlessAborted } from '../../clock.ts';
import type { MqttConfig } from '../../config/outbound.ts';
import { EspdError, systemCode } from '../../errors.ts';
import type { Logger } from '../../log.ts';
import type { Mac } from '../../mac.ts';
import { printable } from '../../printable.ts';
import type { BoardFacts } from '../board-book.ts';
import { readPassword } from '../secret.ts';
import { BrokerConnection, FAREWELL_MS, type Message, type MqttPackage, loadMqtt } from './broker.ts';
import {
  OFFLINE,
  ONLINE,
  PRESS,
  boardOfButton,
  buttonFilter,
  deviceDocument,
  deviceTopic,
  stateDocument,
  stateTopic,
  statusTopic,
} from './home-assistant.ts';

const FIRST_RETRY_MS = 2000;
const MAX_RETRY_MS = 5 * 60 * 1000;
/** A connection that held so long was a good one: the next try comes soon. */
const GOOD_MS = 60_000;
/** Presses of one button that come faster count as one. */
export const PRESS_PAUSE_MS = 5000;
/** So many boards have a device: the first ones that are known. */
export const MAX_DEVICES = 1000;

export interface MqttParts {
  readonly clock: Clock;
  readonly log: Logger;
  /** The password may be in it. */
  readonly env: NodeJS.ProcessEnv;
  readonly version: string;
  readonly instance: string;
  /** From 0 to 1. */
  readonly random: () => number;
  /**
   * What a press of the button asks for: the job of `POST /v1/jobs` with the board.
   * @returns the number of the job
   * @throws EspdError where there is none, as for a board that is not plugged in
   */
  readonly requestBackup: (mac: Mac) => number;
  /** Default: {@link loadMqtt}. */
  readonly load?: () => Promise<MqttPackage>;
}

interface Session {
  readonly config: MqttConfig;
  readonly connection: BrokerConnection;
}

export class Mqtt {
  readonly #parts: MqttParts;
  readonly #boards = new Map<Mac, BoardFacts>();
  readonly #answers = new Map<Mac, string>();
  readonly #pressedMs = new Map<Mac, number>();
  /** Boards of which the broker does not have the newest. */
  readonly #due = new Set<Mac>();
  /** The documents of devices as the broker has them, of this connection. */
  readonly #told = new Map<Mac, string>();
  #config: MqttConfig | null = null;
  #session: Session | undefined;
  #isPublishing = false;
  #hasToldMany = false;
  #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();

  constructor(parts: MqttParts) {
    this.#parts = parts;
  }

  /** Whether there is a connection; undefined where none is wanted. */
  get isConnected(): boolean | undefined {
    return this.#config === null ? undefined : this.#session !== undefined;
  }

  /** Connects anew where anything has changed. What was published under other topics stays with the broker. */
  apply(config: MqttConfig | null): void {
    if (JSON.stringify(config) === JSON.stringify(this.#config)) return;
    this.#config = config;
    const before = this.#end();
    if (config === null) {
      this.#running = before;
      return;
    }
    this.#stop = new AbortController();
    const { signal } = this.#stop;
    this.#running = before.then(() => this.#keepConnected(config, signal));
  }

  /** To be told of each change of a board. Never waits, never throws. */
  readonly onBoard = (board: BoardFacts): void => {
    if (!this.#boards.has(board.mac) && this.#boards.size >= MAX_DEVICES) {
      if (!this.#hasToldMany && this.#config !== null) {
        this.#parts.log.warn('There are too many boards for Home Assistant: the others have no device', {
          boards: MAX_DEVICES,
        });
        this.#hasToldMany = true;
      }
      return;
    }
    this.#boards.set(board.mac, board);
    this.#publish(board.mac);
  };

  /** Tells the broker that the service is gone, if it answers within a second or two. Never rejects. */
  async stop(): Promise<void> {
    await this.#end();
  }

  #end(): Promise<void> {
    this.#stop.abort();
    return this.#running;
  }

  async #keepConnected(config: MqttConfig, signal: AbortSignal): Promise<void> {
    const { clock, log, random, load = loadMqtt } = this.#parts;
    const server = printable(new URL(config.url).host);
    let mqtt: MqttPackage;
    try {
      mqtt = await load();
    } catch (error) {
      const { code, message, hint } = missingPackage(error);
      log.error(message, { code, hint });
      return;
    }
    let retryMs = 0;
    let toldReason = '';
    for (;;) {
      const atMs = clock.now();
      const reason = await this.#connectOnce(mqtt, config, signal).catch((error: unknown) =>
        error instanceof Error ? error.message : String(error),
      );
      if (signal.aborted) return;
      const wasGood = clock.now() - atMs >= GOOD_MS;
      if (wasGood) toldReason = '';
      // One line for each new reason: a broker that is down all night is said once.
      log[reason === toldReason ? 'debug' : 'warn']('No connection to the MQTT broker; it is tried again', {
        ...{ server, reason },
      });
      toldReason = reason;
      retryMs = wasGood || retryMs === 0 ? FIRST_RETRY_MS : Math.min(MAX_RETRY_MS, retryMs * 2);
      // Not all clients of a broker that is back at the same moment.
      await sleep(clock, retryMs * (0.5 + random() / 2), signal).catch(() => undefined);
    }
  }

  /** @returns why the connection has ended @throws Error why there is none */
  async #connectOnce(mqtt: MqttPackage, config: MqttConfig, signal: AbortSignal): Promise<string> {
    const { clock, env, instance, log } = this.#parts;
    const connection = await BrokerConnection.open(
      mqtt,
      {
        ...{ url: config.url, username: config.username, clientId: `espd-${instance}`.slice(0, 60) },
        password: config.password === null ? null : await readPassword(config.password, env),
        ca: config.ca === null ? null : await readCertificates(config.ca),
        will: { topic: statusTopic(config), payload: OFFLINE },
      },
      { clock, signal, onMessage: (message) => this.#onMessage(config, message) },
    );
    const stopped = new Promise<string>((resolve) => {
      if (signal.aborted) resolve('the service stops');
      else signal.addEventListener('abort', () => resolve('the service stops'), { once: true });
    });
    try {
      if (config.button) await unlessAborted(connection.subscribe(buttonFilter(config)), signal);
      await unlessAborted(connection.publish(statusTopic(config), ONLINE), signal);
      log.info('Connected to the MQTT broker', { server: printable(new URL(config.url).host) });
      this.#told.clear();
      for (const mac of this.#boards.keys()) this.#due.add(mac);
      this.#session = { config, connection };
      this.#startPublishing();
      const reason = await Promise.race([connection.closed, stopped]);
      if (signal.aborted) await connection.publish(statusTopic(config), OFFLINE, FAREWELL_MS).catch(() => undefined);
      return reason;
    } finally {
      this.#session = undefined;
      await connection.end();
    }
  }

  #publish(mac: Mac): void {
    if (this.#config === null) return;
    this.#due.add(mac);
    this.#startPublishing();
  }

  #startPublishing(): void {
    if (this.#isPublishing || this.#session === undefined) return;
    this.#isPublishing = true;
    void this.#publishAll().finally(() => {
      this.#isPublishing = false;
      // One may have come in the moment in which the last one ended, or a new connection.
      if (this.#due.size > 0) this.#startPublishing();
    });
  }

  async #publishAll(): Promise<void> {
    for (const mac of this.#due) {
      const session = this.#session;
      const board = this.#boards.get(mac);
      if (session === undefined) return;
      this.#due.delete(mac);
      if (board === undefined) continue;
      try {
        await this.#publishBoard(session, board);
      } catch (error) {
        this.#due.add(mac);
        this.#parts.log.debug('A board could not be published', { mac, reason: String(error) });
        // What does not confirm is no connection any more; the next one begins with all boards.
        if (this.#session === session) {
          this.#session = undefined;
          void session.connection.end();
        }
        return;
      }
    }
  }

  async #publishBoard({ config, connection }: Session, board: BoardFacts): Promise<void> {
    const { mac } = board;
    const device = JSON.stringify(deviceDocument(config, board, this.#parts.version));
    if (this.#told.get(mac) !== device) {
      await connection.publish(deviceTopic(config, mac), device);
      this.#told.set(mac, device);
    }
    const state = stateDocument(board, this.#answers.get(mac) ?? null);
    await connection.publish(stateTopic(config, mac), JSON.stringify(state));
  }

  /** Anybody at the broker may have sent it. */
  #onMessage(config: MqttConfig, { topic, payload, retained }: Message): void {
    const { clock, log } = this.#parts;
    const mac = boardOfButton(config, topic);
    // A press that the broker keeps would be one at each connection.
    if (retained || mac === undefined || !this.#boards.has(mac) || payload.toString('latin1') !== PRESS) return;
    const nowMs = clock.now();
    const before = this.#pressedMs.get(mac);
    if (before !== undefined && nowMs - before < PRESS_PAUSE_MS) return;
    this.#pressedMs.set(mac, nowMs);
    let answer: string;
    try {
      const job = this.#parts.requestBackup(mac);
      answer = `Job ${job}`;
      log.info('A backup was asked for over MQTT', { mac, job });
    } catch (error) {
      if (!(error instanceof EspdError)) throw error;
      answer = error.message;
      log.info('A backup that was asked for over MQTT is not possible', { mac, code: error.code, reason: answer });
    }
    this.#answers.set(mac, answer);
    this.#publish(mac);
  }
}

async function readCertificates(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new Error(`the file of mqtt.ca cannot be read (${systemCode(error) ?? 'unknown fault'})`, { cause: error });
  }
}

function missingPackage(error: unknown): EspdError {
  return new EspdError('mqtt-missing', 'The package mqtt cannot be loaded, so Home Assistant is told nothing', {
    hint: 'Install it beside espd: npm install mqtt@5. The rest of the service works without it',
    cause: error,
  });
}
