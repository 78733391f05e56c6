/**
 * Reads what other stations have put into their journals. Segments are numbered without gaps, so the next one is asked
 * for by its name; lists are asked for now and then only, since they cost more, and may lag. What cannot be read is no
 * end: it is noted and asked for again, later and later, and what is behind it is read meanwhile. In which order lines
 * come does not matter (FORMAT.md, The journal).
 */

import type { Clock } from '../../clock.ts';
import { toEspdError } from '../../errors.ts';
import type { HeldFiles } from './held-files.ts';
import type { JournalArchive } from './own-lines.ts';
import type { Bucket } from '../push-backup.ts';
import { Refusals, isRefusal } from '../refusals.ts';
import { fetchSegment } from './fetch.ts';
import { readGone } from './gone.ts';
import { GONE, JOURNAL, behindSegment, journalFolder, parseSegmentName, stationOf } from './names.ts';
import type { SegmentName } from './names.ts';
import { type News, NewsBook } from './news.ts';
import type { Receiver } from './receive.ts';
import { type Heard, type HeardStation, type JournalState, isUnreadCode } from './state.ts';
import { type Reason, addUnread, dueNumbers, settleUnread } from './unread.ts';

/** New stations are found so often. */
const LIST_MS = 3_600_000;
/** A station says something each day: of one that has not, a list tells whether a segment is missing. */
const SILENT_MS = 26 * 3_600_000;
/** Of one station at one look; the next look goes on at once. */
const MAX_SEGMENTS = 200;
const MAX_STATIONS = 1000;
const MAX_PAGES = 20;

export interface ReaderParts {
  readonly state: JournalState;
  readonly held: HeldFiles;
  readonly archive: Pick<JournalArchive, 'boards'>;
  readonly clock: Clock;
  /** Of espd: what a later one has written is read again when it has changed. */
  readonly version: string;
  readonly receiver: Receiver;
}

export interface LookOptions {
  readonly signal: AbortSignal;
  /** Lists all journals, and asks for everything again that could not be read. */
  readonly isThorough: boolean;
  readonly onProgress?: (station: string, segments: number) => void;
}

/**
 * Takes in what is new in all journals but that of this station.
 * @throws EspdError `store-...` where the store is the matter, `disk-full`, `archive-unwritable`: what was read until then is kept
 */
export async function readJournals(parts: ReaderParts, bucket: Bucket, options: LookOptions): Promise<News> {
  return new Look(parts, bucket, options).run();
}

class Look {
  readonly #parts: ReaderParts;
  readonly #bucket: Bucket;
  readonly #options: LookOptions;
  readonly #news = new NewsBook();
  /** Stations one after the other of which the store gives nothing out. */
  readonly #refusals = new Refusals();

  constructor(parts: ReaderParts, bucket: Bucket, options: LookOptions) {
    this.#parts = parts;
    this.#bucket = bucket;
    this.#options = options;
  }

  async run(): Promise<News> {
    const { state, receiver, held } = this.#parts;
    const heard = await this.#heard();
    receiver.beginLook();
    if (this.#options.isThorough || this.#isOver(heard.listedAt, LIST_MS)) await this.#findStations(heard);
    try {
      await this.#hearOwn(heard);
      for (const [name, station] of Object.entries(this.#heardHere(heard)))
        await this.#readStation(name, station, heard);
    } finally {
      this.#news.note(heard);
      await held.note(this.#news.news().macs);
    }
    heard.lookedAt = this.#now().toISOString();
    await state.keepHeard(heard);
    return this.#news.news();
  }

  /** Of what is heard nothing counts any more where the archive has lost some of it. */
  async #heard(): Promise<Heard> {
    const { state, held, archive } = this.#parts;
    const heard = await state.heard();
    // Now and then is enough: by each process, and before anything is removed.
    if (held.wereLookedAt && !this.#options.isThorough) return heard;
    const { macs } = await archive.boards().catch(() => ({ macs: [] }));
    if (await held.areThere(macs)) return heard;
    await state.forgetHeard();
    await held.forget();
    await held.note(macs);
    return state.heard();
  }

  async #findStations(heard: Heard): Promise<void> {
    const { store, layout, key } = this.#bucket;
    heard.stations = this.#heardHere(heard);
    let from: string | null = null;
    for (let page = 0; page < MAX_PAGES; page++) {
      const prefix = layout.prefix + JOURNAL;
      const { folders, objects, next } = await store.list({
        prefix,
        folders: true,
        from,
        signal: this.#options.signal,
      });
      this.#news.foreign(objects.map((each) => each.key));
      for (const folder of folders) {
        const name = stationOf(folder.slice(layout.prefix.length));
        if (name === undefined) this.#news.foreign([folder]);
        else if (name !== layout.station && heard.stations[name] === undefined) {
          if (Object.keys(heard.stations).length >= MAX_STATIONS) break;
          heard.stations[name] = { next: 1, isEncrypted: key !== null, heardAt: null, unread: [] };
        }
      }
      from = next;
      if (from === null) break;
    }
    heard.listedAt = this.#now().toISOString();
  }

  /**
   * An archive that is new at this station, or an old one again, has lost what this station has noted in it: pins, labels,
   * what was pushed. What of it is here already is no news. What cannot be read is missed like that of another station:
   * nobody but this one has said it, and it may have been a pin.
   */
  async #hearOwn(heard: Heard): Promise<void> {
    const { store, layout } = this.#bucket;
    const { state } = this.#parts;
    const { signal, isThorough } = this.#options;
    const { next } = await state.cursor();
    const own = heard.own ?? 0;
    // Where archive and state have gone back together, as with the snapshot of a machine, only a list tells.
    if (!isThorough && heard.own !== null && own >= (next ?? 1) - 1) return;
    const prefix = layout.prefix + journalFolder(layout.station);
    const after = layout.prefix + behindSegment(layout.station, own);
    heard.own = own;
    try {
      for (let from: string | null = null; ;) {
        const page = await store.list({ prefix, after, from, signal });
        await this.#readOwn(
          heard,
          page.objects.map(({ key }) => key.slice(prefix.length)),
        );
        from = page.next;
        if (from === null) break;
      }
    } finally {
      // A list may lag: what is not there yet has its turn at the next look.
      await state.keepHeard(heard);
    }
  }

  /** @param files in their order, as a list has them */
  async #readOwn(heard: Heard, files: readonly string[]): Promise<void> {
    const { station: name } = this.#bucket.layout;
    const refusals = new Refusals();
    const unread: HeardStation = heard.stations[name] ?? {
      ...{ next: 1, isEncrypted: false, heardAt: null, unread: [], isOwn: true },
    };
    for (const file of files) {
      this.#options.signal.throwIfAborted();
      const segment = parseSegmentName(file);
      const own = heard.own ?? 0;
      if (segment === undefined || segment.seq <= own) continue;
      const gap = { from: own + 1, to: segment.seq - 1 };
      if (gap.from <= gap.to) addUnread(unread, gap, missing(name, gap.from), { now: this.#now() });
      const isRead = await this.#readOne(name, unread, segment, refusals);
      if (isRead === 'absent') this.#setAside(unread, segment.seq, missing(name, segment.seq));
      if (unread.unread.length > 0) heard.stations[name] = unread;
      heard.own = segment.seq;
    }
  }

  async #readStation(name: string, station: HeardStation, heard: Heard): Promise<void> {
    const { state, version } = this.#parts;
    const { isThorough } = this.#options;
    const wasWhole = station.unread.length === 0;
    const due = dueNumbers(station, this.#now(), isThorough ? null : version);
    try {
      await this.#readAgain(name, station, due);
      if (station.isOwn !== true) await this.#readNew(name, station, heard);
      this.#refusals.served();
    } catch (error) {
      this.#options.signal.throwIfAborted();
      // Of this station no more at this look, and the others have their turn.
      if (!isRefusal(error) || !this.#refusals.isOfOne(toEspdError(error))) throw error;
    }
    if (station.unread.length === 0) delete station.gone;
    else if (isThorough || wasWhole || due.length > 0) await this.#hearGone(name, station);
    await state.keepHeard(heard);
  }

  async #readNew(name: string, station: HeardStation, heard: Heard): Promise<void> {
    const { state } = this.#parts;
    const { signal, isThorough } = this.#options;
    const refusals = new Refusals();
    let isListed = false;
    for (let count = 0; ; count++) {
      signal.throwIfAborted();
      if (count >= MAX_SEGMENTS) {
        this.#news.isMore = true;
        break;
      }
      const { next: seq, isEncrypted } = station;
      if ((await this.#readOne(name, station, { seq, isEncrypted }, refusals)) === 'read') {
        station.next++;
        await state.keepHeard(heard);
        this.#options.onProgress?.(name, count + 1);
        continue;
      }
      // A list is asked once: what it has and a GET has not may be there a moment later.
      if (isListed || !(isThorough || station.next === 1 || this.#isOver(station.heardAt, SILENT_MS))) break;
      isListed = true;
      if (!(await this.#skipTo(name, station))) break;
    }
  }

  /** What could not be read before. That the store still gives none of it out keeps nobody from what is new. */
  async #readAgain(name: string, station: HeardStation, due: readonly number[]): Promise<void> {
    const refusals = new Refusals();
    try {
      for (const seq of due) {
        const { isEncrypted } = station;
        const isRead =
          (await this.#readOne(name, station, { seq, isEncrypted }, refusals)) === 'read' ||
          // It was put before the fleet began to encrypt.
          (await this.#readOne(name, station, { seq, isEncrypted: !isEncrypted }, refusals)) === 'read';
        if (!isRead) this.#setAside(station, seq, missing(name, seq));
      }
    } catch (error) {
      this.#options.signal.throwIfAborted();
      if (!isRefusal(error)) throw error;
    }
  }

  /** Somebody may have said that nobody will mend it. What the store does not give out is not said. */
  async #hearGone(name: string, station: HeardStation): Promise<void> {
    const { signal } = this.#options;
    delete station.gone;
    try {
      const gone = await readGone(this.#bucket, name, signal);
      if (gone !== undefined) station.gone = gone;
    } catch (error) {
      signal.throwIfAborted();
      if (!isRefusal(error) || !this.#refusals.isOfOne(toEspdError(error))) throw error;
    }
  }

  /** `read` also where it could not be, and is noted for later. */
  async #readOne(
    name: string,
    station: HeardStation,
    segment: SegmentName,
    refusals: Refusals,
  ): Promise<'read' | 'absent'> {
    const { version, receiver } = this.#parts;
    const { signal } = this.#options;
    const { seq } = segment;
    try {
      const found = await fetchSegment(this.#bucket, { name, ...segment }, this.#now(), signal);
      refusals.served();
      if (found === undefined) return 'absent';
      const { reading, heardMs } = found;
      const heardAt = new Date(heardMs).toISOString();
      if (station.isOwn !== true && (station.heardAt === null || heardAt > station.heardAt)) station.heardAt = heardAt;
      if (reading.kind === 'read') {
        await receiver.take({ station: name, store: this.#bucket.id }, reading.lines, this.#news, signal);
        if (reading.strange > 0) this.#news.strange(name, seq, reading.strange);
      }
      // Nothing of it is believed: of a changed line that takes back a pin nothing would tell that it is wrong. It is said again.
      if (reading.kind === 'damaged') this.#setAside(station, seq, damaged(name, seq, reading.problem));
      else if (reading.kind === 'newer' || reading.newer > 0) this.#setAside(station, seq, newer(name, seq), version);
      else settleUnread(station, seq);
    } catch (error) {
      signal.throwIfAborted();
      const fault = toEspdError(error);
      const { code, message } = fault;
      if (!isUnreadCode(code)) throw error;
      if (isRefusal(fault)) {
        // A store may answer so for what is not there, too.
        if (!(await this.#isThere(name, segment))) return 'absent';
        if (!refusals.isOfOne(fault)) throw error;
      }
      const isNotGiven = isRefusal(fault) || code === 'store-archived';
      this.#setAside(station, seq, { code, message: isNotGiven ? notGiven(name, seq, message) : message });
    }
    return 'read';
  }

  /** By a list. */
  async #isThere(name: string, { seq, isEncrypted }: SegmentName): Promise<boolean> {
    const { store, layout } = this.#bucket;
    const prefix = layout.prefix + journalFolder(name);
    const after = layout.prefix + behindSegment(name, seq - 1);
    const { objects } = await store.list({ prefix, after, from: null, signal: this.#options.signal });
    return objects.some(({ key }) => {
      const segment = parseSegmentName(key.slice(prefix.length));
      return segment?.seq === seq && segment.isEncrypted === isEncrypted;
    });
  }

  /** Whether there is anything to go on with: another form of the next segment, or one behind a gap. */
  async #skipTo(name: string, station: HeardStation): Promise<boolean> {
    const { store, layout } = this.#bucket;
    const prefix = layout.prefix + journalFolder(name);
    const after = layout.prefix + behindSegment(name, station.next - 1);
    let from: string | null = null;
    for (;;) {
      const page = await store.list({ prefix, after, from, signal: this.#options.signal });
      const known = page.objects.flatMap(({ key }) => {
        const segment = parseSegmentName(key.slice(prefix.length));
        if (segment === undefined && key !== prefix + GONE) this.#news.foreign([key]);
        return segment === undefined || segment.seq < station.next ? [] : [segment];
      });
      const [first] = known.sort((a, b) => a.seq - b.seq);
      if (first !== undefined) {
        const gap = { from: station.next, to: first.seq - 1 };
        if (gap.from <= gap.to) addUnread(station, gap, missing(name, gap.from), { now: this.#now() });
        station.next = first.seq;
        station.isEncrypted = known.some((each) => each.seq === first.seq && each.isEncrypted);
        return true;
      }
      from = page.next;
      if (from === null) return false;
    }
  }

  #setAside(station: HeardStation, seq: number, reason: Reason, version?: string): void {
    addUnread(station, { from: seq, to: seq }, reason, { now: this.#now(), version });
  }

  /** An archive that another station had has heard of this one as of another, and of that one as its own. */
  #heardHere({ stations }: Heard): Heard['stations'] {
    const { station: own } = this.#bucket.layout;
    return Object.fromEntries(
      Object.entries(stations).filter(([name, { isOwn }]) => (name === own) === (isOwn === true)),
    );
  }

  #now(): Date {
    return this.#parts.clock.date();
  }

  /** Also where a clock went back. */
  #isOver(at: string | null, spanMs: number): boolean {
    return at === null || !(Math.abs(this.#now().getTime() - Date.parse(at)) < spanMs);
  }
}

function damaged(station: string, seq: number, problem: string): Reason {
  return { code: 'store-damaged', message: `Segment ${seq} of the journal of ${station} is damaged: ${problem}` };
}

function notGiven(station: string, seq: number, why: string): string {
  return `Segment ${seq} of the journal of ${station} cannot be read: ${why}`.slice(0, 1000);
}

function missing(station: string, seq: number): Reason {
  const message = `Segment ${seq} of the journal of ${station} is missing in the object store, and later ones are there`;
  return { code: 'store-damaged', message };
}

function newer(station: string, seq: number): Reason {
  const message = `Segment ${seq} of the journal of ${station} has lines of a newer espd: they are read once this one is newer`;
  return { code: 'archive-newer', message };
}
