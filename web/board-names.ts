/** The boards of the archive, read once for all parts of the page that name or list them. */

import { computed, effect, signal } from '@preact/signals';
import type { ServiceEvent } from '../src/daemon/event-types.ts';
import { type ApiError, ask } from './api.ts';
import type { BoardRow, BoardsDocument } from './documents.ts';
import { generation, onEvent } from './live.ts';
import { asApiError } from './use-document.ts';

export const boardsDocument = signal<BoardsDocument | undefined>(undefined);
export const boardsError = signal<ApiError | null>(null);

const byMac = computed(() => new Map(boardsDocument.value?.boards.map((board) => [board.mac, board]) ?? []));

export function boardOf(mac: string | null): BoardRow | undefined {
  return mac === null ? undefined : byMac.value.get(mac);
}

/** Its label, or the MAC. Raw: print it through `printable`. */
export function nameOf(mac: string): string {
  return boardOf(mac)?.label ?? mac;
}

/** What makes the list old. */
const CHANGING: ReadonlySet<string> = new Set([
  ...['backup-kept', 'backup-unchanged', 'new-board', 'half-restored', 'board-described', 'backup-pinned'],
  ...['backup-removed', 'pruned', 'archive-damaged', 'archive-verified'],
]);

export function changesBoards(event: ServiceEvent): boolean {
  return (
    CHANGING.has(event.type) || (event.type === 'job-ended' && event.kind !== 'backup' && event.kind !== 'identify')
  );
}

/** Of a large fleet the list is long: not oftener than this. */
const SETTLE_MS = 1500;
let timer: ReturnType<typeof setTimeout> | undefined;

async function read(): Promise<void> {
  try {
    boardsDocument.value = await ask<BoardsDocument>('/v1/boards');
    boardsError.value = null;
  } catch (error) {
    boardsError.value = asApiError(error);
  }
  timer = undefined;
}

export function followBoards(): void {
  onEvent((event) => {
    if (changesBoards(event)) timer ??= setTimeout(() => void read(), SETTLE_MS);
  });
  effect(() => {
    if (generation.value > 0) void read();
  });
}
