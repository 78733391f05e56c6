/** A long list of which only what is on the screen is in the document. Rows have one height; the window scrolls. */

import type { ComponentChildren } from 'preact';
import { useLayoutEffect, useRef, useState } from 'preact/hooks';

/** Rows above and below the screen that are there already. */
const OVERSCAN = 6;

interface VirtualRowsProps {
  readonly count: number;
  readonly rowHeightPx: number;
  /** The row with that number; it has to have the height that is said. */
  readonly render: (index: number) => ComponentChildren;
  readonly role?: 'rowgroup' | 'list';
}

export function VirtualRows({ count, rowHeightPx, render, role }: VirtualRowsProps) {
  const box = useRef<HTMLDivElement>(null);
  const [range, setRange] = useState({ first: 0, last: Math.min(count, 40) });

  useLayoutEffect(() => {
    const measure = () => {
      const top = box.current?.getBoundingClientRect().top ?? 0;
      const first = Math.max(0, Math.floor(-top / rowHeightPx) - OVERSCAN);
      const last = Math.min(count, Math.ceil((innerHeight - top) / rowHeightPx) + OVERSCAN);
      setRange((before) => (before.first === first && before.last === last ? before : { first, last }));
    };
    measure();
    addEventListener('scroll', measure, { passive: true });
    addEventListener('resize', measure);
    return () => {
      removeEventListener('scroll', measure);
      removeEventListener('resize', measure);
    };
  }, [count, rowHeightPx]);

  const first = Math.min(range.first, Math.max(0, count - 1));
  const rows: ComponentChildren[] = [];
  for (let index = first; index < Math.min(range.last, count); index++) rows.push(render(index));
  return (
    <div ref={box} role={role} style={{ height: `${count * rowHeightPx}px`, paddingTop: `${first * rowHeightPx}px` }}>
      {rows}
    </div>
  );
}
