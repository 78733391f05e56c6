/** The flash as a map: a cell for each block of 64 KiB, in the colours of the partitions that lie there. */

import type { FlashCell } from '../../src/documents/contents-document.ts';
import type { PartColour } from './part-colours.ts';

interface Stretch {
  readonly offset: number;
  readonly sizeBytes: number;
}

interface FlashMapProps {
  readonly sizeBytes: number;
  readonly blockBytes: number;
  readonly parts: readonly (Stretch & { readonly colour: PartColour })[];
  /** Absent = the content of blocks is not told. */
  readonly cells?: readonly FlashCell[];
  /** Regions that differ, marked to the sector. */
  readonly changed?: readonly Stretch[];
  /** All of it in a sentence, for who cannot see it. */
  readonly label: string;
}

const ROW_CELLS = 32;
const CELL = 24;
const STEP = 28;

export function FlashMap({ sizeBytes, blockBytes, parts, cells, changed = [], label }: FlashMapProps) {
  const count = Math.ceil(sizeBytes / blockBytes);
  const rows = Math.ceil(count / ROW_CELLS);
  const placeOf = (block: number) => ({ x: (block % ROW_CELLS) * STEP, y: Math.floor(block / ROW_CELLS) * STEP });
  const blocks = Array.from({ length: count }, (_, block) => block);
  return (
    <svg
      class={changed.length > 0 ? 'flash-map dimmed' : 'flash-map'}
      role="img"
      aria-label={label}
      viewBox={`0 0 ${Math.min(count, ROW_CELLS) * STEP} ${rows * STEP}`}
    >
      {blocks.map((block) => {
        const cell = cells?.[block] ?? 'data';
        const { x, y } = placeOf(block);
        return (
          <g key={block} class={`cell ${cell}`}>
            <rect x={x} y={y} width={CELL} height={CELL} class="ground" />
            {inBlock(parts, block, blockBytes).map(({ from, to, what }) => (
              <rect key={from} x={x + from * CELL} y={y} width={(to - from) * CELL} height={CELL} class={what.colour} />
            ))}
            {inBlock(changed, block, blockBytes).map(({ from, to }) => (
              <rect
                key={from}
                x={x + from * CELL}
                y={y}
                width={Math.max(1.5, (to - from) * CELL)}
                height={CELL}
                class="differs"
              />
            ))}
            {cell === 'changed' && <circle cx={x + CELL / 2} cy={y + CELL / 2} r={5} class="mark" />}
          </g>
        );
      })}
    </svg>
  );
}

/** What of it lies in a block, as shares of the block. */
function inBlock<T extends Stretch>(
  stretches: readonly T[],
  block: number,
  blockBytes: number,
): { readonly from: number; readonly to: number; readonly what: T }[] {
  const begin = block * blockBytes;
  return stretches.flatMap((what) => {
    const from = Math.max(what.offset, begin) - begin;
    const to = Math.min(what.offset + what.sizeBytes, begin + blockBytes) - begin;
    return to > from ? [{ from: from / blockBytes, to: to / blockBytes, what }] : [];
  });
}

export function Swatch({ colour }: { colour: PartColour }) {
  return (
    <svg class="flash-map swatch" viewBox="0 0 16 16" aria-hidden="true">
      <rect width="16" height="16" rx="3" class={colour} />
    </svg>
  );
}
