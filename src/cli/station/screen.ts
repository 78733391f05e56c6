/** The whole screen of a terminal, redrawn in place; what was on it before comes back at the end. */

import type { Clock } from '../../clock.ts';
import type { TerminalStream } from '../output.ts';
import { type Span, renderLine } from '../text.ts';

/** What a frame is made for. */
export interface FrameSize {
  readonly width: number;
  readonly height: number;
}

/** Changes that come at once are one frame. */
const FRAME_MS = 80;
/** The time of day, and how long something takes, go on by themselves. */
const TICK_MS = 1000;
/**
 * The other screen, and the cursor hidden; and back.
 * https://invisible-island.net/xterm/ctlseqs/ctlseqs.html (DECSET 1049 and 25)
 */
const ENTER = '\x1b[?1049h\x1b[?25l';
const LEAVE = '\x1b[?25h\x1b[?1049l';

export class Screen {
  readonly #stream: TerminalStream;
  readonly #styled: boolean;
  readonly #clock: Clock;
  readonly #frame: (size: FrameSize) => readonly (readonly Span[])[];
  readonly #onResize = () => {
    this.#shown = '';
    this.changed();
  };
  #cancel: () => void = () => undefined;
  #isDue = false;
  #shown = '';

  constructor(
    stream: TerminalStream,
    { clock, isStyled }: { readonly clock: Clock; readonly isStyled: boolean },
    frame: (size: FrameSize) => readonly (readonly Span[])[],
  ) {
    this.#stream = stream;
    this.#styled = isStyled;
    this.#clock = clock;
    this.#frame = frame;
  }

  open(): void {
    this.#stream.write(ENTER);
    this.#stream.on?.('resize', this.#onResize);
    this.#draw();
  }

  /** The next frame is another one. */
  changed(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    this.#cancel();
    this.#cancel = this.#clock.schedule(FRAME_MS, () => this.#draw());
  }

  bell(): void {
    this.#stream.write('\x07');
  }

  close(): void {
    this.#cancel();
    this.#stream.off?.('resize', this.#onResize);
    this.#stream.write(LEAVE);
  }

  #draw(): void {
    this.#isDue = false;
    this.#cancel();
    this.#cancel = this.#clock.schedule(TICK_MS, () => this.#draw());
    // A terminal that is stopped must not make the process keep all frames.
    if (this.#stream.writableNeedDrain === true) return;
    // In the last column a terminal may wrap.
    const size = { width: Math.max(1, (this.#stream.columns || 80) - 1), height: this.#stream.rows || 24 };
    const lines = this.#frame(size).map((line) => `${renderLine(line, this.#styled)}\x1b[K`);
    // Home, each line over the old one, and only then what is left below: nothing is blank in between.
    const text = `\x1b[H${lines.join('\r\n')}\x1b[J`;
    if (text === this.#shown) return;
    this.#shown = text;
    this.#stream.write(text);
  }
}
