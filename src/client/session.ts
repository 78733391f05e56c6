/** A command that the daemon does for this person: this process is its terminal, its files, and its answers. */

import type { Duplex } from 'node:stream';
import { touchableFiles } from '../control/contract/relayed-commands.ts';
import {
  type FromPerson,
  MAX_ARGUMENTS,
  MAX_LINE_BYTES,
  MAX_VARIABLE_UNITS,
  MessageReader,
  type StreamFacts,
  TOLD_VARIABLES,
  type ToPerson,
  encodeMessage,
  errorFrom,
} from '../control/contract/session-messages.ts';
import { EspdError } from '../errors.ts';
import type { PersonFiles } from './files.ts';
import { ServedFiles } from './serve-files.ts';

/** A stream of this process, as far as a session needs it. */
export interface PersonStream {
  write(data: string | Uint8Array, onWritten?: () => void): unknown;
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  readonly rows?: number | undefined;
  on?(event: 'resize', listener: () => void): unknown;
  off?(event: 'resize', listener: () => void): unknown;
}

export interface Person {
  readonly stdout: PersonStream;
  readonly stderr: PersonStream;
  /** Undefined when nobody is there to answer. */
  readonly ask?: ((question: string) => Promise<string>) | undefined;
  readonly files: PersonFiles;
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  /** Aborted at Ctrl-C: the command is told, and what it still says is shown. */
  readonly signal: AbortSignal;
}

/** What was there when the session ended. */
export interface SessionEnd {
  readonly status: number;
  /** What the daemon itself has to say; a command has printed its own errors. */
  readonly error: EspdError | undefined;
  /** Something has been written to stdout. */
  readonly hasOutput: boolean;
}

/** @param args the command line, without node and script */
export async function runSession(
  { socket, head }: { readonly socket: Duplex; readonly head: Buffer },
  args: readonly string[],
  person: Person,
): Promise<SessionEnd> {
  const session = new Session(socket, args, person);
  try {
    return await session.run(head);
  } finally {
    await session.close();
  }
}

class Session {
  readonly #socket: Duplex;
  readonly #args: readonly string[];
  readonly #person: Person;
  readonly #served: ServedFiles;
  readonly #onSignal = () => this.#send({ type: 'signal' });
  readonly #onResize = (['stdout', 'stderr'] as const).map((stream) => ({
    stream,
    listener: () => this.#send({ type: 'columns', stream, ...factsOf(this.#person[stream]) }),
  }));
  #hasOutput = false;

  constructor(socket: Duplex, args: readonly string[], person: Person) {
    this.#socket = socket;
    this.#args = args;
    this.#person = person;
    this.#served = new ServedFiles(person.files, touchableFiles(args));
  }

  async run(head: Buffer): Promise<SessionEnd> {
    const { stdout, stderr, ask, env, cwd, signal } = this.#person;
    // Ends the loop below; the error itself is no news.
    this.#socket.on('error', () => undefined);
    const begin: FromPerson = {
      type: 'begin',
      args: [...this.#args],
      cwd,
      terminal: { stdout: factsOf(stdout), stderr: factsOf(stderr), canAsk: ask !== undefined },
      env: Object.fromEntries(
        TOLD_VARIABLES.flatMap((name) => {
          const value = env[name];
          return value === undefined || value.length > MAX_VARIABLE_UNITS ? [] : [[name, value]];
        }),
      ),
      report: false,
    };
    if (Buffer.byteLength(encodeMessage(begin)) > MAX_LINE_BYTES || this.#args.length > MAX_ARGUMENTS) {
      throw new EspdError('usage', 'The command line is longer than the daemon takes', {
        hint: 'Name a folder instead of its files, or name fewer at once',
      });
    }
    this.#send(begin);
    if (signal.aborted) this.#onSignal();
    signal.addEventListener('abort', this.#onSignal);
    for (const { stream, listener } of this.#onResize) this.#person[stream].on?.('resize', listener);
    const reader = MessageReader.toPerson();
    for await (const chunk of chunksFrom(head, this.#socket)) {
      for (const { message } of reader.push(chunk)) {
        if (message.type === 'end') {
          const error = message.error === undefined ? undefined : errorFrom(message.error);
          return { status: message.status, error, hasOutput: this.#hasOutput };
        }
        await this.#handle(message);
      }
    }
    const error = new EspdError('daemon-gone', 'The daemon ended in the middle of the command', {
      hint: 'Boards are released by the process that worked on them. See why: journalctl -u espd. Then run the command again',
    });
    return { status: error.exitStatus, error, hasOutput: this.#hasOutput };
  }

  async close(): Promise<void> {
    this.#person.signal.removeEventListener('abort', this.#onSignal);
    for (const { stream, listener } of this.#onResize) this.#person[stream].off?.('resize', listener);
    this.#socket.destroy();
    await this.#served.close();
  }

  /** Waits where the person does not read: then the daemon does not read on either. */
  async #handle(message: Exclude<ToPerson, { type: 'end' }>): Promise<void> {
    switch (message.type) {
      case 'output':
        await this.#show(message);
        return;
      case 'ask':
        void this.#answer(message.id, message.question);
        return;
      case 'file':
        void this.#served.reply(message.id, message.request).then((reply) => this.#send(reply));
        return;
    }
  }

  #show({ stream, data, base64 }: Extract<ToPerson, { type: 'output' }>): Promise<void> {
    const written = data ?? Buffer.from(base64 ?? '', 'base64');
    if (stream === 'stdout') this.#hasOutput = true;
    return new Promise((resolve) => {
      if (this.#person[stream].write(written, () => resolve()) !== false) resolve();
    });
  }

  async #answer(id: number, question: string): Promise<void> {
    try {
      const text = (await this.#person.ask?.(question)) ?? '';
      this.#send({ type: 'answer', id, text });
    } catch (error) {
      // An interrupted question needs no answer: the signal is told.
      if (error instanceof EspdError) this.#send({ type: 'answer', id, error: error.toJSON() });
      else if (!this.#person.signal.aborted) this.#send({ type: 'answer', id, text: '' });
    }
  }

  /** Answers to what was asked, one each: what waits here is bounded by what is asked at once. */
  #send(message: FromPerson): void {
    if (this.#socket.writable) this.#socket.write(encodeMessage(message));
  }
}

async function* chunksFrom(head: Buffer, socket: Duplex): AsyncGenerator<Buffer> {
  if (head.length > 0) yield head;
  try {
    for await (const chunk of socket as AsyncIterable<Buffer>) yield chunk;
  } catch {
    // ECONNRESET: the daemon is gone.
  }
}

function factsOf({ isTTY, columns, rows }: PersonStream): StreamFacts {
  return { isTTY: isTTY === true, columns: columns ?? null, rows: rows ?? null };
}
