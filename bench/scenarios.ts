/**
 * What is measured: whole jobs through the real engine, on simulated boards behind a model of the line. Time is
 * virtual, so that the figures are exact and the same on every machine: bytes, waits and the chip's own speed count,
 * the workstation's does not (`run.ts` measures that apart).
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openArchive } from '../src/archive/archive.ts';
import type { Archive } from '../src/archive/types.ts';
import { hasCode } from '../src/errors.ts';
import type { ReaderMode } from '../src/esp/reader/trust.ts';
import { encodeFrame } from '../src/esp/slip.ts';
import { silentLogger } from '../src/log.ts';
import { TYPICAL_SPEEDS, VirtualClock, createBoard, memoryLink, seededRandom } from '../src/simulator/index.ts';
import type { SimulatedBoard } from '../src/simulator/index.ts';
import { type BackupOutcome, readFlash } from '../src/transfer/backup.ts';
import { type LineMemories, lineMemories } from '../src/transfer/line-memory.ts';
import { type RestoreOutcome, restoreBoard } from '../src/transfer/restore/restore.ts';
import {
  type Port,
  type Progress,
  type Session,
  type SessionResult,
  fixedLink,
  withBoard,
} from '../src/transfer/session.ts';
import { firmware } from './firmware.ts';

export interface Line {
  readonly baudRate: number;
  /** Each way. */
  readonly latencyMs: number;
}

export interface Result {
  readonly scenario: string;
  readonly line: Line;
  readonly wireBytes: number;
  readonly flashBytesRead: number;
  readonly sectorsWritten: number;
  /** Of the whole job, from the open to the close, in virtual time. */
  readonly seconds: number;
  /** Of them, while flash was read. */
  readonly readingSeconds: number;
  /** Payload rate while reading over what the line can carry (baud / 10, less SLIP escapes); null where nothing is read. */
  readonly lineShare: number | null;
  /** The same over what line and chip allow: nothing is on the wire while the stub prepares a packet. */
  readonly possibleShare: number | null;
}

const MIB = 1024 * 1024;
const SECTOR_BYTES = 4096;
const NVS_OFFSET = 0x9000;
/** In the app, where nobody looks first. */
const ELSEWHERE_OFFSET = 0x80000;
/** The bridge that most boards have: espd knows it by its maker. */
const CP2102: Port['usb'] = {
  ...{ vendorId: '10c4', productId: 'ea60', serialNumber: '0001', manufacturer: 'Silicon Labs' },
  ...{ product: 'CP2102 USB to UART Bridge Controller', location: '1-1:1.0' },
};
/** The digest is set to what the marks assume; a packet of 4 KiB takes the stub 1 ms, as on silicon. */
const SPEEDS = {
  digestBytesPerSecond: 8 * MIB,
  packetBytesPerSecond: TYPICAL_SPEEDS.packetBytesPerSecond,
  readerCpuMHz: 160,
  eraseSectorMs: TYPICAL_SPEEDS.eraseSectorMs,
  eraseBlockMs: TYPICAL_SPEEDS.eraseBlockMs,
  programPageMs: TYPICAL_SPEEDS.programPageMs,
};

/** The same work without the reader on the chip, and flash that nothing makes smaller: what the marks compare. */
export async function compare(line: Line, onResult: (result: Result) => void): Promise<void> {
  for (const reader of ['never', 'auto'] as const) {
    const bench = await Bench.open(line, reader);
    const by = reader === 'never' ? 'by the stub' : 'by the reader';
    try {
      onResult(await bench.backup(`first backup, ${by}`, bench.board(1)));
      onResult(await bench.backup(`noise, --full, ${by}`, bench.board(2, seededRandom(2).bytes(4 * MIB)), true));
      const large = bench.board(3, firmware(3, 16 * MIB));
      await bench.backup('16 MB', large);
      changeSectors(large, 3, 1);
      onResult(await bench.backup(`16 MB, 3 sectors changed, ${by}`, large));
      changeSectors(large, 3, 1, ELSEWHERE_OFFSET);
      onResult(await bench.backup(`16 MB, 3 other sectors, ${by}`, large));
    } finally {
      await bench.close();
    }
  }
}

export async function measure(line: Line, reader: ReaderMode, onResult: (result: Result) => void): Promise<void> {
  const bench = await Bench.open(line, reader);
  try {
    const board = bench.board(1);
    onResult(await bench.backup('first backup', board));
    onResult(await bench.backup('unchanged', board));
    changeSectors(board, 3, 1);
    onResult(await bench.backup('3 sectors changed', board));
    changeSectors(board, 3, 1, ELSEWHERE_OFFSET);
    onResult(await bench.backup('3 other sectors changed', board));
    onResult(await bench.backup('--full', board, true));
    changeSectors(board, 1, 2);
    onResult(await bench.restore('restore, 1 sector differs', board));
    board.flash.erase(0, board.flash.sizeBytes);
    onResult(await bench.restore('restore, wiped', board));
    for (let number = 2; number <= 9; number++) await bench.backup('fleet', bench.fleetBoard(number));
    onResult(await bench.backup('tenth board, same firmware', bench.fleetBoard(10)));
    onResult(await bench.interrupted('read on after half of it', bench.board(11, seededRandom(11).bytes(4 * MIB))));
  } finally {
    await bench.close();
  }
}

/** Content that compresses badly, in sectors that NVS uses, or elsewhere. */
function changeSectors(board: SimulatedBoard, count: number, seed: number, offset = NVS_OFFSET): void {
  const bytes = Buffer.alloc(count * SECTOR_BYTES);
  for (let at = 0; at < bytes.length; at++) bytes[at] = Math.imul(at + seed * 7919, 2654435761) >>> 24;
  board.flash.erase(offset, bytes.length);
  board.flash.program(offset, bytes);
}

class Bench {
  readonly #line: Line;
  readonly #clock = new VirtualClock();
  readonly #reader: ReaderMode;
  readonly #folder: string;
  readonly #archive: Archive;
  /** All boards are plugged into one port: the first one shows what it holds. */
  readonly #lines: LineMemories;

  private constructor(line: Line, folder: string, reader: ReaderMode) {
    this.#reader = reader;
    this.#line = line;
    this.#folder = folder;
    this.#archive = openArchive(folder, {
      log: silentLogger,
      clock: this.#clock,
      compression: 'none',
      createdBy: 'espd bench',
    });
    this.#lines = lineMemories(this.#archive.cache, { clock: this.#clock, log: silentLogger });
  }

  static async open(line: Line, reader: ReaderMode): Promise<Bench> {
    return new Bench(line, await mkdtemp(join(tmpdir(), 'espd-bench-')), reader);
  }

  /** @param number last byte of the MAC */
  board(number: number, content = firmware(number, 4 * MIB)): SimulatedBoard {
    return createBoard({
      family: 'esp32',
      mac: `24:0a:c4:00:00:${number.toString(16).padStart(2, '0')}`,
      content,
      flashSizeBytes: content.length,
      clock: this.#clock,
      line: { latencyMs: this.#line.latencyMs },
      speeds: SPEEDS,
    });
  }

  /** The firmware of board 1, with settings and calibration of its own: 24 KB. */
  fleetBoard(number: number): SimulatedBoard {
    const content = firmware(1, 4 * MIB);
    seededRandom(number)
      .bytes(5 * SECTOR_BYTES)
      .copy(content, 0x9000);
    seededRandom(100 + number)
      .bytes(SECTOR_BYTES)
      .copy(content, 0xf000);
    return this.board(number, content);
  }

  /** A backup that is pulled out in the middle, and the one that goes on from there. */
  async interrupted(scenario: string, board: SimulatedBoard): Promise<Result> {
    board.addFault({ kind: 'vanish', when: { direction: 'to-host', byte: 2 * MIB } });
    await this.backup('pulled out', board).catch((error: unknown) => {
      if (!hasCode(error, 'port-vanished')) throw error;
    });
    board.plug();
    return this.backup(scenario, board);
  }

  async backup(scenario: string, board: SimulatedBoard, full = false): Promise<Result> {
    const meter = new Meter(this.#clock);
    const result = await this.#run(board, meter, (session) =>
      readFlash(session, { archive: this.#archive, full, reason: 'by-hand' }),
    );
    return this.#result(scenario, board, meter, { ...result, value: await result.value.keep() });
  }

  async restore(scenario: string, board: SimulatedBoard): Promise<Result> {
    const meter = new Meter(this.#clock);
    const mac = await this.#archive.resolveBoard(board.mac);
    const backup = await this.#archive.resolveBackup(mac, 'latest');
    const result = await this.#run(board, meter, (session) =>
      restoreBoard(session, {
        ...{ archive: this.#archive, backup, targetMac: mac, dryRun: false },
        confirm: () => Promise.resolve(true),
      }),
    );
    return this.#result(scenario, board, meter, result);
  }

  async close(): Promise<void> {
    await rm(this.#folder, { recursive: true });
  }

  #run<T>(board: SimulatedBoard, meter: Meter, work: (session: Session) => Promise<T>): Promise<SessionResult<T>> {
    const { baudRate } = this.#line;
    return withBoard(
      { address: 'bench', usb: CP2102 },
      {
        clock: this.#clock,
        log: silentLogger,
        signal: new AbortController().signal,
        reset: 'auto',
        connectAttempts: 1,
        baudRate,
        lines: this.#lines,
        reader: this.#reader,
        onProgress: (progress) => meter.note(progress),
      },
      work,
      fixedLink(memoryLink(board, { clock: this.#clock })),
    );
  }

  #result(
    scenario: string,
    board: SimulatedBoard,
    meter: Meter,
    { value, wireBytes, seconds }: SessionResult<BackupOutcome | RestoreOutcome>,
  ): Result {
    const rate = meter.payloadRate();
    const content = board.flash.snapshot();
    const escaping = content.length / (encodeFrame(content).length - 2);
    const lineRate = (this.#line.baudRate / 10) * escaping;
    return {
      scenario,
      line: this.#line,
      wireBytes,
      flashBytesRead: 'backup' in value ? value.transfer.flashBytesRead : 0,
      sectorsWritten: 'sectorsWritten' in value ? value.sectorsWritten : 0,
      seconds,
      readingSeconds: 'backup' in value ? value.transfer.phases.reading : 0,
      lineShare: rate === null ? null : rate / lineRate,
      possibleShare: rate === null ? null : rate * (1 / lineRate + 1 / SPEEDS.packetBytesPerSecond),
    };
  }
}

/** Rate of the reading phase: from the first packet that arrived to the last. */
class Meter {
  readonly #clock: VirtualClock;
  #first: { atMs: number; bytes: number } | undefined;
  #last: { atMs: number; bytes: number } | undefined;

  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }

  note({ phase, doneBytes }: Progress): void {
    if (phase !== 'reading' || doneBytes === undefined) return;
    this.#last = { atMs: this.#clock.now(), bytes: doneBytes };
    this.#first ??= this.#last;
  }

  /** Bytes a second; null for less than 1 MiB, where single waits would decide. */
  payloadRate(): number | null {
    if (this.#first === undefined || this.#last === undefined) return null;
    const bytes = this.#last.bytes - this.#first.bytes;
    return bytes < MIB ? null : (bytes * 1000) / (this.#last.atMs - this.#first.atMs);
  }
}
