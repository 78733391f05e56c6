/** The service as systemd has it: does it run, is it the espd that is installed, is its unit the one of this package. */

import { dirname, join, resolve } from 'node:path';
import type { Facts } from './facts.ts';
import { processStartMs } from './parse.ts';
import {
  ADMIN_UNIT_FOLDER,
  UNIT_FILE,
  daemonReload,
  installUnit,
  reinstallPackage,
  restartService,
} from './remedies.ts';
import { type Finding, asRoot, asUser, byHand, cannotCheck, note, ok, problem, some } from './types.ts';

type Properties = ReadonlyMap<string, string>;

const WHAT = 'The service';
const LOOK_AT_LOG = byHand(asUser('journalctl', '-u', 'espd', '-n', '50', '--no-pager'));

export async function checkService(facts: Facts): Promise<Finding[]> {
  const service = await facts.service();
  if (!service.known) return [cannotCheck('service', WHAT, service.why)];
  const { properties } = service;
  const state = judgeState(properties);
  if (properties.get('LoadState') !== 'loaded') return [state];
  return [state, ...(await checkVersion(facts, properties)), ...(await checkUnit(facts, properties))];
}

/** @param properties of `systemctl show` (org.freedesktop.systemd1(5)) */
export function judgeState(properties: Properties): Finding {
  const id = 'service';
  const get = (key: string) => properties.get(key) ?? '';
  switch (get('LoadState')) {
    case 'loaded':
      break;
    case 'not-found':
      return ok(id, 'The service is not installed: boards are backed up while "espd daemon" runs');
    case 'masked':
      return note(id, 'The service is masked: it cannot start', {
        remedy: byHand(asRoot('systemctl', 'unmask', 'espd')),
      });
    default:
      return problem(id, `systemd cannot load the service: ${get('LoadState')} ${get('LoadError')}`.trim(), {
        remedy: byHand(asUser('systemd-analyze', 'verify', UNIT_FILE)),
      });
  }
  if (get('ActiveState') === 'failed') return judgeFailed(get('Result'), get('ExecMainStatus'));
  const restarts = Number(get('NRestarts'));
  if (get('ActiveState') === 'activating' && get('SubState') === 'auto-restart') {
    return problem(id, `The service ends again and again: ${restarts} restarts`, {
      detail: 'Its log says why:',
      remedy: LOOK_AT_LOG,
    });
  }
  if (get('ActiveState') !== 'active' && get('ActiveState') !== 'reloading') {
    const remedy = byHand(asRoot('systemctl', 'enable', '--now', 'espd'));
    return problem(id, `The service is installed and does not run (${get('ActiveState')})`, { remedy });
  }
  if (restarts > 0) {
    const title = `The service runs, and systemd had to restart it ${restarts === 1 ? 'once' : `${restarts} times`}`;
    return note(id, title, { detail: 'Its log says why:', remedy: LOOK_AT_LOG });
  }
  if (get('UnitFileState') === 'disabled') {
    const remedy = byHand(asRoot('systemctl', 'enable', 'espd'));
    return note(id, 'The service runs, but does not start with the machine', { remedy });
  }
  return ok(id, 'The service runs', get('StatusText'));
}

function judgeFailed(result: string, status: string): Finding {
  // Exit status 2 is a wrong config: RestartPreventExitStatus= of the unit.
  if (result === 'exit-code' && status === '2') {
    const detail = 'Mend it (espd doctor --config FILE names line and column), then:';
    const remedy = byHand(asRoot('systemctl', 'restart', 'espd'));
    return problem('service', 'The service has ended: its config has a fault', { detail, remedy });
  }
  const title = `The service has failed: ${result}${result === 'exit-code' ? ` ${status}` : ''}`;
  return problem('service', title, { detail: 'Its log says why:', remedy: LOOK_AT_LOG });
}

export interface VersionFacts {
  readonly version: string;
  /** Of the package that the unit starts; null where that cannot be told. */
  readonly installed: string | null;
  readonly program: string;
  /** When that package was put there, and when the service began, ms since 1970. */
  readonly installedMs: number | null;
  readonly startedMs: number | null;
}

async function checkVersion(facts: Facts, properties: Properties): Promise<Finding[]> {
  const { outside, version } = facts;
  const program = programOf(properties.get('ExecStart') ?? '');
  const link = await outside.link(program);
  const main = link.found ? resolve(dirname(program), link.value) : program;
  const packageJson = join(dirname(dirname(main)), 'package.json');
  const file = await outside.read(packageJson);
  const stat = await outside.stat(packageJson);
  return judgeVersion({
    ...{ version, program },
    installed: file.found ? versionIn(file.value.toString('utf8')) : null,
    installedMs: stat.found ? stat.value.changedMs : null,
    startedMs: await startOf(facts, properties),
  });
}

/** When the service's process began, ms since 1970; null where it does not run, or /proc does not tell. */
async function startOf({ outside }: Facts, properties: Properties): Promise<number | null> {
  const pid = properties.get('MainPID') ?? '0';
  if (!/^[1-9]\d*$/.test(pid)) return null;
  const [own, all] = await Promise.all([outside.read(`/proc/${pid}/stat`), outside.read('/proc/stat')]);
  if (!own.found || !all.found) return null;
  return processStartMs(own.value.toString('latin1'), all.value.toString('latin1')) ?? null;
}

/** Of `{ path=/usr/local/bin/espd ; argv[]=... }`. */
export function programOf(execStart: string): string {
  return /(?:^|\s)path=(\/[^\s;]+)/.exec(execStart)?.[1] ?? '';
}

function versionIn(packageJson: string): string | null {
  try {
    const { name, version } = JSON.parse(packageJson) as { name?: unknown; version?: unknown };
    return name === 'espd' && typeof version === 'string' ? version : null;
  } catch {
    return null;
  }
}

export function judgeVersion(facts: VersionFacts): Finding[] {
  const { version, installed, program, installedMs, startedMs } = facts;
  const id = 'service-version';
  if (installed === null)
    return [cannotCheck(id, 'Version of the service', `it starts ${program || 'an unknown program'}`)];
  if (installedMs !== null && startedMs !== null && installedMs > startedMs) {
    const detail = `${installed} was installed after the service had started, so it runs what was there before`;
    return [note(id, 'The service runs an older espd', { detail, remedy: restartService() })];
  }
  if (installed !== version) {
    const detail = `Unit: ${program}. Commands and service of one version understand each other best`;
    return [note(id, `The service is espd ${installed}, this is ${version}`, { detail })];
  }
  return [ok(id, `The service is of this version: ${installed}`)];
}

async function checkUnit(facts: Facts, properties: Properties): Promise<Finding[]> {
  const { outside, packageFolder } = facts;
  if (properties.get('NeedDaemonReload') === 'yes') {
    return [
      note('service-unit', 'The unit was changed on the disk: systemd has not read it yet', { remedy: daemonReload() }),
    ];
  }
  const path = properties.get('FragmentPath') ?? '';
  const [ours, installed] = await Promise.all([
    outside.read(join(packageFolder, 'systemd', UNIT_FILE)),
    outside.read(path),
  ]);
  if (!ours.found || !installed.found) {
    const why = ours.found ? `${path || 'its file'} cannot be read` : 'this package lacks it: install it again';
    return [cannotCheck('service-unit', 'The unit', why)];
  }
  const dropIns = (properties.get('DropInPaths') ?? '').split(' ').filter((each) => each !== '');
  const unit = judgeUnit(path, installed.value.toString('utf8'), ours.value.toString('utf8'), dropIns, packageFolder);
  const newer = await newerThan(facts, [path, ...dropIns], await startOf(facts, properties));
  if (newer.length === 0) return [unit];
  const title = `The service has not been restarted since ${some(newer)} changed`;
  const detail = 'Some settings count only from a start on. When no board is worked on:';
  return [unit, note('service-restart', title, { detail, remedy: restartService() })];
}

async function newerThan({ outside }: Facts, paths: readonly string[], startedMs: number | null): Promise<string[]> {
  if (startedMs === null) return [];
  const newer: string[] = [];
  for (const path of paths) {
    const stat = await outside.stat(path);
    if (stat.found && stat.value.changedMs > startedMs) newer.push(path);
  }
  return newer;
}

/** Comments and the folder of the program may differ: packages of distributions have another. */
export function judgeUnit(
  path: string,
  installed: string,
  ours: string,
  dropIns: readonly string[],
  packageFolder: string,
): Finding {
  const id = 'service-unit';
  const [theirs, own] = [directivesOf(installed), directivesOf(ours)];
  const differences = [
    ...own.filter((line) => !theirs.includes(line)).map((line) => `without ${line}`),
    ...theirs.filter((line) => !own.includes(line)).map((line) => `with ${line}`),
  ];
  if (differences.length === 0) {
    const added = dropIns.length === 0 ? undefined : `Changed by ${some(dropIns)}`;
    return ok(id, `The unit is that of this espd: ${path}`, added);
  }
  const detail = `It is ${some(differences)}`;
  const title = `The unit differs from that of this espd: ${path}`;
  if (!path.startsWith(`${ADMIN_UNIT_FOLDER}/`)) return note(id, title, { detail, remedy: reinstallPackage('espd') });
  const kept = 'The old file is kept beside the new one; changes of your own belong into a drop-in';
  return note(id, title, { detail: `${detail}. ${kept}`, remedy: installUnit(packageFolder) });
}

function directivesOf(unit: string): string[] {
  let section = '';
  return unit
    .split('\n', 10_000)
    .map((line) => line.trim())
    .filter((line) => line !== '' && !/^[#;]/.test(line))
    .flatMap((line) => {
      if (line.startsWith('[')) section = line;
      return line.startsWith('[') ? [] : [`${section} ${line}`.replace(/ ExecStart=\S*\/espd /, ' ExecStart=espd ')];
    });
}
