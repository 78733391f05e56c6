/**
 * What reading through the reader costs, and in which way it costs least: as it is, or compressed; measured as it goes.
 * Pure: the caller holds the clock.
 */

import type { Level } from './stream.ts';

/** Of a frame of 1024 bytes: sequence, check, two delimiters, and an escape or two in the check. */
const FRAMING = 1031 / 1024;
/** Size of deflated firmware, before anything was read: 12.3 MB of 13 real images (`reader/README.md`). */
const PRIOR_RATIO = 0.65;
/** A fast search for matches, against the usual one: so much more output, and so much less work. */
const FAST_RATIO = 1.035;
const FAST_SPEED = 1.2;
/** Before a chip was measured: 160 MHz at 430 cycles a byte. */
const PRIOR_BYTES_PER_MS = 370;
/** Of what the line carries, with the pauses of host and chip. */
const LINE_SHARE = 0.985;
/** Compressing must promise so much more than sending as it is. */
const WORTH = 1.03;
/** Older measurements count half after so many bytes of flash; what is assumed before counts for so many. */
const HALF_LIFE_BYTES = 256 * 1024;
const PRIOR_BYTES = 16 * 1024;
/** A stream that took so much longer than its bytes on the line waited for the chip. */
const CHIP_BOUND = 1.1;
/** Less than that says nothing of a chip's speed: caches, a first block that has nothing to look back at. */
const TELLING_BYTES = 16 * 1024;
/** Request and answers around a program that is loaded: READ_REG, two segments, WRITE_REG, INFO, the test. */
const LOAD_ROUND_TRIPS = 10;
const LOAD_BYTES = 10 * 1024;
/** The self-test, and what it sends. */
const TEST_BYTES = 16384;
const TEST_SENT_BYTES = 7 * 1024;
const TABLE_BYTES_PER_SECTOR = 8;
const SECTOR_BYTES = 4096;

export interface WayToRead {
  readonly level: Level;
  /** Of flash, expected. */
  readonly bytesPerMs: number;
}

/** What one stream has shown. */
export interface StreamFacts {
  readonly level: Level;
  readonly flashBytes: number;
  readonly sentBytes: number;
  /** From the request to the last frame, less a round trip. */
  readonly ms: number;
}

export class ReaderCosts {
  #ratio = PRIOR_RATIO;
  #ratioBytes = PRIOR_BYTES;
  #bytesPerMs = PRIOR_BYTES_PER_MS;

  /** The chip has shown how fast it compresses, in bytes a ms. */
  measured(bytesPerMs: number): void {
    this.#bytesPerMs = bytesPerMs;
  }

  /** So many bytes of flash deflate to that share. */
  compresses(flashBytes: number, ratio: number): void {
    const keptBytes = this.#ratioBytes * 0.5 ** (flashBytes / HALF_LIFE_BYTES);
    this.#ratioBytes = keptBytes + flashBytes;
    this.#ratio = (this.#ratio * keptBytes + Math.min(ratio, 1) * flashBytes) / this.#ratioBytes;
  }

  streamed({ level, flashBytes, sentBytes, ms }: StreamFacts, lineBytesPerMs: number): void {
    if (level === 0) return;
    this.compresses(flashBytes, sentBytes / flashBytes / (level === 1 ? FAST_RATIO : 1));
    const lineMs = (sentBytes * FRAMING) / lineBytesPerMs;
    if (flashBytes < TELLING_BYTES) return;
    const shown = flashBytes / Math.max(ms, 0.1) / (level === 1 ? FAST_SPEED : 1);
    // Faster than thought shows in any case, slower only where the line has not been what it waited for.
    if (ms > CHIP_BOUND * lineMs || shown > this.#bytesPerMs) this.#bytesPerMs = (this.#bytesPerMs + shown) / 2;
  }

  /** The way that costs least on a line that carries so many bytes a ms. */
  best(lineBytesPerMs: number): WayToRead {
    const plain = (lineBytesPerMs * LINE_SHARE) / FRAMING;
    const usual = Math.min(this.#bytesPerMs, plain / this.#ratio);
    const fast = Math.min(this.#bytesPerMs * FAST_SPEED, plain / (this.#ratio * FAST_RATIO));
    if (Math.max(usual, fast) < WORTH * plain) return { level: 0, bytesPerMs: plain };
    return usual >= fast ? { level: 2, bytesPerMs: usual } : { level: 1, bytesPerMs: fast };
  }

  /** What it costs to load, with its tests. */
  loadMs(lineBytesPerMs: number, roundTripMs: number): number {
    const wireMs = (LOAD_BYTES + TEST_SENT_BYTES) / lineBytesPerMs;
    return wireMs + LOAD_ROUND_TRIPS * roundTripMs + TEST_BYTES / this.#bytesPerMs;
  }

  /** Of a table of sector digests, beside what the chip needs to hash the region. */
  tableMs(sizeBytes: number, lineBytesPerMs: number, roundTripMs: number): number {
    return roundTripMs + ((sizeBytes / SECTOR_BYTES) * TABLE_BYTES_PER_SECTOR * FRAMING) / lineBytesPerMs;
  }
}
