/** What the jobs of `transfer/` are tested on: simulated boards, a clock that costs nothing, and a real archive. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import * as nodeFs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { openArchive } from '../../src/archive/archive.ts';
import type { FileSystem } from '../../src/archive/disk.ts';
import { isPartialName } from '../../src/archive/owner.ts';
import { HALVES } from '../../src/archive/halves.ts';
import { RESTORES } from '../../src/archive/restores.ts';
import { SIGHTINGS } from '../../src/archive/sightings.ts';
import type { ArchiveOptions } from '../../src/archive/archive.ts';
import type { Archive, Backup } from '../../src/archive/types.ts';
import { ERROR_CODES, hasCode, toEspdError } from '../../src/errors.ts';
import type { ErrorCode, EspdError } from '../../src/errors.ts';
import type { LogFields, Logger } from '../../src/log.ts';
import { macToFolder, parseMac } from '../../src/mac.ts';
import type { Mac } from '../../src/mac.ts';
import type { ControlLines, Link, UsbFacts } from '../../src/serial/link.ts';
import {
  OPCODE,
  SECTOR_BYTES,
  VirtualClock,
  createBoard,
  demoImage,
  memoryLink,
  seededRandom,
} from '../../src/simulator/index.ts';
import type { BoardOptions, Family, SimulatedBoard } from '../../src/simulator/index.ts';
import { readFlash } from '../../src/transfer/backup.ts';
import type { BackupOutcome } from '../../src/transfer/backup.ts';
import type { ReaderMode } from '../../src/esp/reader/trust.ts';
import type { OtherStations } from '../../src/transfer/elsewhere.ts';
import type { LineMemories } from '../../src/transfer/line-memory.ts';
import type { ReaderMemories } from '../../src/transfer/reader-memory.ts';
import { restoreBoard } from '../../src/transfer/restore/restore.ts';
import type { RestoreOptions, RestoreOutcome } from '../../src/transfer/restore/restore.ts';
import { fixedLink, withBoard } from '../../src/transfer/session.ts';
import type { Progress, Session, SessionResult } from '../../src/transfer/session.ts';

export const KIB = 1024;
export const MIB = 1024 * KIB;
export { SECTOR_BYTES } from '../../src/simulator/index.ts';

/** One of each kind of ROM: no digests; no security info; native USB and 16 MiB flashes; RISC-V. */
export const FAMILIES = ['esp8266', 'esp32', 'esp32s3', 'esp32c3'] as const satisfies readonly Family[];

export interface JobOptions {
  readonly signal?: AbortSignal;
  readonly baudRate?: number;
  readonly connectAttempts?: number;
  readonly usb?: UsbFacts | null;
  readonly onProgress?: (progress: Progress) => void;
  /** What is remembered of lines; nothing where it is left out. */
  readonly lines?: LineMemories;
  /** Whether the reader on the chip may be used; never where it is left out. */
  readonly reader?: ReaderMode;
  readonly readers?: ReaderMemories;
  /** As a person has told it, by --flash-size. */
  readonly toldFlashBytes?: number;
  /** Puts something between the link and the job. */
  readonly through?: (link: Link) => Link;
}

/** A board as {@link Bench.board} makes it: a C3 of 512 KiB with a small app unless said otherwise. */
export type BoardWishes = Partial<Omit<BoardOptions, 'clock'>>;

/** Node's file system without fsync, which test/archive is about, and which takes most of the time of a small backup. */
export const hastyFileSystem: FileSystem = {
  ...nodeFs,
  open: async (...args: Parameters<typeof nodeFs.open>) => {
    const handle = await nodeFs.open(...args);
    handle.sync = () => Promise.resolve();
    return handle;
  },
};

/** Clock, archive and log of one test, and the jobs run on them. */
export class Bench {
  readonly clock = new VirtualClock();
  readonly log = new RecordingLog();
  readonly root: string;
  readonly archive: Archive;

  private constructor(root: string, options: Partial<ArchiveOptions>) {
    this.root = root;
    this.archive = openArchive(root, {
      log: this.log,
      clock: this.clock,
      compression: 'none',
      createdBy: 'espd 0.0.0-test',
      fs: hastyFileSystem,
      ...options,
    });
  }

  static async open(t: Pick<TestContext, 'after'>, options: Partial<ArchiveOptions> = {}): Promise<Bench> {
    const folder = await nodeFs.mkdtemp(join(tmpdir(), 'espd-transfer-'));
    t.after(() => nodeFs.rm(folder, { recursive: true, force: true }));
    return new Bench(join(folder, 'archive'), options);
  }

  board(wishes: BoardWishes = {}): SimulatedBoard {
    const family = wishes.family ?? 'esp32c3';
    const flashSizeBytes = wishes.flashSizeBytes ?? 512 * KIB;
    const content = wishes.content ?? smallImage(family, flashSizeBytes);
    return createBoard({ ...wishes, family, flashSizeBytes, content, clock: this.clock });
  }

  async session<T>(
    board: SimulatedBoard,
    work: (session: Session) => Promise<T>,
    options: JobOptions = {},
  ): Promise<SessionResult<T>> {
    const { through = (link: Link) => link, usb = null } = options;
    const link = through(memoryLink(board, { clock: this.clock }));
    return withBoard(
      { address: link.address, usb },
      {
        clock: this.clock,
        log: this.log,
        signal: options.signal ?? new AbortController().signal,
        reset: 'auto',
        connectAttempts: options.connectAttempts ?? 3,
        baudRate: options.baudRate ?? 921600,
        ...(options.onProgress === undefined ? {} : { onProgress: options.onProgress }),
        ...(options.lines === undefined ? {} : { lines: options.lines }),
        ...(options.reader === undefined ? {} : { reader: options.reader }),
        ...(options.readers === undefined ? {} : { readers: options.readers }),
        ...(options.toldFlashBytes === undefined ? {} : { toldFlashBytes: options.toldFlashBytes }),
      },
      work,
      fixedLink(link),
    );
  }

  async backup(
    board: SimulatedBoard,
    options: JobOptions & { full?: boolean; stations?: OtherStations } = {},
  ): Promise<SessionResult<BackupOutcome>> {
    const { full = false, stations } = options;
    const read = (session: Session) =>
      readFlash(session, { archive: this.archive, full, reason: 'by-hand', ...(stations && { stations }) });
    const result = await this.session(board, read, options);
    return { ...result, value: await result.value.keep() };
  }

  async restore(
    board: SimulatedBoard,
    backup: Backup,
    options: JobOptions & Partial<Omit<RestoreOptions, 'archive' | 'backup'>> = {},
  ): Promise<SessionResult<RestoreOutcome>> {
    const { targetMac = backup.mac, dryRun = false } = options;
    const { confirm = () => Promise.resolve(true), command, keep, onPlan, overrides, part, snapshot, why } = options;
    const { unconfirmed } = options;
    const given = Object.entries({ command, keep, onPlan, overrides, part, snapshot, unconfirmed, why }).filter(
      ([, value]) => value !== undefined,
    );
    return this.session(
      board,
      (session) =>
        restoreBoard(session, {
          ...{ archive: this.archive, backup, targetMac, dryRun, confirm },
          ...Object.fromEntries(given),
        }),
      options,
    );
  }

  /** Lets time pass, e.g. for an app to start. */
  pass(durationMs: number): Promise<void> {
    return new Promise((resolve) => this.clock.schedule(durationMs, resolve));
  }

  /**
   * Image bytes of the backups of `mac`, oldest first; fails for a damaged archive and for anything left behind but
   * partials.
   */
  async images(mac: string): Promise<Buffer[]> {
    const board = macOf(mac);
    // Where no backup was ever begun there is no archive.
    const damaged = await this.archive.verify({}).then(
      (report) => report.damaged,
      (error: unknown) => (hasCode(error, 'archive-missing') ? [] : Promise.reject(error as Error)),
    );
    assert.deepEqual(damaged, []);
    const { backups } = await this.archive.history(board);
    const names = await nodeFs.readdir(join(this.root, macToFolder(board))).catch(() => []);
    const ids = backups.map(({ id }) => id);
    const others = names.filter((name) => ![SIGHTINGS, RESTORES, HALVES.name].includes(name) && !isPartialName(name));
    assert.deepEqual(others.sort(), ids, 'something else lies beside the backups');
    return Promise.all(backups.map(imageOf));
  }

  /** Image bytes of the backups of `mac`, oldest first, whatever lies beside them. */
  async imagesOf(mac: string): Promise<Buffer[]> {
    const { backups } = await this.archive.history(macOf(mac));
    return Promise.all(backups.map(imageOf));
  }

  /** The backups of `mac` hold exactly these images, oldest first. */
  async assertImages(mac: string, expected: readonly Buffer[]): Promise<void> {
    const found = await this.images(mac);
    // Not deepEqual, which takes minutes to describe how large buffers differ.
    const matches = found.map((image, index) => expected[index]?.equals(image) === true);
    assert.deepEqual(
      matches,
      expected.map(() => true),
      'the images of the backups',
    );
  }
}

/** Puts an image into the archive as one that no chip has confirmed, of a board that nobody has asked. */
export async function importImage(
  archive: Archive,
  image: Buffer,
  about: { readonly mac: Mac; readonly family: Family; readonly createdAt?: string },
): Promise<Backup> {
  const draft = await archive.begin(about.mac, image.length);
  await draft.write(0, image);
  return draft.commit({
    createdAt: about.createdAt ?? '2020-01-01T00:00:00.000Z',
    reason: 'imported',
    mac: about.mac,
    chip: { family: about.family, name: about.family.toUpperCase(), revision: null, features: [], crystalMHz: null },
    flash: { manufacturer: null, device: null, sizeBytes: image.length, aliasedAtBytes: null, sizeFrom: 'person' },
    security: null,
    efuses: {},
    contents: { firmware: null, partitions: [] },
    confirmed: null,
    source: { port: null, file: 'fw-backup-4M.bin', usb: null, host: 'bench' },
    transfer: null,
  });
}

export async function imageOf({ path, manifest }: Backup): Promise<Buffer> {
  const stored = await nodeFs.readFile(join(path, manifest.image.file));
  return manifest.image.file.endsWith('.gz') ? gunzipSync(stored) : stored;
}

export function macOf(text: string): Mac {
  const mac = parseMac(text);
  assert.ok(mac !== undefined);
  return mac;
}

const images = new Map<string, Buffer>();

/** A demo image whose app is small, so that some of even a small flash is blank. The same object each time. */
export function smallImage(family: Family, sizeBytes: number, seed = 1): Buffer {
  const key = `${family}/${sizeBytes}/${seed}`;
  let image = images.get(key);
  if (image === undefined) {
    image = demoImage({ family, sizeBytes, seed, appBytes: 40 * KIB });
    images.set(key, image);
  }
  return image;
}

/** `content` with these sectors (numbers) replaced by other bytes. */
export function withSectors(content: Buffer, sectors: readonly number[], seed = 99): Buffer {
  const changed = Buffer.from(content);
  for (const sector of sectors) {
    seededRandom(seed + sector)
      .bytes(SECTOR_BYTES)
      .copy(changed, sector * SECTOR_BYTES);
  }
  return changed;
}

/** Sectors (numbers) in which two images of one size differ. */
export function differingSectors(one: Buffer, other: Buffer): number[] {
  assert.equal(one.length, other.length);
  const differing: number[] = [];
  for (let at = 0; at < one.length; at += SECTOR_BYTES) {
    if (!one.subarray(at, at + SECTOR_BYTES).equals(other.subarray(at, at + SECTOR_BYTES))) {
      differing.push(at / SECTOR_BYTES);
    }
  }
  return differing;
}

export function md5(bytes: Uint8Array): string {
  return createHash('md5').update(bytes).digest('hex');
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

const WRITING_OPCODES: ReadonlySet<number> = new Set([
  OPCODE.flashBegin,
  OPCODE.flashData,
  OPCODE.flashEnd,
  OPCODE.flashDeflBegin,
  OPCODE.flashDeflData,
  OPCODE.flashDeflEnd,
  OPCODE.eraseFlash,
  OPCODE.eraseRegion,
]);

/** Commands that write or erase flash, among those that the board was given. */
export function writingCommands(board: SimulatedBoard): number[] {
  return board.commands.map(({ opcode }) => opcode).filter((opcode) => WRITING_OPCODES.has(opcode));
}

/** Watches a flash: sectors (numbers) erased and programmed from now on, sorted, each as often as it happened. */
export function watchFlash({ flash }: SimulatedBoard): { erased: () => number[]; programmed: () => number[] } {
  const erased: number[] = [];
  const programmed: number[] = [];
  const erase = flash.erase.bind(flash);
  const program = flash.program.bind(flash);
  const note = (list: number[], address: number, length: number) => {
    for (let at = address - (address % SECTOR_BYTES); at < address + length; at += SECTOR_BYTES) {
      list.push(at / SECTOR_BYTES);
    }
  };
  flash.erase = (address, length) => {
    note(erased, address, length);
    erase(address, length);
  };
  flash.program = (address, data) => {
    note(programmed, address, data.length);
    program(address, data);
  };
  return { erased: () => sorted(erased), programmed: () => sorted([...new Set(programmed)]) };
}

function sorted(numbers: readonly number[]): number[] {
  return [...numbers].sort((a, b) => a - b);
}

/** `error`, which must have a documented code and be no fault of espd itself. */
export function knownError(error: unknown): EspdError {
  const known = toEspdError(error);
  assert.ok(known.code in ERROR_CODES && known.code !== 'internal', String(known.cause ?? error));
  return known;
}

/** The error that `work` ends with: see {@link knownError}. */
export async function failureOf(work: Promise<unknown>): Promise<EspdError> {
  return work.then(() => assert.fail('it should have failed'), knownError);
}

export async function assertFails(work: Promise<unknown>, code: ErrorCode): Promise<EspdError> {
  const error = await failureOf(work);
  assert.equal(error.code, code, error.message);
  return error;
}

interface LogLine {
  readonly level: 'error' | 'warn' | 'info' | 'debug';
  readonly message: string;
  readonly fields: LogFields | undefined;
}

/** A logger that keeps every line; its children write into the same list. */
export class RecordingLog implements Logger {
  readonly lines: LogLine[] = [];

  error(message: string, fields?: LogFields): void {
    this.lines.push({ level: 'error', message, fields });
  }
  warn(message: string, fields?: LogFields): void {
    this.lines.push({ level: 'warn', message, fields });
  }
  info(message: string, fields?: LogFields): void {
    this.lines.push({ level: 'info', message, fields });
  }
  debug(message: string, fields?: LogFields): void {
    this.lines.push({ level: 'debug', message, fields });
  }
  child(): Logger {
    return this;
  }

  /** Messages of one level, in order. */
  of(level: LogLine['level']): string[] {
    return this.lines.filter((line) => line.level === level).map(({ message }) => message);
  }
}

/** Passes everything on to another link; to be overridden where a test lays hands on it. */
export class PassingLink implements Link {
  inner: Link;
  reads = 0;
  writes = 0;
  closes = 0;
  bytes = 0;

  constructor(inner: Link) {
    this.inner = inner;
  }

  get address(): string {
    return this.inner.address;
  }
  get capabilities() {
    return this.inner.capabilities;
  }
  get baudRate(): number {
    return this.inner.baudRate;
  }
  get isOpen(): boolean {
    return this.inner.isOpen;
  }

  async write(data: Uint8Array): Promise<void> {
    this.writes++;
    this.bytes += data.length;
    return this.inner.write(data);
  }

  async read(timeoutMs: number, signal?: AbortSignal): Promise<Buffer | null> {
    this.reads++;
    const chunk = await this.inner.read(timeoutMs, signal);
    this.bytes += chunk?.length ?? 0;
    return chunk;
  }

  purge(): Promise<void> {
    return this.inner.purge();
  }
  setBaudRate(baudRate: number): Promise<void> {
    return this.inner.setBaudRate(baudRate);
  }
  setControlLines(lines: ControlLines): Promise<void> {
    return this.inner.setControlLines(lines);
  }
  close(): Promise<void> {
    this.closes++;
    return this.inner.close();
  }
}

/** Calls `then` right before the `operation`th read, write or change of lines or rate (0 = the first). */
export class TriggerLink extends PassingLink {
  readonly #operation: number;
  readonly #then: (link: TriggerLink) => Promise<void> | void;
  operations = 0;

  constructor(inner: Link, operation: number, then: (link: TriggerLink) => Promise<void> | void) {
    super(inner);
    this.#operation = operation;
    this.#then = then;
  }

  override async write(data: Uint8Array): Promise<void> {
    await this.#count();
    return super.write(data);
  }
  override async read(timeoutMs: number, signal?: AbortSignal): Promise<Buffer | null> {
    await this.#count();
    return super.read(timeoutMs, signal);
  }
  override async setBaudRate(baudRate: number): Promise<void> {
    await this.#count();
    return super.setBaudRate(baudRate);
  }
  override async setControlLines(lines: ControlLines): Promise<void> {
    await this.#count();
    return super.setControlLines(lines);
  }

  async #count(): Promise<void> {
    if (this.operations++ === this.#operation) await this.#then(this);
  }
}

/** Another board is plugged in where one was, unseen by the link (a bridge with power of its own, a network adapter). */
export function exchange(link: PassingLink, bench: Bench, board: SimulatedBoard, other: SimulatedBoard): void {
  const { clock } = bench;
  link.inner = memoryLink(other, { clock, baudRate: link.baudRate, assertsLinesOnOpen: false });
  board.unplug();
}
