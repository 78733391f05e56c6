/** What a flash holds, by the chip's digests: where it differs from the image, and that the rest of it is untouched. */

import type { Region } from '../../flash.ts';
import type { ImageReader } from '../../archive/types.ts';
import { EspdError } from '../../errors.ts';
import { BLANK, uniformDigest } from '../../archive/uniform.ts';
import { differingRegions, imageDigest, restOf, usedSectors } from '../flash-compare.ts';
import type { AskedDigests } from './asked.ts';
import { guessChanges } from '../likely-changes.ts';
import type { Session } from '../session.ts';

/** Answers carry no checksum: one that says "different" may have suffered on the line. */
const ROUNDS = 3;

export interface DigestedRegion extends Region {
  readonly md5: string;
}

export class FlashProof {
  /** What is not to be written, in order. */
  readonly rest: readonly Region[];
  readonly #session: Session;
  readonly #asked: AskedDigests;
  readonly #image: ImageReader;
  readonly #imageMd5: string;
  readonly #scope: readonly Region[];
  readonly #flashBytes: number;
  readonly #likely: readonly Region[];
  #restBefore: readonly DigestedRegion[] = [];
  #flashDigest: string | undefined;

  /**
   * @param scope what is to become equal to the image, in order
   * @param likely where the flash may have changed by itself since the image was taken
   */
  constructor(
    session: Session,
    asked: AskedDigests,
    image: { readonly reader: ImageReader; readonly md5: string },
    scope: readonly Region[],
    flashBytes: number,
    likely: readonly Region[],
  ) {
    this.#likely = likely;
    this.#session = session;
    this.#asked = asked;
    this.#image = image.reader;
    this.#imageMd5 = image.md5;
    this.#scope = scope;
    this.#flashBytes = flashBytes;
    this.rest = restOf(scope, flashBytes);
  }

  digest(region: Region): Promise<string> {
    return this.#asked.ask(region);
  }

  /** Of the whole flash, before anything is written. */
  async flashDigest(): Promise<string> {
    this.#flashDigest ??= await this.digest({ offset: 0, sizeBytes: this.#flashBytes });
    return this.#flashDigest;
  }

  /**
   * The flash is what it was when its digest was asked for: to be called where its app may have run in between.
   * @throws EspdError `chip-changed`
   */
  async mustBeAsBefore(): Promise<void> {
    const before = this.#flashDigest;
    if (before === undefined) return;
    this.#flashDigest = undefined;
    for (let round = 1; round <= ROUNDS; round++) {
      this.#flashDigest = await this.digest({ offset: 0, sizeBytes: this.#flashBytes });
      if (this.#flashDigest === before) return;
    }
    throw new EspdError('chip-changed', 'The flash of the board has changed since the plan was made', {
      hint: 'Nothing was written. Its app has run meanwhile: run the same command again',
    });
  }

  /**
   * Where the flash differs from the image. None means that the digest of each region of the scope is the image's.
   * @throws EspdError `digest-mismatch` for digests that contradict each other
   */
  async compare(): Promise<Region[]> {
    const differing: Region[] = [];
    for (const region of this.#scope) differing.push(...(await this.#compareRegion(region)));
    return differing;
  }

  async #compareRegion(region: Region): Promise<Region[]> {
    const expected = await this.#expected(region);
    for (let round = 1; round <= ROUNDS; round++) {
      this.#session.options.onProgress?.({ phase: 'verifying', doneBytes: 0, totalBytes: region.sizeBytes });
      const digest = await this.digest(region);
      if (region.sizeBytes === this.#flashBytes) this.#flashDigest ??= digest;
      if (digest === expected) return [];
      // A flash that is blank all over differs by what the image has in use: nothing more to ask.
      if (digest === uniformDigest(BLANK, region.sizeBytes)) return await usedSectors(this.#image, region);
      const { board } = this.#session;
      await board.prepareToMove();
      const ask = (part: Region) => (part.sizeBytes === region.sizeBytes ? Promise.resolve(digest) : this.digest(part));
      const guess = { md5: digest, within: region, likely: this.#likely };
      const differing =
        (await guessChanges(guess, this.#image, board, ask)) ??
        (await differingRegions(region, this.#image, ask, board.costs));
      if (differing.length > 0) return differing;
      // Every part is as it should be, so the digest of the whole was changed on the way.
    }
    throw unsteady('The digest of the flash contradicts those of its parts');
  }

  #expected(region: Region): Promise<string> {
    const isWhole = region.sizeBytes === this.#image.sizeBytes;
    return isWhole ? Promise.resolve(this.#imageMd5) : imageDigest(this.#image, region);
  }

  /**
   * Remembers what the rest of the flash holds. Each digest is asked until two answers agree.
   * @param snapshot an image of the whole flash as the chip has confirmed it, if there is one: then nothing is asked
   */
  async keepRest(snapshot: ImageReader | null): Promise<void> {
    const kept: DigestedRegion[] = [];
    for (const region of this.rest) {
      const md5 = snapshot === null ? await this.#agreedDigest(region) : await imageDigest(snapshot, region);
      kept.push({ ...region, md5 });
    }
    this.#restBefore = kept;
  }

  async #agreedDigest(region: Region): Promise<string> {
    let last = await this.digest(region);
    for (let round = 1; round <= ROUNDS; round++) {
      const again = await this.digest(region);
      if (again === last) return again;
      last = again;
    }
    throw unsteady('The chip gives another digest each time it is asked');
  }

  /**
   * The rest is as {@link keepRest} found it.
   * @throws EspdError `write-mismatch`
   */
  async proveRest(): Promise<void> {
    for (const { md5, ...region } of this.#restBefore) {
      let round = 1;
      while ((await this.digest(region)) !== md5) {
        if (round++ < ROUNDS) continue;
        throw new EspdError('write-mismatch', 'Flash outside the part that was restored has changed', {
          hint: 'It may be smaller than it says. "espd show" names the snapshot that was made before: restore that',
        });
      }
    }
  }

  /** Whether the rest is what an earlier job, which did not end, found there; true where that says nothing about it. */
  async restIsStill(before: readonly DigestedRegion[]): Promise<boolean> {
    for (const region of this.rest) {
      const known = before.find(({ offset, sizeBytes }) => offset === region.offset && sizeBytes === region.sizeBytes);
      if (known !== undefined && (await this.#agreedDigest(region)) !== known.md5) return false;
    }
    return true;
  }

  /** The whole flash in parts, with the digests that they have when all is written. */
  async whenDone(): Promise<DigestedRegion[]> {
    const done: DigestedRegion[] = [...this.#restBefore];
    for (const { offset, sizeBytes } of this.#scope) {
      done.push({ offset, sizeBytes, md5: await this.#expected({ offset, sizeBytes }) });
    }
    return done.sort((a, b) => a.offset - b.offset);
  }
}

function unsteady(message: string): EspdError {
  return new EspdError('digest-mismatch', message, {
    hint: 'The line changes bytes: try another cable or a lower serial.baudRate in the config',
  });
}
