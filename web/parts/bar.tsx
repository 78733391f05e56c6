/** How far something is. */

interface BarProps {
  /** What is counted, for a screen reader. */
  readonly label: string;
  /** 0 to 100; null = it is not known. */
  readonly percent: number | null;
}

export function Bar({ label, percent }: BarProps) {
  // Without a value the element itself says that it is under way.
  return percent === null ? <progress aria-label={label} /> : <progress aria-label={label} max={100} value={percent} />;
}
