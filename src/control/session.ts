/**
 * Sessions: commands that people have the daemon do. A process does each of them (command-process.ts); what it says goes
 * to the person as fast as they read it, and what they answer goes back.
 */

import type { Duplex } from 'node:stream';
import type { Clock } from '../clock.ts';
import { EspdError, toEspdError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { printable } from '../printable.ts';
import { VERSION } from '../version.ts';
import { CommandProcess, type PortKeeper, type RelayCommand } from './command-process.ts';
import { relayedCommand } from './contract/relayed-commands.ts';
import {
  ARCHIVE_HEADER,
  type Begin,
  type FromPerson,
  type MarkMessage,
  MessageReader,
  type ProgressMessage,
  type Received,
  SESSION_PROTOCOL,
  VERSION_HEADER,
  encodeMessage,
} from './contract/session-messages.ts';
import { drained } from './drained.ts';

export interface SessionsOptions {
  readonly command: RelayCommand;
  /** Folder of the daemon's archive. */
  readonly archivePath: string;
  readonly ports: PortKeeper;
  readonly clock: Clock;
  readonly log: Logger;
  /** The most commands at once. Default 32. */
  readonly most?: number;
  readonly onProgress?: (progress: ProgressMessage) => void;
  readonly onMark?: (mark: MarkMessage) => void;
}

const MOST_SESSIONS = 32;
/** A client says at once what it wants. */
const BEGIN_LIMIT_MS = 10_000;
/** A command that is interrupted ends within 4.9 s. */
const LAST_WORDS_MS = 5500;
/** A client hangs up once it has read the end. */
const HANG_UP_LIMIT_MS = 10_000;

export class Sessions {
  readonly #options: SessionsOptions;
  readonly #running = new Set<Session>();
  #isClosed = false;

  constructor(options: SessionsOptions) {
    this.#options = options;
  }

  /** Sessions that are open. */
  get count(): number {
    return this.#running.size;
  }

  /**
   * Answers a request for a session, and serves it until it ends; never rejects.
   * @param socket of a request `GET /v1/session`, as node:http hands it over at `upgrade`
   * @param head what had come behind the request
   * @param upgrade the header of that name
   */
  async serve(socket: Duplex, head: Buffer, upgrade: string | undefined = SESSION_PROTOCOL): Promise<void> {
    // A client that vanishes ends the loop that reads from it; the error itself is no news.
    socket.on('error', () => undefined);
    if (upgrade !== SESSION_PROTOCOL) {
      refuse(socket, 426, new EspdError('daemon-protocol', `This daemon speaks ${SESSION_PROTOCOL}`));
      return;
    }
    const { most = MOST_SESSIONS, archivePath } = this.#options;
    if (this.#isClosed || this.#running.size >= most) {
      const what = this.#isClosed ? 'The daemon is being stopped' : `The daemon does ${most} commands already`;
      refuse(socket, 503, new EspdError('daemon-busy', what, { hint: 'Try again in a while' }));
      return;
    }
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${SESSION_PROTOCOL}\r\n` +
        `${VERSION_HEADER}: ${VERSION}\r\n${ARCHIVE_HEADER}: ${encodeURIComponent(archivePath)}\r\n\r\n`,
    );
    const session = new Session(socket, this.#options);
    this.#running.add(session);
    try {
      await session.run(head);
    } catch (error) {
      this.#options.log.error('A session has failed', { reason: toEspdError(error).message });
    } finally {
      this.#running.delete(session);
      socket.destroy();
    }
  }

  /** Ends all commands as Ctrl-C does, within 6 s: boards are released. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all([...this.#running].map((session) => session.close()));
  }
}

/** RFC 9457, with espd's code and hint. */
function refuse(socket: Duplex, status: number, error: EspdError): void {
  const body = JSON.stringify({ title: error.code, status, code: error.code, detail: error.message, hint: error.hint });
  const reason = status === 426 ? 'Upgrade Required' : 'Service Unavailable';
  socket.end(
    `HTTP/1.1 ${status} ${reason}\r\nContent-Type: application/problem+json\r\nUpgrade: ${SESSION_PROTOCOL}\r\n` +
      `${VERSION_HEADER}: ${VERSION}\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}

class Session {
  readonly #socket: Duplex;
  readonly #options: SessionsOptions;
  #process: CommandProcess | undefined;
  #onEnd: () => void = () => undefined;
  readonly #ended = new Promise<void>((resolve) => {
    this.#onEnd = resolve;
  });

  constructor(socket: Duplex, options: SessionsOptions) {
    this.#socket = socket;
    this.#options = options;
  }

  async run(head: Buffer): Promise<void> {
    const cancel = this.#options.clock.schedule(BEGIN_LIMIT_MS, () => {
      if (this.#process === undefined) this.#socket.destroy();
    });
    const reader = MessageReader.fromPerson();
    try {
      for await (const chunk of chunksFrom(head, this.#socket)) {
        try {
          for (const received of reader.push(chunk)) await this.#take(received);
        } catch (error) {
          // In here: whoever leaves the loop closes the socket.
          await this.#end(undefined, toEspdError(error));
          break;
        }
      }
    } finally {
      cancel();
      // What is still on its way to the person wakes by this.
      this.#socket.destroy();
      this.#process?.interrupt();
      await this.#process?.ended;
      this.#onEnd();
    }
  }

  async close(): Promise<void> {
    if (this.#process === undefined) this.#socket.destroy();
    else this.#process.interrupt();
    // Whoever does not read the last words does not hold up the daemon.
    const cancel = this.#options.clock.schedule(LAST_WORDS_MS, () => this.#socket.destroy());
    await this.#ended;
    cancel();
  }

  async #take({ message, line }: Received<FromPerson>): Promise<void> {
    if (message.type !== 'begin') {
      if (this.#process === undefined) throw new EspdError('daemon-protocol', 'A session begins with a command');
      await this.#process.send(line);
      return;
    }
    if (this.#process !== undefined) throw new EspdError('daemon-protocol', 'A session is one command');
    this.#start(message);
  }

  #start(begin: Begin): void {
    const { command, ports, clock, log, onMark, onProgress } = this.#options;
    const name = relayedCommand(begin.args);
    if (name === undefined) {
      throw new EspdError('daemon-protocol', 'The daemon does not do this command, or not with these options', {
        hint: 'It does not take --config, --archive and --log-level. Without it: --no-daemon',
      });
    }
    log.debug('A session begins', { command: name, args: printable(begin.args.join(' ')) });
    this.#process = new CommandProcess({
      ...{ command, ports, clock, log, onMark },
      onMessage: ({ line, message }) => {
        // Asked for by nobody here: the daemon reports to no person.
        if (['plan', 'event', 'result'].includes(message.type)) return Promise.resolve();
        return this.#write(line);
      },
      ...(onProgress === undefined ? {} : { onProgress }),
    });
    void this.#process.send({ ...begin, report: false });
    void this.#process.ended.then(({ status, error }) => this.#end(status, error));
  }

  /** The last words of a session; what was said before has been written by then. */
  async #end(status: number | undefined, error: EspdError | undefined): Promise<void> {
    const end = {
      type: 'end',
      status: status ?? error?.exitStatus ?? 1,
      ...(error && { error: error.toJSON() }),
    } as const;
    await this.#write(Buffer.from(encodeMessage(end)));
    if (this.#socket.destroyed) return;
    this.#socket.end();
    const cancel = this.#options.clock.schedule(HANG_UP_LIMIT_MS, () => this.#socket.destroy());
    this.#socket.once('close', cancel);
  }

  /** Waits while the person does not read, unless they have left: then nobody waits for them. */
  async #write(line: Buffer): Promise<void> {
    if (!this.#socket.writable) return;
    this.#socket.write(line);
    await drained(this.#socket);
  }
}

async function* chunksFrom(head: Buffer, socket: Duplex): AsyncGenerator<Buffer> {
  if (head.length > 0) yield head;
  try {
    for await (const chunk of socket as AsyncIterable<Buffer>) yield chunk;
  } catch {
    // ECONNRESET: the person's process is gone.
  }
}
