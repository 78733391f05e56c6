/** All checks, side by side, each within its time; and what they come to. */

import { withTimeout } from '../clock.ts';
import { checkArchive } from './archive.ts';
import { checkHealth, checkSpace } from './archive-health.ts';
import { checkClock } from './clock.ts';
import { checkConfig } from './config.ts';
import { type Facts, factsAbout } from './facts.ts';
import { checkBrltty, checkModemManager } from './grabbers.ts';
import { checkGroups } from './groups.ts';
import { checkNetwork } from './network.ts';
import { checkPage } from './page.ts';
import { checkPorts } from './ports.ts';
import { checkProgram } from './program.ts';
import { checkRemotes } from './remotes.ts';
import { checkService } from './service.ts';
import { checkSocket } from './socket.ts';
import { checkState } from './state.ts';
import { checkStore } from './store.ts';
import type { Subject } from './subject.ts';
import { type DoctorReport, type Finding, cannotCheck, toCheck } from './types.ts';
import { checkUdev } from './udev.ts';
import { checkUsb } from './usb.ts';
import { checkWritable } from './writable.ts';

/** Programs that are asked have 5 s; several of them one after the other, on a loaded machine, need more. */
const LIMIT_MS = 15_000;

interface CheckGroup {
  readonly id: string;
  /** The subject of "... cannot be checked". */
  readonly what: string;
  readonly check: (facts: Facts) => Promise<Finding[]>;
}

/** In the order in which a person reads them: what is needed first comes first. */
const GROUPS: readonly CheckGroup[] = [
  { id: 'program', what: 'Node and packages', check: checkProgram },
  { id: 'config', what: 'The config', check: checkConfig },
  { id: 'clock', what: 'The clock', check: checkClock },
  { id: 'archive', what: 'The archive', check: checkArchive },
  { id: 'archive-sample', what: 'What is in the archive', check: checkHealth },
  { id: 'disk-space', what: 'Room on the disk', check: checkSpace },
  { id: 'store', what: 'The object store', check: checkStore },
  { id: 'port-rights', what: 'Rights on ports', check: checkPorts },
  { id: 'remotes', what: 'Remotes', check: checkRemotes },
  { id: 'groups', what: 'Groups', check: checkGroups },
  { id: 'udev-rules', what: 'udev rules', check: checkUdev },
  { id: 'modem-manager', what: 'ModemManager', check: checkModemManager },
  { id: 'brltty', what: 'brltty', check: checkBrltty },
  { id: 'usb', what: 'USB', check: checkUsb },
  { id: 'service', what: 'The service', check: checkService },
  { id: 'service-writable', what: 'Where the service writes', check: checkWritable },
  { id: 'state', what: 'The state of this installation', check: checkState },
  { id: 'service-network', what: 'The network of the service', check: checkNetwork },
  { id: 'page-password', what: 'The page of the daemon', check: checkPage },
  { id: 'socket', what: "The daemon's socket", check: checkSocket },
];

/** Never rejects: what throws or takes too long cannot be checked, and the others go on. */
export async function examine(subject: Subject, groups: readonly CheckGroup[] = GROUPS): Promise<readonly Finding[]> {
  const facts = factsAbout(subject);
  const found = await Promise.all(groups.map((group) => withinLimit(group, facts)));
  return found.flat();
}

async function withinLimit({ id, what, check }: CheckGroup, facts: Facts): Promise<Finding[]> {
  try {
    const late = () => new Error(`no answer within ${LIMIT_MS / 1000} s`);
    return await withTimeout(facts.clock, LIMIT_MS, check(facts), late);
  } catch (error) {
    return [cannotCheck(id, what, error instanceof Error ? error.message : String(error))];
  }
}

/** As `--json` and the API give it. @param isRoot commands need no `sudo` */
export function reportOf(findings: readonly Finding[], isRoot: boolean): DoctorReport {
  const checks = findings.map((finding) => toCheck(finding, isRoot));
  return { checks, ok: checks.every(({ status }) => status !== 'problem') };
}
