/** `espd watch`: the station live, until Ctrl-C: a screen at a terminal, else a line for each event that matters. */

import { type Followed, followStation } from '../../client/follow.ts';
import { systemClock } from '../../clock.ts';
import type { ServiceEvent } from '../../daemon/event-types.ts';
import { Station } from '../../daemon/station.ts';
import type { CommonOptions, Host } from '../host.ts';
import type { Output } from '../output.ts';
import { eventLine } from './event-line.ts';
import { daemonOf } from './find-daemon.ts';
import { Rates } from './rates.ts';
import { Screen } from './screen.ts';
import { watchLayout } from './watch-layout.ts';

export interface WatchCommandOptions {
  readonly bell: boolean;
}

/** Ctrl-C is how it ends: that is no failure. */
export async function watch(
  options: CommonOptions,
  host: Host,
  out: Output,
  { bell }: WatchCommandOptions,
): Promise<undefined> {
  const client = await daemonOf(options, host);
  const rates = new Rates();
  let station = new Station();
  let isGone = false;
  let screen: Screen | undefined;
  const frame = (size: { width: number; height: number }) =>
    watchLayout({ view: station.view, isGone, rates: rates.all }, size, new Date());
  try {
    for await (const followed of followStation(client, host.signal)) {
      if (followed.kind === 'state') {
        station = new Station(followed.status);
        rates.clear();
      } else if (followed.kind === 'event') {
        station.onEvent(followed.event);
        rates.onEvent(followed.event);
      }
      isGone = followed.kind === 'gone';
      if (out.json) {
        out.event(followed.kind === 'event' ? followed.event : jsonOf(followed));
        continue;
      }
      if (!out.isTerminal) {
        const line = lineOf(followed);
        if (line !== undefined) out.line(line);
        continue;
      }
      // The first state is there: what went wrong before stays on the screen of the person.
      if (screen === undefined) {
        screen = new Screen(host.terminal.stdout, { clock: systemClock, isStyled: out.isStyled }, frame);
        screen.open();
      } else screen.changed();
      if (bell && followed.kind === 'event' && wantsSomebody(followed.event)) screen.bell();
    }
  } catch (error) {
    if (!host.signal.aborted) throw error;
  } finally {
    screen?.close();
  }
  return undefined;
}

function lineOf(followed: Followed): string | undefined {
  switch (followed.kind) {
    case 'event':
      return eventLine(followed.event);
    case 'gone':
      return 'The daemon is gone, waiting for it';
    case 'back':
      return 'The daemon is back';
    case 'state':
      return followed.missed ? 'The daemon answers; some events were missed' : undefined;
  }
}

function jsonOf(followed: Exclude<Followed, { kind: 'event' }>): object {
  if (followed.kind === 'state') return { type: 'state', missed: followed.missed, status: followed.status };
  return followed.kind === 'gone' ? { type: 'gone', error: followed.error } : { type: 'back' };
}

/** A board may be unplugged, or something is wrong with it. */
function wantsSomebody(event: ServiceEvent): boolean {
  return (event.type === 'job-ended' && event.result !== 'dropped') || event.type === 'board-stuck';
}
