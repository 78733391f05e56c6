/** One connection to a broker, by the package `mqtt`, which is loaded here and nowhere else. */

import type { IClientOptions, MqttClient } from 'mqtt';
import { type Clock, unlessAborted, withTimeout } from '../../clock.ts';
import { systemCode } from '../../errors.ts';
import { printable } from '../../printable.ts';

/** The package, as far as it is used. */
export interface MqttPackage {
  connect(url: string, options: IClientOptions): MqttClient;
}

/** @throws what the import of a package throws that is not there */
export const loadMqtt = (): Promise<MqttPackage> => import('mqtt');

/** From the beginning until the broker has accepted the connection; and each message that it must confirm. */
export const ANSWER_LIMIT_MS = 15_000;
/** What the broker may send at once: a press of a button has a few bytes. */
const MAX_PACKET_BYTES = 64 * 1024;
const KEEP_ALIVE_SECONDS = 60;
/** What is under way may still arrive when the connection is closed in order. */
export const FAREWELL_MS = 1000;

export interface BrokerAddress {
  readonly url: string;
  readonly clientId: string;
  readonly username: string | null;
  readonly password: string | null;
  /** Certificates in PEM. */
  readonly ca: string | null;
  /** What the broker publishes, retained, when the connection breaks. */
  readonly will: { readonly topic: string; readonly payload: string };
}

export interface Message {
  readonly topic: string;
  readonly payload: Buffer;
  /** It was published before anybody here was listening. */
  readonly retained: boolean;
}

export class BrokerConnection {
  /** Settles with the reason when the connection is over; never rejects. */
  readonly closed: Promise<string>;
  readonly #client: MqttClient;
  readonly #clock: Clock;

  constructor(client: MqttClient, clock: Clock, closed: Promise<string>) {
    this.#client = client;
    this.#clock = clock;
    this.closed = closed;
  }

  /**
   * Connects once; nothing is tried again here.
   * @throws Error with a reason for people; the signal's reason
   */
  static async open(
    mqtt: MqttPackage,
    address: BrokerAddress,
    options: { readonly clock: Clock; readonly signal: AbortSignal; readonly onMessage: (message: Message) => void },
  ): Promise<BrokerConnection> {
    const { clock, signal, onMessage } = options;
    const { url, clientId, username, password, ca, will } = address;
    signal.throwIfAborted();
    const client = mqtt.connect(url, {
      ...{ clientId, clean: true, protocolVersion: 5, keepalive: KEEP_ALIVE_SECONDS },
      properties: { maximumPacketSize: MAX_PACKET_BYTES },
      // When to try again is decided elsewhere, by a clock that is handed in.
      ...{ reconnectPeriod: 0, resubscribe: false, timerVariant: 'native', connectTimeout: 2 * ANSWER_LIMIT_MS },
      ...(username !== null && { username }),
      ...(password !== null && { password }),
      ...(ca !== null && { ca }),
      will: { topic: will.topic, payload: Buffer.from(will.payload), qos: 1, retain: true },
    });
    let reason = 'the broker has closed the connection';
    // An error without a listener would end the daemon.
    client.on('error', (error) => (reason = reasonOf(error)));
    client.on('disconnect', ({ reasonCode }) => (reason = `the broker ends the connection (${reasonCode ?? 0})`));
    client.on('message', (topic, payload, { retain }) => onMessage({ topic, payload, retained: retain }));
    const closed = new Promise<string>((resolve) => {
      // The error of a connection that cannot be made comes before or after its end.
      client.on('close', () => setImmediate(() => resolve(reason)));
    });
    const connected = new Promise<void>((resolve, reject) => {
      client.once('connect', () => resolve());
      void closed.then((why) => reject(new Error(why)));
    });
    try {
      const limit = () => new Error(`the broker has not answered within ${ANSWER_LIMIT_MS / 1000} s`);
      await unlessAborted(withTimeout(clock, ANSWER_LIMIT_MS, connected, limit), signal);
    } catch (error) {
      connected.catch(() => undefined);
      client.end(true);
      throw error;
    }
    return new BrokerConnection(client, clock, closed);
  }

  /** Retained, and confirmed by the broker. @throws Error with a reason for people */
  async publish(topic: string, payload: string, limitMs = ANSWER_LIMIT_MS): Promise<void> {
    await this.#confirmed(this.#client.publishAsync(topic, payload, { qos: 1, retain: true }), limitMs);
  }

  /** What was retained before is not wanted. @throws Error with a reason for people */
  async subscribe(filter: string): Promise<void> {
    await this.#confirmed(this.#client.subscribeAsync(filter, { qos: 1, rh: 2 }), ANSWER_LIMIT_MS);
  }

  /** Ends it, in order if the broker still answers: then no will is published. Never rejects. */
  async end(): Promise<void> {
    await withTimeout(this.#clock, FAREWELL_MS, this.#client.endAsync(), () => new Error('late')).catch(
      () => undefined,
    );
    this.#client.end(true);
  }

  async #confirmed(work: Promise<unknown>, limitMs: number): Promise<void> {
    const over = this.closed.then((reason) => Promise.reject(new Error(reason)));
    const limit = () => new Error(`the broker has not confirmed a message within ${limitMs / 1000} s`);
    const told = work.catch((error: unknown) => Promise.reject(new Error(reasonOf(error))));
    over.catch(() => undefined);
    await withTimeout(this.#clock, limitMs, Promise.race([told, over]), limit);
  }
}

/** Reason codes of MQTT 5: 4 and 5 are those of MQTT 3.1.1 for the same. */
const REFUSED = new Set([4, 5, 134, 135]);
const UNKNOWN_PROTOCOL = new Set([1, 132]);

function reasonOf(error: unknown): string {
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  if (typeof code === 'number') {
    if (REFUSED.has(code)) return `the broker refuses this user, password or topic (${code})`;
    if (UNKNOWN_PROTOCOL.has(code)) return `the broker does not speak MQTT 5 (${code})`;
    return `the broker refuses (${code})`;
  }
  const system = systemCode(error);
  if (system !== undefined && /CERT|SIGNATURE|ISSUER|ALTNAME/.test(system)) {
    return `the certificate of the broker is not trusted (${system})`;
  }
  if (system !== undefined) return `the broker cannot be reached (${system})`;
  return printable(error instanceof Error ? error.message : String(error));
}
