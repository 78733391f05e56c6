/**
 * Answers that take a processor for a while: comparisons, contents, parts of images, plans. Each is the output of a
 * command in a process of its own, so that boards are read on meanwhile, and no image harms the daemon. Few at once.
 */

import { createHash } from 'node:crypto';
import { type Clock, unlessAborted } from '../clock.ts';
import { EspdError, toEspdError } from '../errors.ts';
import { VERSION } from '../version.ts';
import { errorSchema } from './contract/session-messages.ts';
import { HttpError } from './problem.ts';

/** A command whose output is wanted. */
export interface ReadingRun {
  /** Never rejects. `status` undefined = it has not said that it is done. */
  readonly ended: Promise<{
    readonly status: number | undefined;
    readonly error: EspdError | undefined;
    /** Its JSON document, where it is not the output: of an error, mostly. */
    readonly document: unknown;
  }>;
  /** Ends it as Ctrl-C does. */
  interrupt(): void;
}

/** @param onOutput gets stdout piece by piece; the process is not read on before it resolves */
export type StartReading = (args: readonly string[], onOutput: (bytes: Buffer) => Promise<void>) => ReadingRun;

export interface ReadingsParts {
  readonly clock: Clock;
  readonly start: StartReading;
}

/** Documents that are made at once: each is a process with some 100 MB. */
const MOST_DOCUMENTS = 2;
/** Parts of images that are handed out at once: each waits for the speed of its client. */
const MOST_STREAMS = 4;
const MOST_WAITING = 32;
const MAX_DOCUMENT_BYTES = 16 * 1024 * 1024;
/** What is remembered of documents that never change. */
const CACHE_BYTES = 16 * 1024 * 1024;
/** A diff of two images of 16 MB takes a few seconds. */
const DOCUMENT_LIMIT_MS = 120_000;
const STREAM_LIMIT_MS = 30 * 60_000;

/** The validator of an answer that is the same as long as these facts are. */
export function tagOf(...facts: readonly string[]): string {
  return `"${createHash('sha256')
    .update(JSON.stringify([VERSION, ...facts]))
    .digest('hex')
    .slice(0, 32)}"`;
}

interface Making {
  readonly document: Promise<Buffer>;
  readonly stop: AbortController;
  waiting: number;
}

export class Readings {
  readonly #parts: ReadingsParts;
  readonly #documents = new Slots(MOST_DOCUMENTS);
  readonly #streams = new Slots(MOST_STREAMS);
  readonly #making = new Map<string, Making>();
  readonly #cache = new DocumentCache(CACHE_BYTES);
  readonly #closing = new AbortController();
  readonly #running = new Set<Promise<unknown>>();

  constructor(parts: ReadingsParts) {
    this.#parts = parts;
  }

  /**
   * The JSON document of a command. Whoever asks for the same meanwhile gets the same; it is ended if nobody wants it
   * any more.
   * @param tag of what never changes under it (see {@link tagOf}): then it is remembered; undefined = it may change
   * @throws EspdError that of the command; `daemon-busy`; HttpError 504; the signal's reason
   */
  async document(args: readonly string[], tag: string | undefined, signal: AbortSignal): Promise<Buffer> {
    const known = tag === undefined ? undefined : this.#cache.get(tag);
    if (known !== undefined) return known;
    const key = tag ?? JSON.stringify(args);
    const making = this.#making.get(key) ?? this.#make(key, args, tag);
    making.waiting++;
    try {
      return await unlessAborted(making.document, signal);
    } finally {
      if (--making.waiting === 0) {
        // Whoever asks from now on gets one that is not being ended.
        this.#forget(key, making);
        making.stop.abort(new EspdError('interrupted', 'Nobody waits for it any more'));
      }
    }
  }

  /**
   * What a command writes to stdout, as fast as `onOutput` takes it.
   * @throws EspdError that of the command; `daemon-busy`; HttpError 504; the signal's reason
   */
  async stream(
    args: readonly string[],
    onOutput: (bytes: Buffer) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    const stop = AbortSignal.any([signal, this.#closing.signal]);
    const work = this.#streams.run(stop, () => this.#run(args, onOutput, stop, STREAM_LIMIT_MS));
    const { status, error, document } = await this.#track(work);
    if (status !== 0) throw error ?? errorOf(document, status);
  }

  /** Ends all that run. Never rejects. */
  async close(): Promise<void> {
    this.#closing.abort(new EspdError('interrupted', 'The daemon is stopping'));
    await Promise.allSettled(this.#running);
  }

  #make(key: string, args: readonly string[], tag: string | undefined): Making {
    const stop = new AbortController();
    const document = this.#track(this.#documentOf(args, AbortSignal.any([stop.signal, this.#closing.signal])));
    const making: Making = { document, stop, waiting: 0 };
    this.#making.set(key, making);
    document.then(
      (bytes) => {
        if (tag !== undefined) this.#cache.add(tag, bytes);
        this.#forget(key, making);
      },
      () => this.#forget(key, making),
    );
    return making;
  }

  #forget(key: string, making: Making): void {
    if (this.#making.get(key) === making) this.#making.delete(key);
  }

  async #documentOf(args: readonly string[], signal: AbortSignal): Promise<Buffer> {
    const chunks: Buffer[] = [];
    let sizeBytes = 0;
    const onOutput = (bytes: Buffer) => {
      sizeBytes += bytes.length;
      if (sizeBytes > MAX_DOCUMENT_BYTES) return Promise.reject(new HttpError(500, 'The answer is too long', HINT_CLI));
      chunks.push(bytes);
      return Promise.resolve();
    };
    const { status, error } = await this.#documents.run(signal, () =>
      this.#run([...args, '--json'], onOutput, signal, DOCUMENT_LIMIT_MS),
    );
    const bytes = Buffer.concat(chunks);
    if (status === 0) return bytes;
    throw error ?? errorOf(parsed(bytes), status);
  }

  async #run(
    args: readonly string[],
    onOutput: (bytes: Buffer) => Promise<void>,
    signal: AbortSignal,
    limitMs: number,
  ): ReturnType<() => ReadingRun['ended']> {
    let failure: EspdError | undefined;
    const fail = (error: EspdError) => {
      failure ??= error;
      run.interrupt();
    };
    const run = this.#parts.start(args, async (bytes) => {
      // What still comes of a process that is being ended is for nobody.
      if (failure !== undefined) return;
      await onOutput(bytes).catch((error: unknown) => fail(toEspdError(error)));
    });
    const onAbort = () => fail(toEspdError(signal.reason));
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort);
    const cancel = this.#parts.clock.schedule(limitMs, () =>
      fail(new HttpError(504, `This took longer than ${limitMs / 1000} s, and was ended`, HINT_CLI)),
    );
    try {
      const ended = await run.ended;
      return failure === undefined ? ended : { status: undefined, error: failure, document: null };
    } finally {
      cancel();
      signal.removeEventListener('abort', onAbort);
    }
  }

  #track<T>(work: Promise<T>): Promise<T> {
    const tracked = work.finally(() => this.#running.delete(tracked));
    this.#running.add(tracked);
    return tracked;
  }
}

const HINT_CLI = 'The command of the same name has no such limit: espd contents, diff, prune, export';

/** The error that a command's document ends with. */
function errorOf(document: unknown, status: number | undefined): EspdError {
  const fields = typeof document === 'object' && document !== null && 'error' in document ? document.error : undefined;
  const { data } = errorSchema.safeParse(fields);
  if (data === undefined) return new EspdError('internal', `The command ended with status ${status ?? 'unknown'}`);
  return new EspdError(data.code, data.message, { hint: data.hint });
}

function parsed(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
}

/** So many at once; the others wait for their turn, in order. */
class Slots {
  readonly #most: number;
  #taken = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(most: number) {
    this.#most = most;
  }

  async run<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    if (this.#taken >= this.#most) await this.#turn(signal);
    else this.#taken++;
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#taken--;
      else next();
    }
  }

  /** Resolves with a slot that somebody hands over. */
  async #turn(signal: AbortSignal): Promise<void> {
    if (this.#waiting.length >= MOST_WAITING) {
      throw new EspdError('daemon-busy', `${MOST_WAITING} requests of this kind wait already`, {
        hint: 'Try again in a while',
      });
    }
    await new Promise<void>((resolve, reject) => {
      const onAbort = () => {
        this.#waiting.splice(this.#waiting.indexOf(take), 1);
        reject(toEspdError(signal.reason));
      };
      const take = () => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      };
      this.#waiting.push(take);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }
}

/** Documents by their tag; the one that was wanted longest ago goes first. */
class DocumentCache {
  readonly #maxBytes: number;
  readonly #documents = new Map<string, Buffer>();
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get(tag: string): Buffer | undefined {
    const found = this.#documents.get(tag);
    if (found === undefined) return undefined;
    this.#documents.delete(tag);
    this.#documents.set(tag, found);
    return found;
  }

  add(tag: string, document: Buffer): void {
    this.#documents.set(tag, document);
    this.#bytes += document.length;
    for (const [oldest, { length }] of this.#documents) {
      if (this.#bytes <= this.#maxBytes) return;
      this.#documents.delete(oldest);
      this.#bytes -= length;
    }
  }
}
