/** `socket://host:port`: the bytes of a serial port over raw TCP. No control lines, no baud rate, nothing else. */

import type { NetworkAddress } from './address.ts';
import type { Link, LinkCapabilities } from './link.ts';
import { type LinkOptions, nextPoll } from './link-common.ts';
import { ReceiveBuffer } from './receive-buffer.ts';
import { TcpConnection } from './tcp-connection.ts';

/** Connects. Errors: those of {@link TcpConnection.connect}. */
export async function openSocketLink(address: string, target: NetworkAddress, options: LinkOptions): Promise<Link> {
  const received = new ReceiveBuffer(address, options.clock);
  const connection = await TcpConnection.connect(address, target, options, {
    data: (chunk) => received.push(chunk),
    ended: (error) => received.end(error),
  });
  return new SocketLink(address, options.baudRate, connection, received);
}

class SocketLink implements Link {
  readonly address: string;
  readonly capabilities: LinkCapabilities = { controlLines: false, baudRate: false };
  readonly baudRate: number;
  readonly #connection: TcpConnection;
  readonly #received: ReceiveBuffer;

  constructor(address: string, baudRate: number, connection: TcpConnection, received: ReceiveBuffer) {
    this.address = address;
    this.baudRate = baudRate;
    this.#connection = connection;
    this.#received = received;
  }

  get isOpen(): boolean {
    return this.#connection.isOpen;
  }

  write(data: Uint8Array): Promise<void> {
    return this.#connection.write(data, this.baudRate);
  }

  read(timeoutMs: number, signal?: AbortSignal): Promise<Buffer | null> {
    return this.#received.read(timeoutMs, signal);
  }

  async purge(): Promise<void> {
    await nextPoll();
    this.#received.throwIfEnded();
    this.#received.clear();
  }

  setBaudRate(): Promise<void> {
    return Promise.resolve();
  }

  setControlLines(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return this.#connection.close();
  }
}
