/** Reads regions of flash piece by piece: how large, in what packets, acknowledged when; a bad piece costs that piece. */

import { type EspdError, hasCode } from '../errors.ts';
import { type ByteSink, type ReadOptions, hexAddress, readThroughRom, readThroughStub } from './flash-read.ts';
import type { Flasher } from './flasher.ts';
import type { Line } from './line.ts';
import type { Loader } from './loader.ts';
import type { Persistence } from './persistence.ts';
import { type RecoveryStep, packetsAfter } from './recovery.ts';

/**
 * Bytes of one READ_FLASH: what a bad packet costs, against the round trip that a command costs. Few after an error
 * and at a rate that is still to be proven, then twice as many each time.
 */
const MAX_PIECE_BYTES = 256 * 1024;
const MIN_PIECE_BYTES = 16 * 1024;
/** What a stub that was not loaded here has to show that it can be acknowledged early: two packets. */
const FOREIGN_PIECE_BYTES = 8192;
/** Once it was blamed in the wrong, early acknowledgement is given up for good after so many pieces in a row. */
const SUSPICIONS_AFTER_ACQUITTAL = 3;
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
}

export class RegionReader {
  readonly #flasher: Flasher;
  readonly #persistence: Persistence;
  readonly #line: Line;
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

  constructor(flasher: Flasher, persistence: Persistence, line: Line) {
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
    let suspect = false;
    let failures = 0;
    return this.#persistence.run({
      what: `read at ${hexAddress(request.offset)}`,
      isRead: true,
      romWasNeeded: this.#romWasNeeded,
      work: async (tried) => {
        if (tried.at(-1) === 'romReads') return this.#readThroughRom(request, sink);
        const sizeBytes = await this.#read(request, tried, suspect, sink);
        this.#romWasNeeded = false;
        this.#romPieceBytes = ROM_PIECE_BYTES;
        if (tried.length === 0) this.#suspicions = 0;
        // The same bytes at the same rate came when they were acknowledged late: it may have been that.
        if (suspect && tried.length === 1 && tried[0] === 'repeated') this.#blameEarlyAcknowledgement();
        return sizeBytes;
      },
      failed: (error) => {
        if (++failures === 1) this.#acquitEarlyAcknowledgement(error);
        suspect = this.#isSuspect(error);
        this.#pieceBytes = MIN_PIECE_BYTES;
      },
    });
  }

  async #read(
    { offset, limitBytes, expectedBytes }: PieceRequest,
    tried: readonly RecoveryStep[],
    suspect: boolean,
    sink: ByteSink,
  ): Promise<number> {
    const flasher = this.#flasher;
    const loader = await flasher.tune(expectedBytes);
    const { packetBytes, pieceBytes } = packetsAfter(tried);
    let sizeBytes = Math.min(limitBytes, this.#pieceBytes);
    if (this.#line.isTrial || tried.length > 0) sizeBytes = Math.min(sizeBytes, pieceBytes);
    if (loader.kind === 'rom') {
      await this.#measured(loader, sizeBytes, () => readThroughRom(loader, offset, sizeBytes, sink, ROM_LIMIT_MS));
    } else {
      const isNewStub = flasher.hasForeignStub && this.#foreignStubCan === null;
      if (isNewStub) sizeBytes = Math.min(sizeBytes, FOREIGN_PIECE_BYTES);
      const acknowledgeEarly =
        this.#mayAcknowledgeEarly && !suspect && (!flasher.hasForeignStub || this.#foreignStubCan !== false);
      await this.#measured(loader, sizeBytes, () =>
        this.#readThroughStub(loader, offset, sizeBytes, { packetBytes, acknowledgeEarly }, sink),
      );
    }
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

  async #readThroughRom({ offset, limitBytes }: PieceRequest, sink: ByteSink): Promise<number> {
    const sizeBytes = Math.min(limitBytes, this.#romPieceBytes);
    const rom = await this.#flasher.readyRom();
    await readThroughRom(rom, offset, sizeBytes, sink, ROM_LIMIT_MS);
    this.#line.hasReadSomehow();
    this.#romWasNeeded = true;
    this.#romPieceBytes = Math.min(2 * this.#romPieceBytes, MAX_ROM_PIECE_BYTES);
    return sizeBytes;
  }

  #blameEarlyAcknowledgement(): void {
    this.#suspicions++;
    if (this.#isAcquitted && this.#suspicions < SUSPICIONS_AFTER_ACQUITTAL) return;
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

  /** Whether a read that failed may have failed because it was acknowledged early. */
  #isSuspect(error: EspdError): boolean {
    const flasher = this.#flasher;
    // Bytes that changed were all there.
    if (!this.#mayAcknowledgeEarly || !hasCode(error, 'read-failed')) return false;
    if (flasher.hasForeignStub && this.#foreignStubCan !== true) {
      // Of the stub, then, and not of the line.
      this.#foreignStubCan = false;
      return false;
    }
    return true;
  }
}
