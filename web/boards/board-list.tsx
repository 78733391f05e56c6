/** Boards as a table and as a grid; of thousands only those on the screen are in the document. */

import { useEffect, useState } from 'preact/hooks';
import { formatSize, plural } from '../../src/cli/text.ts';
import type { PortView } from '../../src/daemon/station.ts';
import { stationText } from '../../src/archive/station-text.ts';
import { printable } from '../../src/printable.ts';
import { view } from '../live.ts';
import { momentOf } from '../backup-id.ts';
import { VirtualRows } from '../parts/virtual-rows.tsx';
import { When } from '../parts/when.tsx';
import { linkTo } from '../route.ts';
import { BoardActions } from './board-actions.tsx';
import type { ShownBoard } from './board-filter.ts';

const ROW_PX = 64;
const CARD_PX = 236;
const CARD_WIDTH_PX = 320;
/** Below this a table has no room, and its rows are cards. */
const NARROW_PX = 1160;

function useWidth(): number {
  const [width, setWidth] = useState(innerWidth);
  useEffect(() => {
    const measure = () => setWidth(innerWidth);
    addEventListener('resize', measure);
    return () => removeEventListener('resize', measure);
  }, []);
  return width;
}

export function BoardList({ boards, asGrid }: { boards: readonly ShownBoard[]; asGrid: boolean }) {
  const width = useWidth();
  const ports = new Map<string | null, PortView>(view.value.ports.map((port) => [port.mac, port]));
  if (!asGrid && width >= NARROW_PX) return <Table boards={boards} ports={ports} />;
  const columns = Math.max(1, Math.floor((Math.min(width, 1440) - 24) / CARD_WIDTH_PX));
  return (
    <VirtualRows
      count={Math.ceil(boards.length / columns)}
      rowHeightPx={CARD_PX}
      render={(index) => (
        <ul key={index} class="card-row" style={{ gridTemplateColumns: `repeat(${columns}, minmax(0, 1fr))` }}>
          {boards.slice(index * columns, (index + 1) * columns).map((board) => (
            <Card key={board.mac} board={board} port={ports.get(board.mac)} />
          ))}
        </ul>
      )}
    />
  );
}

interface ListProps {
  readonly boards: readonly ShownBoard[];
  readonly ports: ReadonlyMap<string | null, PortView>;
}

const HEADINGS = ['Board', 'Chip', 'Firmware', 'Last backup', 'Last seen', 'Flash', 'Do'];

function Table({ boards, ports }: ListProps) {
  return (
    <div class="board-table" role="table" aria-label="Boards" aria-rowcount={boards.length + 1}>
      <div role="rowgroup">
        <div class="board-row head" role="row" aria-rowindex={1}>
          {HEADINGS.map((heading) => (
            <span key={heading} role="columnheader">
              {heading}
            </span>
          ))}
        </div>
      </div>
      <VirtualRows
        role="rowgroup"
        count={boards.length}
        rowHeightPx={ROW_PX}
        render={(index) => {
          const board = boards[index];
          return board && <Row key={board.mac} board={board} port={ports.get(board.mac)} index={index + 2} />;
        }}
      />
    </div>
  );
}

interface OneProps {
  readonly board: ShownBoard;
  readonly port: PortView | undefined;
}

function Row({ board, port, index }: OneProps & { readonly index: number }) {
  const { row } = board;
  return (
    <div class="board-row" role="row" aria-rowindex={index}>
      <span role="cell" class="board-cell">
        <span class="board-line">
          <Name board={board} />
          <Badges board={board} port={port} />
        </span>
        <span class="cut detail">
          {row.label !== null && <span class="mono">{row.mac}</span>}
          {row.group !== null && ` ${printable(row.group)}`}
        </span>
      </span>
      <span role="cell" class="cut">
        {printable(row.chip ?? '?')}
      </span>
      <span role="cell" class="cut" title={printable(row.firmware ?? '')}>
        {printable(row.firmware ?? '—')}
      </span>
      <span role="cell" class="board-cell">
        <LastBackup board={board} />
        <span class="cut detail" title={countText(row)}>
          {row.places === null ? countText(row) : placesText(row.places)}
        </span>
      </span>
      <span role="cell" class="board-cell">
        <When at={row.lastSeen} />
        {row.lastSeenBy !== null && <Station name={row.lastSeenBy} />}
      </span>
      <span role="cell">{row.sizeBytes === null ? '?' : formatSize(row.sizeBytes)}</span>
      <span role="cell">
        <BoardActions mac={row.mac} name={row.label ?? row.mac} />
      </span>
    </div>
  );
}

function Card({ board, port }: OneProps) {
  const { row } = board;
  return (
    <li class="board-card">
      <Name board={board} />
      <p class="cut detail">
        <span class="mono">{row.mac}</span> · {printable(row.chip ?? '?')}
        {row.sizeBytes === null ? '' : ` · ${formatSize(row.sizeBytes)}`}
      </p>
      <p class="cut">{printable(row.firmware ?? 'Firmware unknown')}</p>
      <p class="cut detail">{countText(row)}</p>
      <p class="cut detail">
        Seen <When at={row.lastSeen} />
        {row.lastSeenBy !== null && ` by ${stationText(row.lastSeenBy)}`} · backup <LastBackup board={board} />
      </p>
      <p class="cut">
        <Badges board={board} port={port} />
      </p>
      <BoardActions mac={row.mac} name={row.label ?? row.mac} />
    </li>
  );
}

function Station({ name }: { name: string }) {
  return (
    <span class="cut detail" title={name}>
      by {stationText(name)}
    </span>
  );
}

/** How many backups there are, and of those in a store how many lie where. */
function countText({ backups, places }: ShownBoard['row']): string {
  const count = plural(backups, 'backup');
  return places === null ? count : `${count}: ${placesText(places)}`;
}

function placesText({ here, store }: NonNullable<ShownBoard['row']['places']>): string {
  return `${here} here, ${store} in the store`;
}

function Name({ board: { row } }: { board: ShownBoard }) {
  const name = printable(row.label ?? row.mac);
  return (
    <a class="cut board-name" href={linkTo(['boards', row.mac])} title={name}>
      {name}
    </a>
  );
}

function Badges({ board, port }: OneProps) {
  return (
    <>
      {board.needs.map(({ kind, text }) => (
        <span key={text} class={`badge ${kind}`}>
          {printable(text)}
        </span>
      ))}
      {port !== undefined && <PortBadge port={port} />}
    </>
  );
}

function PortBadge({ port: { state } }: { port: PortView }) {
  if (state === 'working' || state === 'waiting') return <span class="badge busy">Working</span>;
  if (state === 'done') return <span class="badge good">Done</span>;
  return <span class="badge">Plugged in</span>;
}

/** A backup id is its time. */
function LastBackup({ board: { row } }: { board: ShownBoard }) {
  return <When at={row.latest === null ? null : momentOf(row.latest)} />;
}
