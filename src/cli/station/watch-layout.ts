/** The screen of `espd watch`: a block a port, its mark in a band that can be told from two metres. Pure. */

import type { PortView, StationView } from '../../daemon/station.ts';
import { barOf, timeLeft } from '../progress.ts';
import { type Span, type Styled, bold, dim, formatSize, wrapText } from '../text.ts';
import { clockOf, cut, markOf, percentOf, placeOf, resultText } from './words.ts';

export interface WatchState {
  readonly view: StationView;
  /** The daemon does not answer now. */
  readonly isGone: boolean;
  /** Flash bytes a second of the phase that runs at a port; absent where it is not known yet. */
  readonly rates: ReadonlyMap<string, number>;
}

export interface ScreenSize {
  /** Characters a line, and lines; both at least 1. */
  readonly width: number;
  readonly height: number;
}

type Line = readonly Span[];

/** What somebody waits for comes first where not all has room. */
const URGENCY = ['failed', 'done', 'working', 'waiting', 'held', 'idle', 'left-alone'];
const BANDS: Readonly<Record<string, Styled['style']>> = {
  done: 'greenBand',
  failed: 'redBand',
  working: 'cyanBand',
  waiting: 'yellowBand',
  held: 'yellowBand',
};
const MOST_BAR = 60;
const LEAST_BAR = 8;

/**
 * @param now for the head of the screen
 * @returns at most `height` lines of at most `width` characters each
 */
export function watchLayout(state: WatchState, { width, height }: ScreenSize, now: Date): Line[] {
  const ports = [...state.view.ports].sort((a, b) => a.port.localeCompare(b.port, 'en', { numeric: true }));
  const head = headLine(state, width, now);
  const rest = state.view.attention.filter(({ about }) => about !== 'port').slice(-3);
  const room = height - 1;
  const blocks = (size: number) => ports.map((view) => block(view, state.rates.get(view.port), width, size));
  // The largest form in which all ports have room: with a blank line between, without, a line each.
  for (const size of [4, 3, 2, 1]) {
    if (ports.length * size > room) continue;
    const lines = [head, ...blocks(size).flat()];
    const notes = rest.slice(0, Math.max(0, height - lines.length)).map(({ about, port, mac, error }): Line => {
      const where = [port, mac].filter((part) => part !== null).join(' ') || about;
      return [cut(`! ${where}: ${error.message}`, width)];
    });
    const empty = ports.length === 0 && height > 1 ? [[cut('Plug a board in', width)]] : [];
    return [...lines, ...empty, ...notes].slice(0, height);
  }
  const rank = ({ state: at }: PortView) => (URGENCY.indexOf(at) + URGENCY.length + 1) % (URGENCY.length + 1);
  const shown = [...ports].sort((a, b) => rank(a) - rank(b)).slice(0, Math.max(0, room - 1));
  const lines = shown.flatMap((view) => block(view, state.rates.get(view.port), width, 1));
  const more: Line = [cut(`... ${ports.length - shown.length} more ports: make the window taller`, width)];
  return [head, ...lines, more].slice(0, height);
}

function headLine({ view, isGone }: WatchState, width: number, now: Date): Line {
  const time = clockOf(now.toISOString());
  if (isGone) return [band('redBand', `DAEMON IS GONE, waiting for it   ${time}`, width)];
  const count = (state: string) => view.ports.filter((port) => port.state === state).length;
  const counts = (['working', 'waiting', 'done', 'failed'] as const)
    .filter((state) => count(state) > 0)
    .map((state) => `${count(state)} ${state}`);
  const text = `espd watch   ${counts.join(', ') || 'waiting for boards'}`;
  const padded =
    text.length + 1 + time.length <= width ? `${text.padEnd(width - time.length)}${time}` : cut(text, width);
  return [bold(padded)];
}

function block(view: PortView, rate: number | undefined, width: number, size: number): Line[] {
  const { mark, why } = markOf(view);
  const said = why === '' ? mark : `${mark}: ${why}`;
  const board = [view.mac, view.chip].filter((part) => part !== null).join('  ');
  const name = board === '' ? placeOf(view) : `${placeOf(view)}  ${board}`;
  const style = BANDS[view.state];
  const inBand = (text: string): Span => (style === undefined ? dim(cut(` ${text}`, width)) : band(style, text, width));
  // The mark first: it is what must be left where the line is cut.
  if (size === 1) return [[inBand(`${said}  ${name}`)]];
  const told = detail(view, rate, width - 1);
  // What somebody has to do takes the blank line where it is longer than one.
  const isLong = size === 4 && view.state === 'failed' && told.length >= width;
  const details = isLong ? wrapText(told, width - 1).slice(0, 2) : [told];
  const lines: Line[] = [[inBand(said)], [cut(` ${name}`, width)]];
  if (size >= 3) lines.splice(1, 0, ...details.map((line): Line => [cut(` ${line}`, width)]));
  while (lines.length < size) lines.push([]);
  return lines;
}

function band(style: Styled['style'], text: string, width: number): Styled {
  return { style, text: cut(` ${text}`, width).padEnd(width) };
}

function detail(view: PortView, rate: number | undefined, width: number): string {
  const { state, doneBytes, totalBytes, error, retryAt, result } = view;
  if (state === 'working') {
    const percent = percentOf(view);
    if (percent === null || doneBytes === null || totalBytes === null) return '';
    const left =
      rate === undefined
        ? ''
        : `, ${formatSize(Math.round(rate))}/s, ${timeLeft(((totalBytes - doneBytes) / rate) * 1000)}`;
    const tail = ` ${formatSize(doneBytes)} of ${formatSize(totalBytes)}${left}`;
    const room = Math.min(MOST_BAR, width - tail.length - 2);
    return room < LEAST_BAR ? tail.trimStart() : barOf(percent / 100, room) + tail;
  }
  if (state === 'failed') {
    const again = retryAt === null ? '' : `Tried again at ${clockOf(retryAt)}. `;
    return again + (error?.hint ?? '');
  }
  return result === null ? '' : resultText(result);
}
