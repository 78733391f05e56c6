/** Far ends for the network links: a raw TCP device and an RFC 2217 server, both with a will of their own. */

import { createServer, type Socket } from 'node:net';
import { once } from 'node:events';
import type { ControlLines } from '../../src/serial/link.ts';

/** Collects bytes and hands them out by number. */
export class Inbox {
  #bytes = Buffer.alloc(0);
  #chunks: Buffer[] = [];
  #waiting: { size: number; resolve: (bytes: Buffer) => void } | undefined;
  #size = 0;

  readonly push = (chunk: Buffer): void => {
    this.#chunks.push(Buffer.from(chunk));
    this.#size += chunk.length;
    this.#serve();
  };

  take(size: number): Promise<Buffer> {
    return new Promise((resolve) => {
      this.#waiting = { size, resolve };
      this.#serve();
    });
  }

  #serve(): void {
    if (this.#waiting === undefined || this.#size < this.#waiting.size) return;
    const { size, resolve } = this.#waiting;
    this.#waiting = undefined;
    this.#bytes = Buffer.concat([this.#bytes, ...this.#chunks]);
    this.#chunks = [];
    const taken = this.#bytes.subarray(0, size);
    this.#bytes = this.#bytes.subarray(size);
    this.#size -= size;
    resolve(taken);
  }
}

export interface TcpPeer {
  readonly port: number;
  /** The connection, once there is one. */
  readonly socket: Promise<Socket>;
  close(): Promise<void>;
}

/** Listens on loopback for one link at a time; `onConnection` is told of each. */
export async function listen(onConnection: (socket: Socket) => void): Promise<TcpPeer> {
  const server = createServer({ noDelay: true });
  const sockets = new Set<Socket>();
  const socket = new Promise<Socket>((resolve) => {
    server.on('connection', (connection) => {
      sockets.add(connection);
      connection.on('error', () => undefined);
      connection.on('close', () => sockets.delete(connection));
      onConnection(connection);
      resolve(connection);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    port: address.port,
    socket,
    close: async () => {
      for (const open of sockets) open.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Resolves when the kernel has room again, as `drain` says. */
export async function sendAll(socket: Socket, data: Uint8Array): Promise<void> {
  if (socket.write(data)) return;
  await Promise.race([once(socket, 'drain'), once(socket, 'close')]).catch(() => undefined);
}

export interface Rfc2217Behavior {
  /** Commands that are confirmed; all by default. */
  readonly confirms?: (command: number) => boolean;
  /** Answers WILL COM-PORT with DONT. */
  readonly refuses?: boolean;
  /** Says nothing at all to telnet options. */
  readonly mute?: boolean;
  /** Offers COM-PORT itself, as pyserial's server does, and asks for an option that no client wants. */
  readonly offers?: boolean;
  /** Every byte to the client in a write of its own. */
  readonly byteByByte?: boolean;
  /** Data that is sent right before a purge is confirmed, and right behind it in the same write. */
  readonly aroundPurge?: readonly [Buffer, Buffer];
  /** The rate that SET-BAUDRATE is answered with instead of the one asked for. */
  readonly answersRate?: number;
}

/** A server of RFC 2217 with a codec of its own (not the one under test), which keeps a diary. */
export class Rfc2217Peer {
  readonly inbox = new Inbox();
  readonly baudRates: number[] = [];
  readonly controlLines: ControlLines[] = [];
  readonly commands: { command: number; value: Buffer }[] = [];
  /** Raw segments as they came. */
  readonly segments: Buffer[] = [];
  /** Resolves when the client has ended the connection and all that it sent is read. */
  readonly clientGone: Promise<void>;
  readonly #behavior: Rfc2217Behavior;
  #onGone: () => void = () => undefined;
  #peer: TcpPeer | undefined;
  #socket: Socket | undefined;
  #lines: ControlLines = { dtr: true, rts: true };
  #rest = Buffer.alloc(0);
  #agreed = new Set<string>();

  constructor(behavior: Rfc2217Behavior = {}) {
    this.#behavior = behavior;
    this.clientGone = new Promise((resolve) => (this.#onGone = resolve));
  }

  async start(): Promise<string> {
    this.#peer = await listen((socket) => {
      this.#socket = socket;
      socket.on('end', () => this.#onGone());
      if (this.#behavior.offers) void this.#raw([255, 251, 44, 255, 253, 1, 255, 251, 1, 255, 241]);
      socket.on('data', (chunk: Buffer) => {
        this.segments.push(chunk);
        this.#take(chunk);
      });
    });
    return `rfc2217://127.0.0.1:${this.#peer.port}`;
  }

  send(data: Uint8Array): Promise<void> {
    return this.#raw(encode(data));
  }

  raw(bytes: readonly number[]): Promise<void> {
    return this.#raw(bytes);
  }

  stall(): void {
    this.#socket?.pause();
  }

  vanish(): void {
    this.#socket?.destroy();
  }

  async close(): Promise<void> {
    await this.#peer?.close();
  }

  async #raw(bytes: Uint8Array | readonly number[]): Promise<void> {
    const socket = this.#socket;
    if (socket === undefined) throw new Error('no client');
    const all = Buffer.from(bytes);
    if (!this.#behavior.byteByByte || all.length > 20_000) await sendAll(socket, all);
    else for (const byte of all) socket.write(Buffer.of(byte));
  }

  /** Simple and slow on purpose: looks at everything from the first unfinished command again. */
  #take(chunk: Buffer): void {
    let bytes = Buffer.concat([this.#rest, chunk]);
    const data: number[] = [];
    let at = 0;
    while (at < bytes.length) {
      if (bytes[at] !== 255) {
        data.push(bytes[at++]!);
        continue;
      }
      const verb = bytes[at + 1];
      if (verb === undefined) break;
      if (verb === 255) {
        data.push(255);
        at += 2;
      } else if (verb === 250) {
        let end = at + 2;
        while (end < bytes.length && !(bytes[end] === 255 && bytes[end + 1] === 240)) end += bytes[end] === 255 ? 2 : 1;
        if (end + 1 >= bytes.length) break;
        this.#command(
          Buffer.from(
            bytes
              .subarray(at + 2, end)
              .toString('latin1')
              .replaceAll('\xff\xff', '\xff'),
            'latin1',
          ),
        );
        at = end + 2;
      } else {
        const option = bytes[at + 2];
        if (option === undefined) break;
        this.#option(verb, option);
        at += 3;
      }
    }
    bytes = bytes.subarray(at);
    this.#rest = bytes;
    if (data.length > 0) this.inbox.push(Buffer.from(data));
  }

  #option(verb: number, option: number): void {
    if (this.#behavior.mute || this.#agreed.has(`${verb} ${option}`)) return;
    this.#agreed.add(`${verb} ${option}`);
    if (verb === 251) void this.#raw([255, option === 44 && this.#behavior.refuses ? 254 : 253, option]);
    if (verb === 253) void this.#raw([255, 251, option]);
  }

  #command(sub: Buffer): void {
    const command = sub[1] ?? 0;
    const value = sub.subarray(2);
    this.commands.push({ command, value });
    let answer = value;
    if (command === 1) {
      this.baudRates.push(value.readUInt32BE());
      if (this.#behavior.answersRate !== undefined) {
        answer = Buffer.alloc(4);
        answer.writeUInt32BE(this.#behavior.answersRate);
      }
    }
    if (command === 5) {
      const [what] = value;
      if (what === 8 || what === 9) this.#lines = { ...this.#lines, dtr: what === 8 };
      if (what === 11 || what === 12) this.#lines = { ...this.#lines, rts: what === 11 };
      if (what !== undefined && what >= 8 && what <= 12) this.controlLines.push(this.#lines);
    }
    if (!(this.#behavior.confirms?.(command) ?? true)) return;
    const [before, behind] = command === 12 ? (this.#behavior.aroundPurge ?? []) : [];
    void this.#raw(
      Buffer.concat([
        encode(before ?? Buffer.alloc(0)),
        Buffer.of(255, 250, 44, command + 100),
        encode(answer),
        Buffer.of(255, 240),
        encode(behind ?? Buffer.alloc(0)),
      ]),
    );
  }
}

function encode(data: Uint8Array): Buffer {
  return Buffer.from(Buffer.from(data).toString('latin1').replaceAll('\xff', '\xff\xff'), 'latin1');
}
