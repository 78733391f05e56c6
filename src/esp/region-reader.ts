/**
 * Reads regions of flash piece by piece: how large, in what packets, acknowledged when. Of a piece that fails, only what
 * the chip does not confirm is read again.
 */

import { type EspdError, hasCode } from '../errors.ts';
import {
  type ByteSink,
  PacketLost,
  type ReadOptions,
  hexAddress,
  readThroughRom,
  readThroughStub,
} from './flash-read.ts';
import type { Flasher } from './flasher.ts';
import type { KeptBytes } from './kept-bytes.ts';
import type { Line } from './line.ts';
import type { Loader } from './loader.ts';
import type { Persistence } from './persistence.ts';
import { RateNotHeld } from './rate-trial.ts';
import { type RecoveryStep, packetsAfter } from './recovery.ts';
import type { ChipReader } from './reader/chip-reader.ts';
import { digestRegion } from './spi-flash.ts';

/**
 * Bytes of one READ_FLASH, against the round trips that a command costs. Few where an error has cost all of a piece and
 * at a rate that is still to be proven, then twice as many each time.
 */
const MAX_PIECE_BYTES = 256 * 1024;
const MIN_PIECE_BYTES = 16 * 1024;
/** The read that a rate is tried with: two packets. What errs more seldom lowers the rate while it reads on. */
const TRIAL_PIECE_BYTES = 8192;
/** What a stub that was not loaded here has to show that it can be acknowledged early: two packets. */
const FOREIGN_PIECE_BYTES = 8192;
/**
 * So many pieces in a row must come only when they are acknowledged late before early acknowledgement is given up: one
 * where a packet is missing, more once it has worked on this line or was blamed in the wrong, and more where packets
 * came but not whole, which noise does, too.
 */
const SUSPICIONS_AFTER_SUCCESS = 3;
const SUSPICIONS_IN_NOISE = 4;
/** A packet that came whole although it was acknowledged early: what broke the one behind it is something else. */
const INNOCENT_BYTES = 4096;
/** Read through the ROM where the stub fails; twice as much each time that it fails again at once. */
const ROM_PIECE_BYTES = 16 * 1024;
const MAX_ROM_PIECE_BYTES = 256 * 1024;
/** 256 KiB at 40 ms a block of 64 bytes. */
const ROM_LIMIT_MS = 170_000;

export interface PieceRequest {
  readonly offset: number;
  /** Read no more than this. */
  readonly limitBytes: number;
  /** Bytes that are to be moved from here on, this piece included: they decide on the baud rate. */
  readonly expectedBytes: number;
  /** Of the read that this piece is a part of. */
  readonly kept: KeptBytes;
}

export class RegionReader {
  readonly #flasher: Flasher;
  readonly #persistence: Persistence;
  readonly #line: Line;
  readonly #chipReader: ChipReader;
  #pieceBytes = MAX_PIECE_BYTES;
  #romPieceBytes = ROM_PIECE_BYTES;
  #romWasNeeded = false;
  #mayAcknowledgeEarly: boolean;
  /** Whether a stub that was not loaded here can be acknowledged early. */
  #foreignStubCan: boolean | null = null;
  /** Early acknowledgement was blamed for what also happens without it. */
  #isAcquitted = false;
  /** Pieces in a row that came only when they were acknowledged late. */
  #suspicions = 0;
  /** At which the piece was read that has failed last. */
  #heldBaudRate = 0;

  /** Bytes that were read through each loader, without the reader on the chip. */
  readonly loaderBytes = { stub: 0, rom: 0 };

  constructor(flasher: Flasher, persistence: Persistence, line: Line, chipReader: ChipReader) {
    this.#chipReader = chipReader;
    this.#flasher = flasher;
    this.#persistence = persistence;
    this.#line = line;
    this.#mayAcknowledgeEarly = line.mayAcknowledgeEarly;
  }

  /** The last piece was to be had through the ROM only. */
  get romWasNeeded(): boolean {
    return this.#romWasNeeded;
  }

  /** Reads some bytes from the offset on; resolves to how many. @throws EspdError `read-failed` when nothing helps */
  async readPiece(request: PieceRequest, sink: ByteSink): Promise<number> {
    let suspect: 'no' | 'perhaps' | 'likely' = 'no';
    let failures = 0;
    return this.#persistence.run({
      what: `read at ${hexAddress(request.offset)}`,
      isRead: true,
      romWasNeeded: this.#romWasNeeded,
      work: async (tried) => {
        if (tried.at(-1) === 'romReads') return this.#readThroughRom(request, sink);
        const sizeBytes = await this.#readOn(request, tried, suspect !== 'no', sink);
        this.#romWasNeeded = false;
        this.#romPieceBytes = ROM_PIECE_BYTES;
        if (tried.length === 0) this.#suspicions = 0;
        // The same bytes at the same rate came when they were acknowledged late: it may have been that.
        if (suspect !== 'no' && tried.length === 1 && tried[0] === 'repeated') {
          this.#blameEarlyAcknowledgement(suspect === 'likely');
        }
        return sizeBytes;
      },
      failed: (error) => {
        if (++failures === 1) this.#acquitEarlyAcknowledgement(error);
        suspect = this.#suspicion(error, request.kept.heldBytes);
        this.#heldBaudRate = this.#line.baudRate;
      },
    });
  }

  /** What is confirmed need not be read: reads on from there, and passes over what is confirmed behind it. */
  async #readOn(
    request: PieceRequest,
    tried: readonly RecoveryStep[],
    suspect: boolean,
    sink: ByteSink,
  ): Promise<number> {
    const { kept, offset, limitBytes } = request;
    const loader = await this.#flasher.tune(request.expectedBytes);
    if (tried.length > 0 && (await this.#prove(loader, kept))) return Math.min(limitBytes, kept.provenFrom(offset));
    const skipped = kept.provenFrom(offset);
    const gapBytes = kept.gapFrom(offset + skipped, limitBytes - skipped);
    const region = { ...request, offset: offset + skipped, limitBytes: gapBytes };
    const read =
      (await this.#readThroughReader(loader, region, tried, sink)) ?? this.#read(loader, region, tried, suspect, sink);
    const end = skipped + (await read);
    return Math.min(limitBytes, end + kept.provenFrom(offset + end));
  }

  /**
   * Through the reader on the chip, where that is best: never after a failure, nor at a rate that is still to be proven.
   * @returns undefined where nothing was read
   */
  async #readThroughReader(
    loader: Loader,
    { offset, limitBytes, expectedBytes, kept }: PieceRequest,
    tried: readonly RecoveryStep[],
    sink: ByteSink,
  ): Promise<number | undefined> {
    if (loader.kind !== 'stub' || tried.length > 0 || this.#line.isTrial) return undefined;
    if (!(await this.#chipReader.isBest(loader, expectedBytes))) return undefined;
    const sizeBytes = Math.min(limitBytes, this.#chipReader.pieceBytes);
    await this.#chipReader.read(loader, offset, sizeBytes, kept.hold(sink, sizeBytes));
    this.#line.hasProven(sizeBytes);
    kept.release();
    return sizeBytes;
  }

  /** Resolves to whether all of the piece is confirmed: then only the digest behind its packets was damaged. */
  async #prove(loader: Loader, kept: KeptBytes): Promise<boolean> {
    const { heldBytes, isWhole } = kept;
    const isSameRate = this.#heldBaudRate === this.#line.baudRate;
    // An answer may be lost at an unproven rate, unless it has just carried a piece.
    if (heldBytes === 0 || (this.#line.isTrial && !(isWhole && isSameRate))) return false;
    const ask = (at: number, size: number) => digestRegion(loader, at, size, this.#line.digestLimitMs(size));
    const provenBytes = await kept.prove(ask, this.#line.costs);
    if (provenBytes === 0) this.#pieceBytes = MIN_PIECE_BYTES;
    const isProven = isWhole && provenBytes === heldBytes;
    if (isProven && isSameRate) this.#line.hasProven(provenBytes);
    else this.#line.carried(provenBytes, this.#heldBaudRate);
    return isProven;
  }

  async #read(
    loader: Loader,
    { offset, limitBytes, kept }: PieceRequest,
    tried: readonly RecoveryStep[],
    suspect: boolean,
    sink: ByteSink,
  ): Promise<number> {
    const flasher = this.#flasher;
    const { packetBytes, pieceBytes } = packetsAfter(tried);
    let sizeBytes = Math.min(limitBytes, this.#pieceBytes);
    if (tried.length > 0) sizeBytes = Math.min(sizeBytes, pieceBytes);
    if (this.#line.isTrial) sizeBytes = Math.min(sizeBytes, TRIAL_PIECE_BYTES);
    if (loader.kind === 'rom') {
      const held = kept.hold(sink, sizeBytes);
      await this.#measured(loader, sizeBytes, () => readThroughRom(loader, offset, sizeBytes, held, ROM_LIMIT_MS));
    } else {
      const isNewStub = flasher.hasForeignStub && this.#foreignStubCan === null;
      if (isNewStub) sizeBytes = Math.min(sizeBytes, FOREIGN_PIECE_BYTES);
      const acknowledgeEarly =
        this.#mayAcknowledgeEarly && !suspect && (!flasher.hasForeignStub || this.#foreignStubCan !== false);
      // What early acknowledgement may have done is not yet the rate's doing.
      const canBlame = !acknowledgeEarly || this.#line.acknowledgedEarly === true;
      const trial = this.#line.isTrial ? { ...this.#line.trialLimits, canBlame } : undefined;
      const held = kept.hold(sink, sizeBytes);
      await this.#measured(loader, sizeBytes, () =>
        this.#readThroughStub(loader, offset, sizeBytes, { packetBytes, acknowledgeEarly, trial }, held),
      );
    }
    this.#line.hasSampled(sizeBytes, kept.firstBytes);
    kept.release();
    this.loaderBytes[loader.kind] += sizeBytes;
    this.#pieceBytes = Math.min(2 * this.#pieceBytes, MAX_PIECE_BYTES);
    return sizeBytes;
  }

  async #readThroughStub(
    stub: Loader,
    offset: number,
    sizeBytes: number,
    options: ReadOptions,
    sink: ByteSink,
  ): Promise<void> {
    await readThroughStub(stub, offset, sizeBytes, options, sink);
    // Of a single packet there is none that could come too early.
    if (!options.acknowledgeEarly || sizeBytes <= options.packetBytes) return;
    this.#line.acknowledgedEarly = true;
    if (this.#flasher.hasForeignStub) this.#foreignStubCan = true;
  }

  /** A read proves the rate and tells what reading costs. */
  async #measured(loader: Loader, sizeBytes: number, read: () => Promise<void>): Promise<void> {
    const { clock } = loader.context;
    const startedAt = clock.now();
    await read();
    this.#line.hasProven(sizeBytes, clock.now() - startedAt);
  }

  async #readThroughRom({ offset, limitBytes, kept }: PieceRequest, sink: ByteSink): Promise<number> {
    const rom = await this.#flasher.readyRom();
    await this.#prove(rom, kept);
    const skipped = kept.provenFrom(offset);
    const sizeBytes = kept.gapFrom(offset + skipped, Math.min(limitBytes - skipped, this.#romPieceBytes));
    const held = kept.hold(sink, sizeBytes);
    if (sizeBytes > 0) await readThroughRom(rom, offset + skipped, sizeBytes, held, ROM_LIMIT_MS);
    kept.release();
    this.loaderBytes.rom += sizeBytes;
    this.#line.hasReadSomehow();
    this.#romWasNeeded = true;
    this.#romPieceBytes = Math.min(2 * this.#romPieceBytes, MAX_ROM_PIECE_BYTES);
    return skipped + sizeBytes;
  }

  #blameEarlyAcknowledgement(isLikely: boolean): void {
    this.#suspicions++;
    const hasWorked = this.#isAcquitted || this.#line.acknowledgedEarly === true;
    const enoughMissing = hasWorked ? SUSPICIONS_AFTER_SUCCESS : 1;
    if (this.#suspicions < (isLikely ? enoughMissing : SUSPICIONS_IN_NOISE)) return;
    this.#mayAcknowledgeEarly = false;
    this.#line.acknowledgedEarly = false;
  }

  /** A read fails the same way when it is acknowledged late: the line loses bytes, whoever says what when. */
  #acquitEarlyAcknowledgement(error: EspdError): void {
    if (this.#isAcquitted || this.#line.acknowledgedEarly !== false || !hasCode(error, 'read-failed')) return;
    this.#isAcquitted = true;
    this.#mayAcknowledgeEarly = true;
    this.#line.acknowledgedEarly = true;
  }

  /** Whether a read that brought so many bytes may have failed because it was acknowledged early. */
  #suspicion(error: EspdError, heldBytes: number): 'no' | 'perhaps' | 'likely' {
    const flasher = this.#flasher;
    // Bytes that changed were all there. And the rate takes the blame that is its own.
    if (error instanceof RateNotHeld) return 'no';
    if (!this.#mayAcknowledgeEarly || !hasCode(error, 'read-failed')) return 'no';
    if (flasher.hasForeignStub && this.#foreignStubCan !== true) {
      // Of the stub, then, and not of the line.
      this.#foreignStubCan = false;
      return 'no';
    }
    if (error instanceof PacketLost && error.isMissing) return 'likely';
    if (heldBytes < INNOCENT_BYTES) return 'perhaps';
    this.#suspicions = 0;
    return 'no';
  }
}
