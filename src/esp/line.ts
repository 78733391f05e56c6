/**
 * The line to one board, from connect to leave: which rate is in force and which one is to be tried, what bytes and
 * digests cost on it, and what is remembered of it. It decides and keeps count; who talks to the loader is
 * `flasher.ts`.
 */

import { deflateRawSync } from 'node:zlib';
import type { Link } from '../serial/link.ts';
import { BaudLadder } from './baud-ladder.ts';
import { CostModel, type Costs } from './costs.ts';
import { type LineMemory, NOTHING_KNOWN, factsAfter, isRetryDue } from './line-memory.ts';
import type { EspContext } from './loader.ts';
import { Blame, type Verdict } from './reader/blame.ts';
import { ReaderCosts, type StreamFacts, type WayToRead } from './reader/costs.ts';
import type { Damage } from './reader/fault.ts';
import { windowFor } from './reader/stream.ts';
import type { TrialLimits } from './rate-trial.ts';

export interface LineOptions {
  /** Highest rate to read and write at, in baud: by config, bridge and chip. */
  readonly maxBaudRate: number;
  /** The chip's own USB: no UART and no rate in between. */
  readonly isNativeUsb: boolean;
  /** What is remembered of this line; nothing where it is left out. */
  readonly memory?: LineMemory | undefined;
}

/** Full speed USB through a CDC-ACM driver, roughly, before it is measured. */
const USB_BYTES_PER_MS = 500;
/** What full speed USB has room for: 19 bulk packets of 64 bytes a millisecond (USB 2.0, table 5-9). */
const MOST_USB_BYTES_PER_MS = 1216;
/** What a change of the rate takes beside round trips: see `baud-change.ts`. */
const RATE_CHANGE_MS = 60;
const RATE_CHANGE_ROUND_TRIPS = 3;

/** A loader answers at once: beside the round trip this is for a busy workstation. */
const TRIAL_ANSWER_MS = 80;
const TRIAL_QUIET_MS = 20;
/** What a read that fails has brought, roughly: a piece after an error is 16 KiB. */
const FAILED_READ_BYTES = 8192;
/** The reader is loaded where it needs no more of the stub's time than this share, its loading included. */
const LOAD_WORTH = 0.95;
/** Of READ_FLASH, with every byte escaped and two delimiters. */
const LONGEST_FRAME_BYTES = 2 * 4096 + 2;

export class Line {
  readonly #link: Link;
  readonly #context: EspContext;
  readonly #isNativeUsb: boolean;
  readonly #memory: LineMemory | undefined;
  readonly #ladder: BaudLadder;
  readonly #costs = new CostModel();
  /** Estimates for a planner, from what was measured so far. */
  readonly costs: Costs = {
    digestMs: (sizeBytes) => this.#costs.digestMs(sizeBytes, this.#bytesPerMs(this.baudRate)),
    readMs: (sizeBytes) => this.#readMs(sizeBytes, this.#bytesPerMs(this.#rateToCome(this.#ladder.target))),
    leastReadMs: (sizeBytes) => {
      const mostBytesPerMs = this.#bytesPerMs(this.#rateToCome(this.#ladder.ceiling));
      // Without the reader, whatever it promises: nobody knows before how small a flash gets.
      return this.#costs.readMs(sizeBytes, this.#isNativeUsb ? MOST_USB_BYTES_PER_MS : mostBytesPerMs);
    },
  };
  readonly #readerCosts = new ReaderCosts();
  /** Whether the reader is on the chip, may be put there, or neither. */
  reader: 'none' | 'possible' | 'loaded' = 'none';
  /** Whether the rate can be raised from the one in force, now or later: the loader's matter. */
  canRaise: () => boolean = () => false;
  /** As the line is remembered: early acknowledgement has not failed, or is to be tried again. */
  readonly mayAcknowledgeEarly: boolean;
  /** Whether early acknowledgement has worked in this session; null where it was not tried. */
  acknowledgedEarly: boolean | null = null;
  #falls = 0;
  /** What came right at the rate in force since its last error, or since it was changed. */
  #carried = { baudRate: 0, bytes: 0 };
  /** A stream of the reader came damaged, and nobody knows why yet. */
  #open: { readonly blame: Blame; readonly condemnReader: () => void } | undefined;
  #hasRead = false;
  #isRemembered = false;

  constructor(link: Link, context: EspContext, { maxBaudRate, isNativeUsb, memory }: LineOptions) {
    this.#link = link;
    this.#context = context;
    this.#isNativeUsb = isNativeUsb;
    this.#memory = memory;
    const facts = memory?.recall() ?? null;
    const now = context.clock.date();
    this.#ladder = new BaudLadder(maxBaudRate, facts, now);
    this.mayAcknowledgeEarly = facts === null || facts.acknowledgeEarly || isRetryDue(facts, now);
  }

  /** The rate in force, in baud. */
  get baudRate(): number {
    return this.#link.baudRate;
  }

  /** Whether another rate may help and can be had: native USB has none, and only a reset takes one back. */
  get hasBaudRate(): boolean {
    const { baudRate, controlLines } = this.#link.capabilities;
    return baudRate && controlLines && !this.#isNativeUsb;
  }

  /** The rate in force is one that no read in this session has proven. */
  get isTrial(): boolean {
    return this.hasBaudRate && !this.#ladder.isProven(this.baudRate);
  }

  /** Rates that were given up so far. */
  get falls(): number {
    return this.#falls;
  }

  /** Whether this line is known to hold the rate, from this session or an earlier one. */
  isTrusted(baudRate: number): boolean {
    return this.#ladder.isTrusted(baudRate);
  }

  /** Time limits for what is sent at a rate that the line may not hold. */
  get trialLimits(): TrialLimits {
    const { roundTripMs } = this.#costs;
    const answerMs = TRIAL_ANSWER_MS + 2 * roundTripMs;
    const wireMs = LONGEST_FRAME_BYTES / this.#bytesPerMs(this.baudRate);
    return { answerMs, packetMs: answerMs + wireMs, quietMs: TRIAL_QUIET_MS + 2 * roundTripMs };
  }

  get canLower(): boolean {
    return this.hasBaudRate && this.#ladder.canLower(this.baudRate);
  }

  /**
   * The rate that pays for so many bytes to come; that in force where a change is not worth its cost.
   * @param mayClimb whether rates may be tried that no read on this line has ever proven, beyond the first
   */
  nextRate(remainingBytes: number, mayClimb: boolean): number {
    const stepMs = RATE_CHANGE_MS + RATE_CHANGE_ROUND_TRIPS * this.#costs.roundTripMs;
    return this.#ladder.next({ current: this.baudRate, remainingBytes, stepMs, mayClimb });
  }

  /** Highest rate that a read on this line has proven, now or in an earlier session. */
  get trustedRate(): number {
    return this.#ladder.trusted;
  }

  /** Whether the host's own port can do the rate; asked only where no read on this line has shown it. */
  async portHolds(baudRate: number): Promise<boolean> {
    if (this.#ladder.isTrusted(baudRate) || this.#link.canDoBaudRate === undefined) return true;
    return this.#link.canDoBaudRate(baudRate);
  }

  /** A read or a command at the rate in force has failed. */
  erred(): void {
    if (!this.hasBaudRate) return;
    const { baudRate } = this;
    this.#carried = { baudRate, bytes: 0 };
    this.#suspicionOf(baudRate)?.erred();
    this.#settle();
    this.#watched(() => {
      if (!this.#ladder.erred(baudRate)) return;
      this.#falls++;
      this.#context.log.warn('Too many errors at this baud rate: going on at a lower one', { baudRate });
    });
  }

  /**
   * The rate is given up in this session: {@link nextRate} leads down from it.
   * @param errors reads that failed in a row at it; left out where nothing else can be to blame
   */
  giveUp(baudRate: number, reason: string, errors?: number): void {
    this.#fall(baudRate, reason, errors === undefined ? undefined : { errors, bytes: errors * FAILED_READ_BYTES });
  }

  #fall(
    baudRate: number,
    reason: string,
    evidence: { readonly errors: number; readonly bytes: number } | undefined,
  ): void {
    // The reader has nothing to do with it then.
    if (this.#suspicionOf(baudRate) !== undefined) this.#open = undefined;
    this.#ladder.fail(baudRate, evidence);
    this.#falls++;
    this.#context.log.warn('The line does not hold the baud rate', { baudRate, reason });
  }

  /**
   * The reader has failed at the rate in force. Where the line may have done it, what the stub reads from here on tells.
   * @param condemnReader is called if it was the reader, at the end of the session at the latest
   */
  readerFailed(damage: Damage, condemnReader: () => void): void {
    const { baudRate } = this;
    const bytesBefore = this.#carried.baudRate === baudRate ? this.#carried.bytes : 0;
    this.#open = { blame: new Blame(baudRate, bytesBefore, damage), condemnReader };
    this.#settle();
  }

  /** Undefined where nothing is under suspicion at that rate. */
  #suspicionOf(baudRate: number): Blame | undefined {
    return this.#open?.blame.baudRate === baudRate ? this.#open.blame : undefined;
  }

  /** Nothing happens while the verdict is open. */
  #settle(verdict: Verdict | null = this.#open?.blame.verdict ?? null): void {
    if (this.#open === undefined || verdict === null) return;
    const { blame, condemnReader } = this.#open;
    this.#open = undefined;
    if (verdict === 'reader') condemnReader();
    if (verdict === 'rate') {
      this.#fall(blame.baudRate, 'what the reader on the chip sent or got was damaged', blame.evidence);
    }
  }

  /** The host's own port cannot do the rate: it is not even tried. */
  exclude(baudRate: number): void {
    this.#ladder.exclude(baudRate);
    this.#context.log.debug('the port does not do this baud rate', { baudRate });
  }

  /**
   * Holds on to what is known of the rates.
   * @returns takes back what was said against them since: lower ones have not helped
   */
  checkpoint(): () => void {
    const state = this.#ladder.save();
    return () => this.#ladder.restore(state);
  }

  /** From a request to its answer, where the chip had nothing to do but answer. */
  roundTrip(ms: number): void {
    this.#costs.roundTrip(ms);
  }

  /** A digest of so many bytes was answered after `ms`. */
  digested(sizeBytes: number, ms: number): void {
    this.#costs.digest(sizeBytes, ms, this.#bytesPerMs(this.baudRate));
  }

  /** Whether the chip has shown how fast it hashes. */
  get knowsDigests(): boolean {
    return this.#costs.knowsDigests;
  }

  /** After so long, in ms, the answer to a digest of so many bytes counts as lost. */
  digestLimitMs(sizeBytes: number): number {
    return this.#costs.digestLimitMs(sizeBytes);
  }

  /** So many bytes were read in `ms` (where that was measured) and proven, which proves the rate in force, too. */
  hasProven(sizeBytes: number, ms?: number): void {
    const { baudRate } = this;
    this.#hasRead = true;
    this.#carried = { baudRate, bytes: sizeBytes + (this.#carried.baudRate === baudRate ? this.#carried.bytes : 0) };
    this.#suspicionOf(baudRate)?.carried(sizeBytes);
    this.#settle();
    this.#watched(() => this.#ladder.proved(baudRate, sizeBytes));
    if (ms !== undefined) this.#costs.read(sizeBytes, ms, this.#bytesPerMs(this.baudRate));
  }

  /** So many bytes of a read that failed at that rate were right all the same. */
  carried(sizeBytes: number, baudRate: number): void {
    this.#suspicionOf(baudRate)?.salvaged(sizeBytes);
    this.#settle();
    this.#watched(() => this.#ladder.carried(baudRate, sizeBytes));
  }

  /** Something was read, in a way that says nothing of the rate. */
  hasReadSomehow(): void {
    this.#hasRead = true;
  }

  /** Once, when the board is let go, also after an error: what this session has shown of the line. */
  remember(): void {
    if (this.#isRemembered) return;
    this.#isRemembered = true;
    const memory = this.#memory;
    this.#settle(this.#open?.blame.lastVerdict);
    if (memory === undefined) return;
    const session = {
      hasRead: this.#hasRead,
      provenBaudRate: this.#ladder.proven,
      failedBaudRate: this.#ladder.failed,
      acknowledgeEarly: this.acknowledgedEarly,
    };
    const facts = factsAfter(memory.recall() ?? NOTHING_KNOWN, session, this.#context.clock.date());
    if (facts !== null) memory.remember(facts);
  }

  /** Tells when a rate may be used again. */
  #watched(change: () => void): void {
    const before = this.#ladder.ceiling;
    change();
    const { ceiling } = this.#ladder;
    if (ceiling > before) {
      this.#context.log.info('The baud rate was not to blame for errors: it may be used again', { baudRate: ceiling });
    }
  }

  /** The reader is loaded, and has compressed so many bytes a ms. */
  readerLoaded(bytesPerMs: number): void {
    this.reader = 'loaded';
    this.#readerCosts.measured(bytesPerMs);
  }

  /** In which way the reader reads best at the rate in force. */
  wayToRead(): WayToRead {
    return this.#readerCosts.best(this.#bytesPerMs(this.baudRate));
  }

  /** How many frames of the reader may be under way. */
  readerWindow(): number {
    return windowFor(this.#bytesPerMs(this.baudRate), this.#costs.roundTripMs);
  }

  /** Whether so many bytes are read sooner through a reader that is still to be loaded than through the stub. */
  paysToLoadReader(sizeBytes: number): boolean {
    const lineBytesPerMs = this.#bytesPerMs(this.baudRate);
    const stubMs = this.#costs.readMs(sizeBytes, lineBytesPerMs);
    return this.#readerMs(sizeBytes, lineBytesPerMs) < LOAD_WORTH * stubMs;
  }

  readerBeatsStub(): boolean {
    const lineBytesPerMs = this.#bytesPerMs(this.baudRate);
    return this.#readerCosts.best(lineBytesPerMs).bytesPerMs > this.#costs.stubBytesPerMs(lineBytesPerMs);
  }

  /**
   * What a table of sector digests of so many bytes costs; Infinity = none can be had. A reader that is still to be loaded
   * counts where so few bytes are to be read that it would not be loaded for them.
   */
  tableMs(sizeBytes: number, toReadBytes: number): number {
    if (this.reader === 'none') return Infinity;
    const lineBytesPerMs = this.#bytesPerMs(this.baudRate);
    const { roundTripMs } = this.#costs;
    const sentMs = this.#readerCosts.tableMs(sizeBytes, lineBytesPerMs, roundTripMs);
    const loadMs = this.paysToLoadReader(toReadBytes) ? 0 : this.#loadMs(lineBytesPerMs);
    return loadMs + sentMs + this.#costs.digestMs(sizeBytes, lineBytesPerMs);
  }

  /** A stream of the reader has come whole. */
  hasStreamed(facts: StreamFacts): void {
    const ms = Math.max(0, facts.ms - this.#costs.roundTripMs);
    this.#readerCosts.streamed({ ...facts, ms }, this.#bytesPerMs(this.baudRate));
  }

  /** So many bytes of flash came as they are, and these are some of them: how small would they have been? */
  hasSampled(sizeBytes: number, sample: Buffer): void {
    if (this.reader !== 'none' && sample.length > 0)
      this.#readerCosts.compresses(sizeBytes, deflateRawSync(sample).length / sample.length);
  }

  #loadMs(lineBytesPerMs: number): number {
    return this.reader === 'loaded' ? 0 : this.#readerCosts.loadMs(lineBytesPerMs, this.#costs.roundTripMs);
  }

  #readerMs(sizeBytes: number, lineBytesPerMs: number): number {
    const { bytesPerMs } = this.#readerCosts.best(lineBytesPerMs);
    return this.#loadMs(lineBytesPerMs) + this.#costs.roundTripMs + sizeBytes / bytesPerMs;
  }

  #readMs(sizeBytes: number, lineBytesPerMs: number): number {
    const stubMs = this.#costs.readMs(sizeBytes, lineBytesPerMs);
    return this.reader === 'none' ? stubMs : Math.min(stubMs, this.#readerMs(sizeBytes, lineBytesPerMs));
  }

  #rateToCome(baudRate: number): number {
    return this.canRaise() ? Math.max(baudRate, this.baudRate) : this.baudRate;
  }

  /** What the line carries: ten bits a byte, or what USB brings where there is no rate. */
  #bytesPerMs(baudRate: number): number {
    return this.#isNativeUsb ? USB_BYTES_PER_MS : baudRate / 10_000;
  }
}
