/** What is known of each board at the moment: out of the archive at the start, then by events. */

import type { BoardOverview } from '../archive/types.ts';
import type { EventError, FirmwareFacts, KeptBackup, ServiceEvent } from '../daemon/event-types.ts';
import type { Mac } from '../mac.ts';

/** As many boards are remembered; the least recently changed one makes room. */
export const MAX_BOARDS = 10_000;

export interface BoardFacts {
  readonly mac: Mac;
  /** Its label; null where it has none. */
  readonly label: string | null;
  /** Empty where it is not known. */
  readonly chip: string;
  /** When its flash was last known to be in the archive, ms since 1970; null = never. */
  readonly lastBackupMs: number | null;
  readonly firmware: FirmwareFacts | null;
  /** What went wrong since; null where nothing did. */
  readonly problem: EventError | null;
}

export type BookListener = (board: BoardFacts) => void;

export class BoardBook {
  /** Least recently changed first. */
  readonly #boards = new Map<Mac, BoardFacts>();
  readonly #onChange: BookListener;
  /** As events have told them, also of boards that nothing else is known of; null = none any more. */
  readonly #labels = new Map<Mac, string | null>();

  /** @param onChange must not throw */
  constructor(onChange: BookListener = () => undefined) {
    this.#onChange = onChange;
  }

  get size(): number {
    return this.#boards.size;
  }

  get(mac: Mac): BoardFacts | undefined {
    return this.#boards.get(mac);
  }

  /** Least recently changed first. */
  get all(): readonly BoardFacts[] {
    return [...this.#boards.values()];
  }

  /** Takes over what the archive says. An event that came before it is newer, and stays. */
  seed(boards: readonly Pick<BoardOverview, 'mac' | 'newest' | 'seen' | 'about' | 'halfRestored'>[]): void {
    const told = [...this.#boards.values()];
    this.#boards.clear();
    for (const { mac, newest, seen, about, halfRestored } of boards.slice(-MAX_BOARDS)) {
      this.#put({
        mac,
        label: this.#labelOf(mac, about.label),
        chip: newest?.manifest.chip.name ?? '',
        lastBackupMs: latest(newest?.manifest.createdAt, seen?.at),
        firmware: newest?.manifest.contents.firmware ?? null,
        problem:
          halfRestored === null
            ? null
            : { code: 'half-restored', message: 'A restore of this board was interrupted', hint: '' },
      });
    }
    for (const board of told) {
      this.#put({ ...board, label: this.#labelOf(board.mac, this.#boards.get(board.mac)?.label ?? null) });
    }
  }

  readonly onEvent = (event: ServiceEvent): void => {
    switch (event.type) {
      case 'backup-kept':
      case 'backup-unchanged':
        this.#backedUp(event, Date.parse(event.at));
        return;
      case 'job-failed':
        if (event.mac !== null && event.failure === 'fault') this.#failed(event.mac, event.error);
        return;
      case 'board-stuck':
      case 'board-missing':
      case 'half-restored':
        if (event.mac !== null) this.#failed(event.mac, event.error);
        return;
      case 'board-restored': {
        const board = this.#boards.get(event.mac);
        if (board?.problem?.code === 'half-restored') this.#put({ ...board, problem: null });
        return;
      }
      case 'board-described':
        this.#described(event.mac, event.label);
        return;
      default:
    }
  };

  #described(mac: Mac, label: string | null): void {
    if (this.#labels.has(mac) || this.#labels.size < MAX_BOARDS) this.#labels.set(mac, label);
    const board = this.#boards.get(mac);
    if (board !== undefined && board.label !== label) this.#put({ ...board, label });
  }

  /** @param archived as the archive said, perhaps before it was changed */
  #labelOf(mac: Mac, archived: string | null): string | null {
    const told = this.#labels.get(mac);
    return told === undefined ? archived : told;
  }

  #factsOf(mac: Mac): BoardFacts {
    const unknown = { mac, chip: '', lastBackupMs: null, firmware: null, problem: null };
    return this.#boards.get(mac) ?? { ...unknown, label: this.#labelOf(mac, null) };
  }

  #backedUp({ mac, chip, firmware }: KeptBackup, atMs: number): void {
    const { label } = this.#factsOf(mac);
    this.#put({ mac, label, chip, firmware, lastBackupMs: atMs, problem: null });
  }

  #failed(mac: Mac, problem: EventError): void {
    this.#put({ ...this.#factsOf(mac), problem });
  }

  #put(board: BoardFacts): void {
    this.#boards.delete(board.mac);
    this.#boards.set(board.mac, board);
    const [oldest] = this.#boards.keys();
    if (this.#boards.size > MAX_BOARDS && oldest !== undefined) this.#boards.delete(oldest);
    this.#onChange(board);
  }
}

function latest(...dates: readonly (string | undefined)[]): number | null {
  const times = dates.flatMap((date) => (date === undefined ? [] : [Date.parse(date)])).filter(Number.isFinite);
  return times.length === 0 ? null : Math.max(...times);
}
