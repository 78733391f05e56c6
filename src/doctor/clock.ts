/** The machine's clock: backups are named by it. */

import { idToDate } from '../archive/ids.ts';
import type { Facts } from './facts.ts';
import { whyNot } from './outside.ts';
import { parseProperties } from './parse.ts';
import { type Finding, asRoot, byHand, cannotCheck, note, ok, problem } from './types.ts';

/** espd was first written in November 2026: a machine that runs it and shows an earlier time has a wrong clock. */
const EARLIEST_MS = Date.UTC(2026, 10, 1);
/** Another machine that shares the archive may be so far ahead. */
const TOLERANCE_MS = 5 * 60 * 1000;

export async function checkClock(facts: Facts): Promise<Finding[]> {
  const backups = await facts.backups();
  const found = judgeClock(facts.clock.date(), backups?.newest ?? null);
  const ran = await facts.outside.run(['timedatectl', 'show']);
  const why = whyNot('timedatectl', ran);
  if (why !== null || ran.outcome !== 'ended') {
    return [found, cannotCheck('clock-ntp', 'Whether the clock is set by network', why ?? '')];
  }
  return [found, judgeNtp(parseProperties(ran.stdout))];
}

/** @param newest the newest backup's id; null where there is none, or none is known */
export function judgeClock(now: Date, newest: string | null): Finding {
  const newestMs = newest === null ? undefined : idToDate(newest)?.getTime();
  const detail = 'Backups are named by their time: a wrong clock makes old ones look new, and keeps prune from working';
  const remedy = byHand(asRoot('timedatectl', 'set-ntp', 'true'));
  if (now.getTime() < EARLIEST_MS) {
    return problem('clock', `The clock is wrong: it shows ${stamp(now)}`, { detail, remedy });
  }
  if (newestMs !== undefined && now.getTime() < newestMs - TOLERANCE_MS) {
    const title = `The clock is wrong, or was: it shows ${stamp(now)}, before the newest backup (${newest ?? ''})`;
    return problem('clock', title, { detail, remedy });
  }
  return ok('clock', `The clock shows a time that can be: ${stamp(now)}`);
}

/** @param properties of `timedatectl show`: NTP (is it switched on), NTPSynchronized (has it set the clock), CanNTP */
export function judgeNtp(properties: ReadonlyMap<string, string>): Finding {
  const id = 'clock-ntp';
  const synchronized = properties.get('NTPSynchronized');
  if (synchronized === undefined)
    return cannotCheck(id, 'Whether the clock is set by network', 'timedatectl does not say');
  if (synchronized === 'yes') return ok(id, 'The clock is set by network (NTP)');
  if (properties.get('NTP') === 'yes') {
    return note(id, 'The clock is not set by network yet', { detail: 'NTP is on and has reached no server so far' });
  }
  const remedy = properties.get('CanNTP') === 'no' ? undefined : byHand(asRoot('timedatectl', 'set-ntp', 'true'));
  return note(id, 'Nothing sets the clock by network', {
    detail: 'A machine without a battery for its clock needs it',
    remedy,
  });
}

function stamp(date: Date): string {
  return `${date.toISOString().slice(0, 19)}Z`;
}
