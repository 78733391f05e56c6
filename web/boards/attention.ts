/** Which boards need somebody, and why. Pure. */

import { stationText } from '../../src/archive/station-text.ts';
import type { StationView } from '../../src/daemon/station.ts';
import type { BoardRow } from '../documents.ts';

export interface Need {
  readonly kind: 'bad' | 'warn';
  /** A few words. */
  readonly text: string;
}

/** The weightiest first; empty = the board is safe. */
export function needsOf(board: BoardRow, attention: StationView['attention']): Need[] {
  const needs: Need[] = [];
  if (board.halfRestored !== null) {
    const { station } = board.halfRestored;
    needs.push({
      kind: 'bad',
      text: station === undefined ? 'Half restored' : `Half restored at ${stationText(station)}`,
    });
  }
  if (board.isDamaged === true) needs.push({ kind: 'bad', text: 'Damaged backup' });
  for (const { mac, error } of attention) {
    if (mac !== board.mac || error.code === 'half-restored') continue;
    needs.push({ kind: 'bad', text: error.message });
  }
  if (board.chipChange !== null) {
    needs.push({ kind: 'warn', text: board.chipChange.kind === 'chip' ? 'Another chip' : 'Another flash chip' });
  }
  if (board.backups === 0) needs.push({ kind: 'warn', text: 'No backup' });
  return needs;
}

/** The greater, the sooner somebody should look. */
export function urgencyOf(needs: readonly Need[]): number {
  return needs.reduce((sum, { kind }) => sum + (kind === 'bad' ? 10 : 1), 0);
}
