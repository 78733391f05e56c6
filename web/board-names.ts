/** The boards of the archive, known once for all parts of the page that name or list them. */

import { computed, effect, signal } from '@preact/signals';
import { type ApiError, askIfChanged } from './api.ts';
import { BoardFeed } from './board-feed.ts';
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

export function followBoards(): void {
  const feed = new BoardFeed({
    ask: async (path, tag) => {
      const answer = await askIfChanged(path, tag);
      return answer === 'unchanged' ? answer : { ...answer, document: answer.document as BoardsDocument };
    },
    show: (document) => (boardsDocument.value = document),
    fail: (error) => (boardsError.value = error === null ? null : asApiError(error)),
    schedule: (ms, work) => {
      const timer = setTimeout(work, ms);
      return () => clearTimeout(timer);
    },
  });
  onEvent((event) => feed.onEvent(event));
  effect(() => {
    if (generation.value > 0) feed.readAll();
  });
}
