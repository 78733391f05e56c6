/** `espd relay`: the process in which a daemon has a command done for a person; JSON lines on stdin and stdout. */

import type { Readable, Writable } from 'node:stream';
import {
  type Begin,
  type FileRequest,
  type FromCommand,
  MAX_LINE_BYTES,
  MessageReader,
  type StreamFacts,
  type ToCommand,
  encodeMessage,
  errorFrom,
  outputMessages,
} from '../../control/contract/session-messages.ts';
import { unlessAborted } from '../../clock.ts';
import { EspdError, toEspdError } from '../../errors.ts';
import type { Progress } from '../../transfer/session.ts';
import type { CommonOptions, Host, ServiceHost } from '../host.ts';
import type { TerminalStream } from '../output.ts';
import { RemoteFiles } from './remote-files.ts';

/** Runs one command line; resolves to its exit status. */
export type RunCommandLine = (args: readonly string[], host: Host) => Promise<number>;

export interface RelayStreams {
  readonly input: Readable;
  readonly output: Writable;
}

/**
 * Runs the command that the first message names. When the input ends, the command is interrupted: boards are released.
 * @param options config and archive of the daemon
 * @throws EspdError `daemon-protocol`
 */
export async function relay(
  { input, output }: RelayStreams,
  options: Pick<CommonOptions, 'config' | 'archive'>,
  host: Host,
  run: RunCommandLine,
): Promise<number> {
  const relayed = new Relay(output, options, host, run);
  const reader = MessageReader.toCommand();
  const listening = (async () => {
    try {
      for await (const chunk of input as AsyncIterable<Buffer>) {
        for (const { message } of reader.push(chunk)) relayed.take(message);
      }
      relayed.lose(new EspdError('interrupted', 'Interrupted'));
    } catch (error) {
      relayed.lose(toEspdError(error));
    }
  })();
  const status = await relayed.ended;
  // Nothing that comes now matters.
  input.destroy();
  await listening;
  return status;
}

/** How often the daemon is told how far a job is, while nothing but a number changes. */
const PROGRESS_MS = 250;

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly onWait?: (job: string) => void;
}

class Relay {
  readonly ended: Promise<number>;
  readonly #output: Writable;
  readonly #options: Pick<CommonOptions, 'config' | 'archive'>;
  readonly #host: Host;
  readonly #run: RunCommandLine;
  readonly #waiting = new Map<number, Waiting>();
  readonly #streams = new Map<'stdout' | 'stderr', RelayedStream>();
  readonly #told = new Map<string, { phase: string; atMs: number }>();
  #end!: (status: number | Promise<number>) => void;
  #hasBegun = false;
  #isInterrupted = false;
  #lost: EspdError | undefined;
  #next = 1;

  constructor(output: Writable, options: Pick<CommonOptions, 'config' | 'archive'>, host: Host, run: RunCommandLine) {
    this.#output = output;
    this.#options = options;
    this.#host = host;
    this.#run = run;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  take(message: ToCommand): void {
    switch (message.type) {
      case 'begin':
        if (this.#hasBegun) throw new EspdError('daemon-protocol', 'A command has begun already');
        this.#hasBegun = true;
        this.#end(this.#work(message));
        return;
      case 'signal':
        this.#interrupt();
        return;
      case 'columns':
        this.#streams.get(message.stream)?.resize(message);
        return;
      case 'answer':
        this.#settle(message.id, message.error && errorFrom(message.error), message.text ?? '');
        return;
      case 'file-reply': {
        const { error } = message;
        const failure = error && ('system' in error ? systemError(error.system) : errorFrom(error));
        this.#settle(message.id, failure, message.value);
        return;
      }
      case 'port-wait':
        this.#waiting.get(message.id)?.onWait?.(message.job);
        return;
      case 'port-reply':
        this.#settle(message.id, message.error && errorFrom(message.error), undefined);
        return;
    }
  }

  /** Nobody is there any more: what waits for an answer gets none. */
  lose(error: EspdError): void {
    this.#lost = error;
    if (!this.#hasBegun) {
      this.#hasBegun = true;
      this.#end(error.exitStatus);
      return;
    }
    this.#interrupt();
    for (const id of [...this.#waiting.keys()]) this.#settle(id, error, undefined);
  }

  /**
   * Once, however many ask for it: the third interruption ends a process whatever it holds (main.ts), and the daemon adds
   * a SIGTERM for one that does not listen.
   */
  #interrupt(): void {
    if (this.#isInterrupted) return;
    this.#isInterrupted = true;
    this.#host.interrupt?.();
  }

  async #work(begin: Begin): Promise<number> {
    const { args, terminal, cwd, env } = begin;
    for (const stream of ['stdout', 'stderr'] as const) {
      this.#streams.set(stream, new RelayedStream(this.#output, stream, terminal[stream]));
    }
    const [stdout, stderr] = [...this.#streams.values()];
    if (stdout === undefined || stderr === undefined) throw new TypeError('two streams were made');
    // What the command says of times is in the person's zone; Node looks at the variable when it is set.
    if (env.TZ === undefined) Reflect.deleteProperty(process.env, 'TZ');
    else process.env['TZ'] = env.TZ;
    const status = await this.#run(args, {
      env: environment(this.#host.env, env),
      terminal: { stdout, stderr, ...(terminal.canAsk ? { ask: (question) => this.#ask(question) } : {}) },
      signal: this.#host.signal,
      onHangup: () => undefined,
      service: this.#service(cwd, begin.report),
    });
    await this.#send({ type: 'end', status });
    return status;
  }

  #service(cwd: string, isReported: boolean): ServiceHost {
    return {
      options: this.#options,
      cwd,
      files: new RemoteFiles((request) => this.#askForFile(request)),
      takePort: async (address, purpose, signal, onWait) => {
        const id = this.#next++;
        const taken = this.#request(id, { type: 'port', id, op: 'take', address, purpose }, onWait);
        const release = () => void this.#send({ type: 'port-release', id });
        try {
          await unlessAborted(taken, signal);
        } catch (error) {
          release();
          throw error;
        }
        return release;
      },
      onProgress: (port, progress) => this.#tell(port, progress),
      onPlan: (plan) => {
        if (isReported) void this.#send({ type: 'plan', plan });
      },
      onEvent: (event) => {
        if (isReported) this.#report({ type: 'event', event }, { type: 'event', event: null });
      },
      onDocument: (document) => {
        if (isReported) this.#report({ type: 'result', document }, { type: 'result', document: null });
      },
      onMark: (mark) => void this.#send(mark),
    };
  }

  /** @param instead if the message is too long for a line */
  #report(message: FromCommand, instead: FromCommand): void {
    const fits = Buffer.byteLength(encodeMessage(message)) <= MAX_LINE_BYTES;
    void this.#send(fits ? message : instead);
  }

  /** Rejects at once when the command is interrupted: whoever is asked does not answer any more. */
  async #ask(question: string): Promise<string> {
    const id = this.#next++;
    const answer = this.#request(id, { type: 'ask', id, question });
    return (await unlessAborted(answer, this.#host.signal)) as string;
  }

  #askForFile(request: FileRequest): Promise<unknown> {
    const id = this.#next++;
    return this.#request(id, { type: 'file', id, request });
  }

  #request(id: number, message: FromCommand, onWait?: (job: string) => void): Promise<unknown> {
    if (this.#lost !== undefined) return Promise.reject(this.#lost);
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject, ...(onWait === undefined ? {} : { onWait }) });
      void this.#send(message);
    });
  }

  #settle(id: number, error: Error | undefined, value: unknown): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === undefined) waiting?.resolve(value);
    else waiting?.reject(error);
  }

  #tell(port: string | null, { phase, identity, doneBytes, totalBytes }: Progress): void {
    const before = this.#told.get(port ?? '');
    const nowMs = performance.now();
    if (before?.phase === phase && nowMs - before.atMs < PROGRESS_MS) return;
    this.#told.set(port ?? '', { phase, atMs: nowMs });
    if (this.#output.writableNeedDrain) return;
    void this.#send({
      type: 'progress',
      port,
      phase,
      ...(identity === undefined ? {} : { mac: identity.mac }),
      ...(doneBytes === undefined ? {} : { doneBytes }),
      ...(totalBytes === undefined ? {} : { totalBytes }),
    });
  }

  /** Resolves when it has left, or never will. */
  #send(message: FromCommand): Promise<void> {
    return new Promise((resolve) => {
      this.#output.write(encodeMessage(message), () => resolve());
    });
  }
}

/** One of the two streams of the person's process. */
class RelayedStream implements TerminalStream {
  readonly isTTY: boolean;
  columns: number | undefined;
  rows: number | undefined;
  readonly #output: Writable;
  readonly #name: 'stdout' | 'stderr';

  constructor(output: Writable, name: 'stdout' | 'stderr', facts: StreamFacts) {
    this.#output = output;
    this.#name = name;
    this.isTTY = facts.isTTY;
    this.resize(facts);
  }

  get writableNeedDrain(): boolean {
    return this.#output.writableNeedDrain;
  }

  resize({ columns, rows }: StreamFacts): void {
    this.columns = columns ?? undefined;
    this.rows = rows ?? undefined;
  }

  write(data: string | Uint8Array, onWritten?: () => void): boolean {
    let hasRoom = true;
    const lines = [...outputMessages(this.#name, data)].map(encodeMessage);
    for (const line of lines.slice(0, -1)) hasRoom = this.#output.write(line) && hasRoom;
    const last = lines.at(-1);
    if (last === undefined) onWritten?.();
    else hasRoom = this.#output.write(last, () => onWritten?.()) && hasRoom;
    return hasRoom;
  }
}

/** Of the service, but for what the person's terminal is like. */
function environment(service: NodeJS.ProcessEnv, person: Begin['env']): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = { ...service };
  for (const name of ['NO_COLOR', 'TERM', 'LANG'] as const) {
    if (person[name] === undefined) Reflect.deleteProperty(env, name);
    else env[name] = person[name];
  }
  return env;
}

/** As node:fs throws it: the code is what it is told by. */
function systemError(code: string): Error {
  return Object.assign(new Error(code), { code });
}
