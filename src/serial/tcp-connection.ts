/** One TCP connection to a serial-port server, with time limits on everything: what both network links stand on. */

import { createConnection, type Socket } from 'node:net';
import { withTimeout } from '../clock.ts';
import { EspdError, systemCode } from '../errors.ts';
import type { NetworkAddress } from './address.ts';
import { closedByUs, type LinkOptions, transferLimitMs, unlessAborted, vanished } from './link-common.ts';

const CONNECT_TIMEOUT_MS = 5000;
/** `close` gives the last bytes this long to leave before the connection is cut. */
const CLOSE_TIMEOUT_MS = 1000;
/** A server without power says nothing: the kernel asks after this much silence whether it is still there. */
const KEEP_ALIVE_MS = 10_000;

/** Receives what happens on the connection; set once, before the first byte can come. */
export interface TcpEvents {
  data(chunk: Buffer): void;
  /** Once, when no more data will come, whoever ended it. */
  ended(error: EspdError): void;
}

export class TcpConnection {
  readonly #socket: Socket;
  readonly #address: string;
  readonly #options: LinkOptions;
  readonly #pendingWrites = new Set<(error: EspdError) => void>();
  readonly #events: TcpEvents;
  #end: EspdError | undefined;
  #lastError: Error | undefined;

  /**
   * Connects, at most 5 s long. Rejects with `port-missing` when nobody answers there, `port-failed` for other faults
   * of the network, and with the signal's reason.
   */
  static async connect(
    address: string,
    target: NetworkAddress,
    options: LinkOptions,
    events: TcpEvents,
  ): Promise<TcpConnection> {
    options.signal?.throwIfAborted();
    const socket = createConnection({ host: target.host, port: target.port, noDelay: true });
    const connected = new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    const limited = withTimeout(options.clock, CONNECT_TIMEOUT_MS, connected, () =>
      Object.assign(new Error(`no answer within ${CONNECT_TIMEOUT_MS / 1000} s`), { code: 'ETIMEDOUT' }),
    );
    try {
      await unlessAborted(options.signal, limited, () => undefined);
    } catch (error) {
      // With an error, so that "connected" settles and its timer goes.
      socket.on('error', () => undefined);
      socket.destroy(new Error('given up'));
      if (options.signal?.aborted) throw error;
      throw connectError(address, target, error);
    }
    return new TcpConnection(socket, address, options, events);
  }

  private constructor(socket: Socket, address: string, options: LinkOptions, events: TcpEvents) {
    this.#socket = socket;
    this.#address = address;
    this.#options = options;
    this.#events = events;
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    socket.on('error', (error) => (this.#lastError = error));
    socket.on('data', (chunk: Buffer) => this.#events.data(chunk));
    socket.on('end', () => this.#finish(vanished(address, undefined, 'was closed by the other side')));
    socket.on('close', () => this.#finish(vanished(address, this.#lastError)));
  }

  get isOpen(): boolean {
    return this.#end === undefined;
  }

  /** Resolves when the kernel has taken `data`; rejects with `port-vanished` when it never will. */
  write(data: Uint8Array, baudRate: number): Promise<void> {
    if (this.#end !== undefined) return Promise.reject(this.#end);
    if (data.length === 0) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const settle = () => {
        cancelTimer();
        this.#pendingWrites.delete(fail);
      };
      const fail = (error: EspdError) => {
        settle();
        reject(error);
      };
      const limitMs = transferLimitMs(data.length + this.#socket.writableLength, baudRate);
      const cancelTimer = this.#options.clock.schedule(limitMs, () => {
        this.#finish(vanished(this.#address, undefined, 'does not take any data'));
      });
      this.#pendingWrites.add(fail);
      this.#socket.write(data, (error) => {
        // Node calls back without an error for a write that a reset connection cut off (net.js, onWriteComplete).
        if (error || this.#socket.destroyed) {
          this.#finish(vanished(this.#address, error ?? this.#socket.errored ?? undefined));
        } else {
          settle();
          resolve();
        }
      });
    });
  }

  /** Ends the connection after what was written has left, within a second; may be called again. */
  async close(): Promise<void> {
    if (this.#socket.destroyed) return;
    const socket = this.#socket;
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    this.#end ??= closedByUs(this.#address);
    this.#report(this.#end);
    // Until the other side has ended its half too: to close with its bytes unread, or to refuse them, would reset the
    // connection, and a reset makes the far kernel forget what we had sent last.
    socket.resume();
    socket.end();
    const cancelTimer = this.#options.clock.schedule(CLOSE_TIMEOUT_MS, () => socket.destroy());
    await closed;
    cancelTimer();
  }

  #finish(error: EspdError): void {
    if (this.#end !== undefined) return;
    this.#end = error;
    this.#socket.destroy();
    this.#report(error);
  }

  #report(error: EspdError): void {
    for (const fail of [...this.#pendingWrites]) fail(error);
    this.#events.ended(error);
  }
}

const NO_NETWORK = 'it may not use the network as it is installed, and "espd doctor" says how to allow it';

function connectError(address: string, target: NetworkAddress, cause: unknown): EspdError {
  const where = `${target.host} port ${target.port}`;
  switch (systemCode(cause)) {
    case 'ECONNREFUSED':
      return new EspdError('port-missing', `${address}: nothing listens at ${where}`, {
        cause,
        hint: 'Is the serial port server (ser2net, esp_rfc2217_server) running, and is the port number right?',
      });
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
    case 'EAI_FAIL':
      return new EspdError('port-missing', `${address}: the host ${target.host} is not known`, {
        cause,
        hint: `Is the name right? If others find it and the service does not: ${NO_NETWORK}`,
      });
    case 'ETIMEDOUT':
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return new EspdError('port-missing', `${address}: ${where} cannot be reached`, {
        cause,
        hint: 'Is the other machine on, and does a firewall let this port through?',
      });
    case 'EPERM':
    case 'EACCES':
    case 'EAFNOSUPPORT':
      return new EspdError('port-failed', `${address}: this system does not let espd connect to ${where}`, {
        cause,
        hint: `If it is the service: ${NO_NETWORK}`,
      });
    default: {
      const message = cause instanceof Error ? cause.message : String(cause);
      return new EspdError('port-failed', `${address} cannot be opened: ${message}`, { cause });
    }
  }
}
