/** What digests and reads of a board cost, measured as it goes. Pure: the caller holds the clock. */

/**
 * Before anything is measured: a slow chip, since a large digest that takes longer than foretold cannot be taken back,
 * and a bridge with its usual latency.
 */
const PRIOR_DIGEST_BYTES_PER_MS = 1000;
const PRIOR_ROUND_TRIP_MS = 10;
/** So much the prior counts for, against what is measured. */
const PRIOR_DIGEST_BYTES = 1024;
const PRIOR_READ_BYTES = 16 * 1024;
/** Older measurements count half as much after so many bytes or commands. */
const DIGEST_HALF_LIFE_BYTES = 4 * 1024 * 1024;
const READ_HALF_LIFE_BYTES = 1024 * 1024;
const ROUND_TRIP_WEIGHT = 0.2;
/**
 * What a digest may take before its answer counts as lost: what the chip has shown that it needs, several times over;
 * before it has shown anything, 8 s a MiB, when the slowest chips need one.
 */
const DIGEST_PATIENCE = 4;
const UNKNOWN_DIGEST_MS_PER_BYTE = 8000 / (1024 * 1024);
const LEAST_DIGEST_LIMIT_MS = 3000;
/** Digests of so many bytes in all show how fast the chip hashes: less is lost in the round trip. */
const TELLING_DIGEST_BYTES = 64 * 1024;
/** Request and answer of SPI_FLASH_MD5 are so much longer than those of READ_REG. */
const DIGEST_EXTRA_BYTES = 28;

/** Estimates for a planner, in milliseconds. */
export interface Costs {
  digestMs(sizeBytes: number): number;
  /** Of a read, as is to be expected. */
  readMs(sizeBytes: number): number;
  /** Of a read at the best rate that the line may turn out to hold. */
  leastReadMs(sizeBytes: number): number;
}

/** Bytes over time, the newer ones counting more. */
class Throughput {
  #bytes: number;
  #ms: number;
  readonly #halfLifeBytes: number;

  constructor(bytesPerMs: number, weightBytes: number, halfLifeBytes: number) {
    this.#bytes = weightBytes;
    this.#ms = weightBytes / bytesPerMs;
    this.#halfLifeBytes = halfLifeBytes;
  }

  get bytesPerMs(): number {
    return this.#bytes / this.#ms;
  }

  add(bytes: number, ms: number): void {
    if (bytes <= 0) return;
    const kept = 0.5 ** (bytes / this.#halfLifeBytes);
    this.#bytes = this.#bytes * kept + bytes;
    // A clock's resolution or a round trip that is over-estimated must not make a chip infinitely fast.
    this.#ms = this.#ms * kept + Math.max(ms, bytes / 1e6);
  }
}

/**
 * After so long, in ms, the answer to a digest counts as lost. A chip that hashes answers nothing else, so that one that
 * is dead cannot be told from one at work in any other way.
 * @param bytesPerMs that the chip hashes; undefined = not known
 */
export function digestLimitMs(sizeBytes: number, bytesPerMs?: number): number {
  const slowestMs = sizeBytes * UNKNOWN_DIGEST_MS_PER_BYTE;
  const shownMs = bytesPerMs === undefined ? slowestMs : (DIGEST_PATIENCE * sizeBytes) / bytesPerMs;
  return LEAST_DIGEST_LIMIT_MS + Math.ceil(Math.min(slowestMs, shownMs));
}

export class CostModel {
  #roundTripMs = PRIOR_ROUND_TRIP_MS;
  #hasRoundTrip = false;
  #digestedBytes = 0;
  readonly #digests = new Throughput(PRIOR_DIGEST_BYTES_PER_MS, PRIOR_DIGEST_BYTES, DIGEST_HALF_LIFE_BYTES);
  /** Of what the line could carry, the share that reads have made of it; 1 is every bit of the wire. */
  readonly #reads = new Throughput(1, PRIOR_READ_BYTES, READ_HALF_LIFE_BYTES);

  /** From a request to its answer, where the chip has nothing to do but answer. */
  get roundTripMs(): number {
    return this.#roundTripMs;
  }

  roundTrip(ms: number): void {
    this.#roundTripMs = this.#hasRoundTrip ? this.#roundTripMs + ROUND_TRIP_WEIGHT * (ms - this.#roundTripMs) : ms;
    this.#hasRoundTrip = true;
  }

  /** A digest of so many bytes was answered after `ms`, over a line that carries `lineBytesPerMs`. */
  digest(sizeBytes: number, ms: number, lineBytesPerMs: number): void {
    this.#digestedBytes += sizeBytes;
    this.#digests.add(sizeBytes, Math.max(0, ms - this.#roundTripMs - DIGEST_EXTRA_BYTES / lineBytesPerMs));
  }

  /** So many bytes were read in `ms` over a line that carries `lineBytesPerMs`. */
  read(sizeBytes: number, ms: number, lineBytesPerMs: number): void {
    this.#reads.add(sizeBytes, Math.max(0, ms - this.#roundTripMs) * lineBytesPerMs);
  }

  /** @param lineBytesPerMs that the line carries now */
  digestMs(sizeBytes: number, lineBytesPerMs: number): number {
    return this.#roundTripMs + DIGEST_EXTRA_BYTES / lineBytesPerMs + sizeBytes / this.#digests.bytesPerMs;
  }

  /** Whether the chip has shown how fast it hashes. */
  get knowsDigests(): boolean {
    return this.#digestedBytes >= TELLING_DIGEST_BYTES;
  }

  /** See {@link digestLimitMs}: by what this chip has shown, if it has. */
  digestLimitMs(sizeBytes: number): number {
    return digestLimitMs(sizeBytes, this.knowsDigests ? this.#digests.bytesPerMs : undefined);
  }

  /** What reads have made of a line that carries so many bytes a ms. */
  stubBytesPerMs(lineBytesPerMs: number): number {
    return this.#reads.bytesPerMs * lineBytesPerMs;
  }

  /** @param lineBytesPerMs that the line will carry then */
  readMs(sizeBytes: number, lineBytesPerMs: number): number {
    return this.#roundTripMs + sizeBytes / this.stubBytesPerMs(lineBytesPerMs);
  }
}
