/** What people and prune have noted of a board and its backups: the files of events, folded. Pure. */

import type { Confirmation, Events, LabelEvent, PinEvent, Removal } from './events.ts';

/** How a person calls a board. */
export interface BoardAbout {
  readonly label: string | null;
  readonly note: string | null;
  readonly group: string | null;
}

/** Undefined leaves what is there, null clears it. */
export interface AboutChange {
  readonly label?: string | null;
  readonly note?: string | null;
  readonly group?: string | null;
}

/** A backup that is never removed until it is unpinned. */
export interface Pin {
  readonly id: string;
  /** When it was pinned, ISO 8601 UTC. */
  readonly at: string;
  readonly note: string | null;
}

export interface BoardMarks {
  readonly about: BoardAbout;
  /** By id. */
  readonly pins: readonly Pin[];
  /** Ids that were pinned once, and are not now. */
  readonly unpinned: readonly string[];
  /**
   * Lines of pins.jsonl that cannot be understood, by number: any of them may be a pin, so nothing of the board may be
   * removed while there are some.
   */
  readonly strangePinLines: readonly number[];
  /** Oldest first. A backup that is there was not removed, whatever this says. */
  readonly removals: readonly Removal[];
  /** Chips that have confirmed an image which came from elsewhere, oldest first. */
  readonly confirmations: readonly Confirmation[];
}

export const NOTHING_ABOUT: BoardAbout = { label: null, note: null, group: null };

export const NO_MARKS: BoardMarks = {
  about: NOTHING_ABOUT,
  pins: [],
  unpinned: [],
  strangePinLines: [],
  removals: [],
  confirmations: [],
};

/** The last value of each key counts. */
export function aboutOf(events: readonly LabelEvent[]): BoardAbout {
  return events.reduce<BoardAbout>(
    ({ label, note, group }, event) => ({
      label: event.label === undefined ? label : event.label,
      note: event.note === undefined ? note : event.note,
      group: event.group === undefined ? group : event.group,
    }),
    NOTHING_ABOUT,
  );
}

/** The last event of each backup counts. */
export function pinsOf(events: readonly PinEvent[]): Pin[] {
  const last = new Map(events.map((event) => [event.id, event]));
  const pins = [...last.values()].filter(({ pinned }) => pinned).map(({ id, at, note }) => ({ id, at, note }));
  return pins.sort((a, b) => (a.id < b.id ? -1 : 1));
}

function unpinnedOf(events: readonly PinEvent[]): string[] {
  const last = new Map(events.map(({ id, pinned }) => [id, pinned]));
  return [...last].flatMap(([id, pinned]) => (pinned ? [] : [id])).sort();
}

export function foldMarks(files: {
  readonly labels: Events<LabelEvent>;
  readonly pins: Events<PinEvent>;
  readonly removals: Events<Removal>;
  readonly confirmations: Events<Confirmation>;
}): BoardMarks {
  const { labels, pins, removals, confirmations } = files;
  return {
    about: aboutOf(labels.events),
    pins: pinsOf(pins.events),
    unpinned: unpinnedOf(pins.events),
    strangePinLines: pins.strangeLines,
    removals: removals.events,
    confirmations: confirmations.events,
  };
}

/**
 * Whether a chip has confirmed the image of a backup: when it was made, or later.
 * @param backup its manifest, as far as this needs it
 */
export function isConfirmed(
  backup: {
    readonly id: string;
    readonly manifest: { readonly confirmed: object | null; readonly image: { readonly md5: string } };
  },
  { confirmations }: Pick<BoardMarks, 'confirmations'>,
): boolean {
  const { id, manifest } = backup;
  if (manifest.confirmed !== null) return true;
  return confirmations.some((confirmation) => confirmation.id === id && confirmation.md5 === manifest.image.md5);
}

/** The pin of a backup; null where it has none. */
export function pinOf(id: string, { pins }: Pick<BoardMarks, 'pins'>): Pick<Pin, 'note'> | null {
  const pin = pins.find((each) => each.id === id);
  return pin === undefined ? null : { note: pin.note };
}
