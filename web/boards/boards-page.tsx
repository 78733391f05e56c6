/** All boards of the archive, what needs somebody first. */

import { useEffect, useMemo, useRef } from 'preact/hooks';
import { SORT_KEYS } from '../../src/cli/list-filter.ts';
import { plural } from '../../src/cli/text.ts';
import { printable } from '../../src/printable.ts';
import { boardsDocument, boardsError } from '../board-names.ts';
import type { BoardRow } from '../documents.ts';
import { view } from '../live.ts';
import { ErrorNotice } from '../parts/notice.tsx';
import { now } from '../parts/when.tsx';
import { replaceQuery, route } from '../route.ts';
import { boardsAs } from '../settings.ts';
import { type Wish, chosenBoards } from './board-filter.ts';
import { BoardList } from './board-list.tsx';

export function BoardsPage() {
  const { value: document } = boardsDocument;
  const { value: error } = boardsError;
  const wish = wishIn(route.value.query);
  // The station has another picture with each event; the boards are judged and sorted anew only where that matters.
  const attention = view.value.attention.filter(({ mac }) => mac !== null);
  const { boards, problem } = useMemo(
    () => chosenBoards(document?.boards ?? [], wish, { attention, nowMs: now.value }),
    [document, JSON.stringify(wish), JSON.stringify(attention)],
  );
  const set = (change: Partial<Wish>) => replaceQuery({ ...wish, ...change });
  return (
    <>
      <div class="heading">
        <h1>Boards</h1>
        <p class="detail" role="status">
          {document === undefined
            ? 'Reading the archive…'
            : boards.length === document.total
              ? plural(document.total, 'board')
              : `${boards.length} of ${plural(document.total, 'board')}`}
        </p>
        <ViewSwitch />
      </div>
      {error !== null && <ErrorNotice error={error} />}
      <Filters boards={document?.boards ?? []} wish={wish} set={set} problem={problem} />
      {document?.total === 0 && (
        <div class="notice">
          <p>
            <strong>The archive is empty.</strong> Plug a board in: its flash is here some seconds later.
          </p>
        </div>
      )}
      {document !== undefined && document.total > 0 && boards.length === 0 && <p>No board fits.</p>}
      {boards.length > 0 && <BoardList boards={boards} asGrid={boardsAs.value === 'grid'} />}
    </>
  );
}

function wishIn(query: URLSearchParams): Wish {
  const of = (name: keyof Wish) => query.get(name) ?? '';
  return {
    ...{ search: of('search'), chip: of('chip'), group: of('group'), firmware: of('firmware'), unseen: of('unseen') },
    ...{ only: of('only'), sort: of('sort') || 'needs' },
  };
}

function ViewSwitch() {
  return (
    <div class="row" role="group" aria-label="Show as">
      {['table', 'grid'].map((kind) => (
        <button key={kind} type="button" aria-pressed={boardsAs.value === kind} onClick={() => (boardsAs.value = kind)}>
          {kind === 'table' ? 'Table' : 'Grid'}
        </button>
      ))}
    </div>
  );
}

interface FiltersProps {
  readonly boards: readonly BoardRow[];
  readonly wish: Wish;
  readonly set: (change: Partial<Wish>) => void;
  readonly problem: string | null;
}

const SORT_NAMES: Readonly<Record<string, string>> = {
  ...{ needs: 'What needs attention', label: 'Label', mac: 'MAC', chip: 'Chip', firmware: 'Firmware' },
  ...{ seen: 'Last seen', size: 'Flash size', backups: 'Backups' },
};

function Filters({ boards, wish, set, problem }: FiltersProps) {
  const search = useRef<HTMLInputElement>(null);
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const isTyping = event.target instanceof HTMLElement && /^(?:INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
      if (event.key !== '/' || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      search.current?.focus();
    };
    addEventListener('keydown', onKey);
    return () => removeEventListener('keydown', onKey);
  }, []);
  const chips = useMemo(() => distinct(boards.map(({ chip }) => chip)), [boards]);
  const groups = useMemo(() => distinct(boards.map(({ group }) => group)), [boards]);
  return (
    <form class="filters" role="search" onSubmit={(event) => event.preventDefault()}>
      <label class="field wide">
        Search (press /)
        <input
          ref={search}
          type="search"
          placeholder="Label, MAC, chip, firmware, note"
          value={wish.search}
          onInput={({ currentTarget }) => set({ search: currentTarget.value })}
        />
      </label>
      <label class="field">
        Firmware
        <input
          placeholder="Tasmota <13"
          value={wish.firmware}
          aria-invalid={problem !== null}
          aria-describedby={problem === null ? undefined : 'range-problem'}
          onInput={({ currentTarget }) => set({ firmware: currentTarget.value })}
        />
      </label>
      <Select label="Chip" value={wish.chip} options={withAny(chips)} onChange={(chip) => set({ chip })} />
      {groups.length > 0 && (
        <Select label="Group" value={wish.group} options={withAny(groups)} onChange={(group) => set({ group })} />
      )}
      <Select label="Not seen for" value={wish.unseen} options={UNSEEN} onChange={(unseen) => set({ unseen })} />
      <Select label="Only" value={wish.only} options={ONLY} onChange={(only) => set({ only })} />
      <Select label="Order" value={wish.sort} options={SORTS} onChange={(sort) => set({ sort })} />
      {problem !== null && (
        <p id="range-problem" class="detail wide" role="status">
          {printable(problem)}
        </p>
      )}
    </form>
  );
}

type Options = readonly (readonly [value: string, name: string])[];

const UNSEEN: Options = [
  ['', 'Any time'],
  ['1', 'A day'],
  ['7', 'A week'],
  ['30', 'A month'],
  ['365', 'A year'],
];
const ONLY: Options = [
  ['', 'All'],
  ['needs', 'Need attention'],
  ['damaged', 'Damaged'],
  ['half', 'Half restored'],
];
const SORTS: Options = ['needs', ...SORT_KEYS].map((key) => [key, SORT_NAMES[key] ?? key]);

function Select(props: { label: string; value: string; options: Options; onChange: (value: string) => void }) {
  return (
    <label class="field">
      {props.label}
      <select value={props.value} onChange={({ currentTarget }) => props.onChange(currentTarget.value)}>
        {props.options.map(([value, name]) => (
          <option key={value} value={value}>
            {printable(name)}
          </option>
        ))}
      </select>
    </label>
  );
}

function withAny(values: readonly string[]): Options {
  return [['', 'Any'], ...values.map((value) => [value, value] as const)];
}

function distinct(values: readonly (string | null)[]): string[] {
  return [...new Set(values.filter((value) => value !== null))].sort((a, b) => a.localeCompare(b));
}
