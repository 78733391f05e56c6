/**
 * One job with one board: open the link, connect, work, release the board, close. Whatever happens in between, and
 * whatever the disk does: an abort waits for no disk before the board is released.
 */

import { type Clock, unlessAborted, withTimeout } from '../clock.ts';
import { EspdError } from '../errors.ts';
import { Board } from '../esp/board.ts';
import type { BoardIdentity } from '../esp/identity.ts';
import { CONNECT_BAUD_RATE } from '../esp/connect.ts';
import type { LeaveOutcome } from '../esp/leave.ts';
import { type EspContext, isLineFault } from '../esp/loader.ts';
import type { ReaderMode } from '../esp/reader/trust.ts';
import { type ResetMode, beginsAtOpen } from '../esp/reset.ts';
import type { Logger } from '../log.ts';
import { type CountingLink, countBytes } from '../serial/counting-link.ts';
import type { Link, UsbFacts } from '../serial/link.ts';
import { withoutControlLines } from '../serial/fixed-lines.ts';
import { type OpenLinkOptions, openLink } from '../serial/open-link.ts';
import { bridgeMaxBaudRate } from '../serial/usb-ids.ts';
import type { EspdCall } from './finish-command.ts';
import type { LineMemories, RememberedLine } from './line-memory.ts';
import type { ReaderMemories, RememberedReaders } from './reader-memory.ts';

/** How links are opened: {@link openLink}, or a way to simulated boards. */
export type LinkOpener = (address: string, options: OpenLinkOptions) => Promise<Link>;

/** Where a board may be. */
export interface Port {
  readonly address: string;
  readonly usb: UsbFacts | null;
  /** Of a remote: its server must speak RFC 2217, or nothing is sent to what is there. */
  readonly name?: string | undefined;
}

export interface SessionOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
  readonly reset: ResetMode;
  /** Reset and SYNC tries before a port is given up. */
  readonly connectAttempts: number;
  /** Called before each of these tries but the first. */
  readonly onAttempt?: (attempt: number) => void;
  /** Highest rate for transfers, in baud. */
  readonly baudRate: number;
  readonly onProgress?: (progress: Progress) => void;
  /** What is known of lines from earlier sessions; without it each session begins anew. */
  readonly lines?: LineMemories;
  /** Whether a reader of our own may be put on the chip; never where it is left out. */
  readonly reader?: ReaderMode;
  /** On which chips it has failed before. */
  readonly readers?: ReaderMemories;
  /** Size of the flash in bytes, as a person has told it, for a flash whose id does not tell. */
  readonly toldFlashBytes?: number;
  /** How espd was called, for commands that messages print; default: by its name alone. */
  readonly call?: EspdCall;
}

/** What a job is doing; `done` and `total` count bytes of flash. */
export interface Progress {
  readonly phase:
    | 'connecting'
    | 'identified'
    | 'comparing'
    | 'reading'
    | 'writing'
    | 'verifying'
    | 'leaving'
    | 'released'
    /** Bytes of a backup from the object store. */
    | 'fetching';
  readonly identity?: BoardIdentity;
  /** Of `released`: see {@link SessionResult.wentAway}. */
  readonly wentAway?: boolean;
  readonly doneBytes?: number;
  readonly totalBytes?: number;
}

export interface Session {
  readonly board: Board;
  readonly port: Port;
  readonly link: CountingLink;
  readonly options: SessionOptions;
  /** Of the clock, when the link was opened. */
  readonly startedAtMs: number;
  /**
   * Work that the board does not wait for: {@link withBoard} ends once it has settled, after the board was released and
   * the link closed. Its failures are its own business.
   */
  afterwards(work: Promise<unknown>): void;
}

export interface SessionResult<T> {
  readonly value: T;
  readonly left: LeaveOutcome;
  /** The port went away when the board was let go: it is on its own USB, and comes back with its app. */
  readonly wentAway: boolean;
  /** Both directions, from the open to the close. */
  readonly wireBytes: number;
  readonly seconds: number;
}

/** Releasing the board and closing may not hold up a stop of the daemon: it has 5 s in all. */
const LEAVE_LIMIT_MS = 3500;

/**
 * Waits for a disk while the board is held, which only what the board itself needs is worth: an abort ends the wait at
 * once, so that the board is released whatever the disk does. The work goes on, and is waited for {@link
 * Session.afterwards}.
 * @throws the signal's reason, and what `work` throws
 */
export function whileHeld<T>(session: Session, work: Promise<T>): Promise<T> {
  session.afterwards(work);
  return unlessAborted(work, session.options.signal);
}

/**
 * Runs `work` on the board behind `port`.
 *
 * The board is reset into its app and the link closed whether `work` succeeds, fails or is aborted.
 * @throws EspdError of the link, of connecting, or of `work`
 */
export async function withBoard<T>(
  port: Port,
  options: SessionOptions,
  work: (session: Session) => Promise<T>,
  open: LinkOpener = openLink,
): Promise<SessionResult<T>> {
  const { clock, log, signal } = options;
  const startedAtMs = clock.now();
  options.onProgress?.({ phase: 'connecting' });
  const isLeftAlone = options.reset === 'none';
  const keepControlLines = isLeftAlone || beginsAtOpen(options.reset, port.usb);
  const remembered = options.lines?.open(port);
  const rememberedReaders = options.readers?.open();
  const linkOptions = { baudRate: CONNECT_BAUD_RATE, clock, log, signal, keepControlLines };
  const opened = await open(
    port.address,
    port.name === undefined ? linkOptions : { ...linkOptions, mustSpeakRfc2217: true },
  );
  const link = countBytes(isLeftAlone ? withoutControlLines(opened) : opened);
  const chores = new Chores();
  let wentAway = false;
  let line: RememberedLine | undefined;
  let readers: RememberedReaders | undefined;
  try {
    // Begun before the port was opened: a disk that hangs must not keep it open either.
    line = remembered && (await unlessAborted(remembered, signal));
    readers = rememberedReaders && (await unlessAborted(rememberedReaders, signal));
    const board = await connectBoard(link, port, options, line, readers);
    options.onProgress?.({ phase: 'identified', identity: board.identity });
    let value: T;
    let left: LeaveOutcome;
    try {
      const afterwards = (chore: Promise<unknown>) => chores.add(chore);
      value = await work({ board, port, link, options, startedAtMs, afterwards });
    } finally {
      // A board whose port is gone cannot be reset: that would look like one that goes because it is.
      if (link.isOpen) options.onProgress?.({ phase: 'leaving', identity: board.identity });
      const wasOpen = link.isOpen;
      left = await leave(board, clock);
      wentAway = wasOpen && !link.isOpen;
      log.debug('left the board', { port: port.address, outcome: left });
      if (left === 'stuck') log.warn('The board did not leave download mode', { port: port.address });
    }
    const wireBytes = link.bytesRead + link.bytesWritten;
    return { value, left, wentAway, wireBytes, seconds: (clock.now() - startedAtMs) / 1000 };
  } finally {
    await link.close();
    options.onProgress?.({ phase: 'released', wentAway });
    if (line !== undefined) chores.add(line.save());
    if (readers !== undefined) chores.add(readers.save());
    await chores.settled();
  }
}

/** Work that is under way and not waited for yet. */
class Chores {
  readonly #underWay = new Set<Promise<unknown>>();

  add(work: Promise<unknown>): void {
    const done: Promise<unknown> = work.catch(() => undefined).finally(() => this.#underWay.delete(done));
    this.#underWay.add(done);
  }

  /** Also what is added meanwhile. */
  async settled(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
  }
}

/** A board whose power gives way while it tells who it is may be sound the next moment: it is asked twice. */
async function connectBoard(
  link: Link,
  { usb }: Port,
  options: SessionOptions,
  line: RememberedLine | undefined,
  memory: RememberedReaders | undefined,
): Promise<Board> {
  const { clock, log, signal, reset, connectAttempts: attempts, onAttempt, toldFlashBytes } = options;
  const context: EspContext = { clock, log, signal };
  const baudRate = Math.min(options.baudRate, bridgeMaxBaudRate(usb));
  const boardOptions = {
    ...{ reset, attempts, baudRate, usb },
    ...(onAttempt && { onAttempt }),
    ...(line && { line }),
    reader: { mode: options.reader ?? 'never', memory },
    ...(toldFlashBytes !== undefined && { toldFlashBytes }),
  };
  try {
    return await Board.connect(link, context, boardOptions);
  } catch (error) {
    if (!isLineFault(error)) throw error;
    log.warn('Trying again: identification', { reason: error.message });
    return Board.connect(link, context, boardOptions);
  }
}

async function leave(board: Board, clock: Clock): Promise<LeaveOutcome> {
  try {
    return await withTimeout(clock, LEAVE_LIMIT_MS, board.leave(), () => new Error('too slow'));
  } catch {
    return 'stuck';
  }
}

/** The error of a board that stays in download mode although its job is done. */
export function stuckError(port: Port): EspdError {
  return new EspdError('still-in-bootloader', `The board at ${port.address} did not leave download mode`, {
    hint: 'What was done is kept. Press its RESET button or unplug it once: its app does not run until then',
  });
}

/** A link that is already open, as an `open` for {@link withBoard}: for simulated boards in memory. */
export function fixedLink(link: Link): LinkOpener {
  return () => Promise.resolve(link);
}
