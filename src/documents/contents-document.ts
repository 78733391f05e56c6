/** The document of `espd contents --json` and of the API. Types alone, so that the page has the same. */

import type { Inventory } from '../firmware/inventory-types.ts';

/** Of 64 KiB. `blank`: all 0xFF; `changed` and `erased`: another content than in the backup before, and now blank. */
export type FlashCell = 'blank' | 'data' | 'changed' | 'erased';

export interface ContentsDocument extends Inventory {
  readonly mac: string;
  readonly id: string;
  readonly sizeBytes: number;
  /** The backup that the map compares with; null where there is none before this one. */
  readonly before: { readonly id: string } | null;
  readonly map: { readonly blockBytes: number; readonly cells: readonly FlashCell[] };
}
