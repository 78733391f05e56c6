/** A daemon that has nothing to do holds nothing and does nothing. */

import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type { Lab } from '../lab.ts';

/** A busy loop takes all of this; a daemon that waits takes next to nothing, even in an emulated guest. */
const OBSERVED_MS = 4000;
const BUSY_SHARE = 0.5;
/** What is left of the work may take its time: a look for ports, the end of a job. */
const LOOKS = 5;

/** No tty is open any more, and the daemon does not spin. */
export async function assertAtRest(lab: Lab): Promise<void> {
  const pid = await lab.mainPid();
  await lab.until('no tty is held open', `! ls -l /proc/${pid}/fd | grep -E 'tty(USB|ACM)'`);
  let share = 1;
  for (let look = 0; look < LOOKS && share >= BUSY_SHARE; look++) share = await usedShare(lab, pid);
  assert.ok(share < BUSY_SHARE, `the daemon uses ${(share * 100).toFixed(0)} % of a core`);
}

/** How many descriptors the daemon has open. */
export async function openDescriptors(lab: Lab): Promise<number> {
  return Number(await lab.guest.check(`ls /proc/${await lab.mainPid()}/fd | wc -l`));
}

/** Of one core, by the guest's own clock: how fast the guest runs does not matter. */
async function usedShare(lab: Lab, pid: number): Promise<number> {
  const look = async () => {
    // Fields 14 and 15 of proc(5), /proc/pid/stat: ticks in user and kernel mode, 100 a second.
    const command = `cut -d' ' -f1 /proc/uptime; cut -d')' -f2 /proc/${pid}/stat | awk '{ print $12 + $13 }'`;
    const [seconds = 0, ticks = 0] = (await lab.guest.check(command)).split('\n').map(Number);
    return { seconds, busySeconds: ticks / 100 };
  };
  const before = await look();
  await delay(OBSERVED_MS);
  const after = await look();
  return (after.busySeconds - before.busySeconds) / (after.seconds - before.seconds);
}
