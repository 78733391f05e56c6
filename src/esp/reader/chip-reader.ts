/**
 * The reader of one board: whether it may be used, whether it is loaded, and what is read through it. The first fault ends
 * it for this job; who catches {@link ReaderFault} resets the board and goes on with the stub.
 */

import { createHash } from 'node:crypto';
import { type ByteSink, hexAddress } from '../flash-read.ts';
import type { BoardIdentity } from '../identity.ts';
import type { Line } from '../line.ts';
import type { EspContext, Loader } from '../loader.ts';
import { MEM_BLOCK_BYTES, loadStubImage } from '../stub.ts';
import { type ReaderProgram, loadReaderProgram, stubDigest } from './artefact.ts';
import { ReaderFault } from './fault.ts';
import type { StreamEnd } from './frames.ts';
import { inflateBegun, inflateWhole } from './inflate.ts';
import { loadReader } from './load.ts';
import { type ReaderMemory, factsAfterFault, isResting } from './memory.ts';
import { endStream, runStream, streamRequest, tableRequest } from './stream.ts';
import { type ReaderMode, reasonAgainst } from './trust.ts';

export interface ReaderOptions {
  readonly mode: ReaderMode;
  /** What is remembered of readers that failed; nothing where it is left out. */
  readonly memory?: ReaderMemory | undefined;
  /** Where the program for a stub of that name comes from; default: what was built with espd. */
  readonly program?: (stubName: string) => Promise<ReaderProgram | undefined>;
}

/** What the reader did in a job. */
export interface ReaderReport {
  readonly build: number;
  /** Bytes of flash that came as they are. */
  readonly plainBytes: number;
  /** Bytes of flash that came compressed. */
  readonly compressedBytes: number;
  /** Bytes of data that the chip has sent for both. */
  readonly sentBytes: number;
  /** Tables of sector digests. */
  readonly tables: number;
  /** Why it was given up; null where it was not. */
  readonly fault: string | null;
}

/** What only the flasher knows. */
export interface ReaderSurroundings {
  /** Name of the stub image for this chip. */
  readonly stubName: string;
  readonly flashSizeBytes: () => number | undefined;
  readonly hasForeignStub: () => boolean;
}

/** One STREAM reads about so much time's worth, against the round trip that it costs. */
const PIECE_MS = 2000;
const MIN_PIECE_BYTES = 64 * 1024;
const MAX_PIECE_BYTES = 1024 * 1024;
/** Handed on at a time. */
const SINK_BYTES = 64 * 1024;
/** Beside what the chip needs for its work, from one frame to the next. */
const FRAME_LIMIT_MS = 1000;
/** What the chip has shown that it needs, so many times over. */
const PATIENCE = 3;
const SECTOR_BYTES = 4096;
/** Sectors whose digests fill a frame. */
const SECTORS_PER_FRAME = 128;

export class ChipReader {
  readonly #identity: BoardIdentity;
  readonly #context: EspContext;
  readonly #line: Line;
  readonly #options: ReaderOptions;
  readonly #surroundings: ReaderSurroundings;
  /** Undefined = not looked for yet; null = there is none that fits. */
  #program: ReaderProgram | null | undefined;
  /** The stub that it is loaded beside. */
  #loadedBeside: Loader | undefined;
  #fault: string | null = null;
  #plainBytes = 0;
  #compressedBytes = 0;
  #sentBytes = 0;
  #tables = 0;

  constructor(
    identity: BoardIdentity,
    context: EspContext,
    line: Line,
    options: ReaderOptions,
    surroundings: ReaderSurroundings,
  ) {
    this.#identity = identity;
    this.#context = context;
    this.#line = line;
    this.#options = options;
    this.#surroundings = surroundings;
  }

  /** Null where it was not used. */
  get report(): ReaderReport | null {
    const program = this.#program ?? null;
    const [plainBytes, compressedBytes, sentBytes] = [this.#plainBytes, this.#compressedBytes, this.#sentBytes];
    const [tables, fault] = [this.#tables, this.#fault];
    if (program === null || (plainBytes + compressedBytes + tables === 0 && fault === null)) return null;
    return { build: program.build, plainBytes, compressedBytes, sentBytes, tables, fault };
  }

  /** How many bytes to ask for at once. */
  get pieceBytes(): number {
    const bytes = PIECE_MS * this.#line.wayToRead().bytesPerMs;
    const whole = Math.floor(bytes / SECTOR_BYTES) * SECTOR_BYTES;
    return Math.min(MAX_PIECE_BYTES, Math.max(MIN_PIECE_BYTES, whole));
  }

  /** Finds out whether it may be used on this board; tells the line, whose costs depend on it. Asks the chip nothing. */
  async consider(): Promise<boolean> {
    const isPossible = this.#fault === null && (await this.#mayBeUsed());
    if (!isPossible) this.#line.reader = 'none';
    else if (this.#line.reader === 'none') this.#line.reader = 'possible';
    return isPossible;
  }

  /**
   * Whether the next bytes are best read through it; loads it where that pays.
   * @param expectedBytes to be read from now on
   * @throws ReaderFault
   */
  async isBest(stub: Loader, expectedBytes: number): Promise<boolean> {
    if (!(await this.consider())) return false;
    if (this.#loadedBeside !== stub) {
      this.#line.reader = 'possible';
      if (!this.#line.paysToLoadReader(expectedBytes) || !(await this.load(stub))) return false;
    }
    return this.#line.readerBeatsStub();
  }

  /** Loads it where it is not. Resolves to whether it is there. @throws ReaderFault */
  async load(stub: Loader): Promise<boolean> {
    if (!(await this.consider()) || this.#program === null || this.#program === undefined) return false;
    if (this.#loadedBeside === stub) return true;
    const program = this.#program;
    const { clock, log } = this.#context;
    const startedAt = clock.now();
    const loaded = await this.#guarded(stub, () => loadReader(stub, program, MEM_BLOCK_BYTES));
    if (loaded === undefined) {
      this.#program = null;
      log.debug('The reader is not loaded: the stub is not the one that it was built for');
      return this.consider();
    }
    this.#loadedBeside = stub;
    this.#line.readerLoaded(loaded.bytesPerMs);
    log.debug('reader loaded', { build: program.build, ms: clock.now() - startedAt, bytesPerMs: loaded.bytesPerMs });
    return true;
  }

  /** It is not loaded on this board. To be called before it is. */
  forbid(): void {
    this.#program = null;
  }

  /**
   * Reads a region, proven by the chip's digest of what it has read. What came of one that fails goes to the sink as well.
   * @throws ReaderFault
   */
  async read(stub: Loader, offset: number, sizeBytes: number, sink: ByteSink): Promise<void> {
    await this.#guarded(stub, async () => {
      const { level, bytesPerMs } = this.#line.wayToRead();
      const delivery = new Delivery(offset, sizeBytes, level > 0, sink);
      const request = streamRequest({
        ...{ level, offset, sizeBytes, flags: 0, windowFrames: this.#line.readerWindow() },
        frameLimitMs: FRAME_LIMIT_MS + PATIENCE * (sizeBytes / bytesPerMs),
      });
      const startedAt = this.#context.clock.now();
      let end: StreamEnd;
      try {
        end = await runStream(stub, request, (payload) => delivery.take(payload));
      } catch (error) {
        await delivery.salvage();
        throw error;
      }
      const ms = this.#context.clock.now() - startedAt;
      await delivery.finish(end);
      this.#line.hasStreamed({ level, flashBytes: sizeBytes, sentBytes: end.bytesSent, ms });
      if (level === 0) this.#line.hasSampled(sizeBytes, delivery.sample);
      this.#sentBytes += end.bytesSent;
      if (level === 0) this.#plainBytes += sizeBytes;
      else this.#compressedBytes += sizeBytes;
    });
  }

  /**
   * The first eight bytes of the MD5 of each sector of a region, one after the other.
   * @throws ReaderFault
   */
  async sectorDigests(stub: Loader, offset: number, sizeBytes: number): Promise<Buffer> {
    const sectors = sizeBytes / SECTOR_BYTES;
    const parts: Buffer[] = [];
    await this.#guarded(stub, async () => {
      const request = tableRequest({
        ...{ offset, sectors, windowFrames: this.#line.readerWindow() },
        frameLimitMs: this.#line.digestLimitMs(Math.min(sectors, SECTORS_PER_FRAME) * SECTOR_BYTES),
      });
      const end = await runStream(stub, request, (payload) => {
        parts.push(payload);
        return undefined;
      });
      if (end.bytesRead !== sizeBytes || end.bytesSent !== request.maxBytes) {
        throw new ReaderFault(`The table of digests at ${hexAddress(offset)} is not whole`);
      }
    });
    this.#tables++;
    return Buffer.concat(parts);
  }

  async #mayBeUsed(): Promise<boolean> {
    const { mode } = this.#options;
    const { stubName, flashSizeBytes, hasForeignStub } = this.#surroundings;
    const against = reasonAgainst({
      ...{ mode, family: this.#identity.family, usbConnection: this.#identity.usbConnection },
      security: this.#identity.security,
      flashSizeBytes: flashSizeBytes(),
      canReset: this.#line.hasBaudRate,
      hasForeignStub: hasForeignStub(),
    });
    if (against !== null) return false;
    if (this.#program === undefined) this.#program = (await this.#findProgram(stubName)) ?? null;
    return this.#program !== null;
  }

  async #findProgram(stubName: string): Promise<ReaderProgram | undefined> {
    const { memory, program: find = loadReaderProgram } = this.#options;
    const program = await find(stubName);
    if (program === undefined) return undefined;
    const facts = memory?.recall(this.#identity.mac, program.build) ?? null;
    if (facts !== null && isResting(facts, this.#context.clock.date())) {
      this.#context.log.debug('The reader is not used: it has failed on this chip', { ...facts });
      return undefined;
    }
    const isForThisStub = stubDigest(await loadStubImage(stubName)) === program.stubSha256;
    return isForThisStub ? program : undefined;
  }

  async #guarded<T>(stub: Loader, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof ReaderFault) await this.#giveUp(stub, error);
      throw error;
    }
  }

  async #giveUp(stub: Loader, fault: ReaderFault): Promise<void> {
    const { log, clock } = this.#context;
    const { mac } = this.#identity;
    this.#fault = fault.message;
    this.#loadedBeside = undefined;
    this.#line.reader = 'none';
    log.warn('The reader on the chip failed: going on with the flasher stub', { mac, reason: fault.message });
    const build = this.#program?.build;
    const { memory } = this.#options;
    this.#line.readerFailed(fault.damage, () => {
      if (build !== undefined) memory?.remember(mac, build, factsAfterFault(memory.recall(mac, build), clock.date()));
    });
    // A chip that goes on sending would talk into the reset that follows.
    await endStream(stub);
  }
}

/** What comes of one region, on its way to the sink. */
class Delivery {
  readonly #sink: ByteSink;
  readonly #offset: number;
  readonly #sizeBytes: number;
  readonly #isCompressed: boolean;
  readonly #hash = createHash('md5');
  #parts: Buffer[] = [];
  #heldBytes = 0;
  #deliveredBytes = 0;
  /** Some bytes of the region, of one that came as it is. */
  sample: Buffer = Buffer.alloc(0);

  constructor(offset: number, sizeBytes: number, isCompressed: boolean, sink: ByteSink) {
    this.#offset = offset;
    this.#sizeBytes = sizeBytes;
    this.#isCompressed = isCompressed;
    this.#sink = sink;
  }

  take(payload: Buffer): Promise<void> | undefined {
    this.#parts.push(payload);
    this.#heldBytes += payload.length;
    return !this.#isCompressed && this.#heldBytes >= SINK_BYTES ? this.#deliver(this.#takeHeld()) : undefined;
  }

  /** @throws ReaderFault where it is not what the chip has read */
  async finish({ bytesRead, digest }: StreamEnd): Promise<void> {
    const held = this.#takeHeld();
    await this.#deliver(this.#isCompressed ? inflateWhole(held, this.#sizeBytes) : held);
    if (bytesRead !== this.#sizeBytes || this.#deliveredBytes !== this.#sizeBytes) {
      throw new ReaderFault(`The reader has read ${bytesRead} bytes instead of ${this.#sizeBytes}`);
    }
    if (!digest.equals(this.#hash.digest())) {
      throw new ReaderFault(`What the reader sent of ${hexAddress(this.#offset)} is not what it has read`);
    }
  }

  /** Hands on what came before the stream broke off: the chip's digests will tell what of it is right. */
  async salvage(): Promise<void> {
    const held = this.#takeHeld();
    const left = this.#sizeBytes - this.#deliveredBytes;
    await this.#deliver(this.#isCompressed ? inflateBegun(held, left) : held.subarray(0, left));
  }

  #takeHeld(): Buffer {
    const held = Buffer.concat(this.#parts);
    this.#parts = [];
    this.#heldBytes = 0;
    return held;
  }

  async #deliver(bytes: Buffer): Promise<void> {
    if (this.sample.length === 0) this.sample = bytes.subarray(0, SECTOR_BYTES);
    for (let at = 0; at < bytes.length; at += SINK_BYTES) {
      const part = bytes.subarray(at, at + SINK_BYTES);
      this.#hash.update(part);
      const place = this.#offset + this.#deliveredBytes;
      this.#deliveredBytes += part.length;
      await this.#sink(place, part);
    }
  }
}
