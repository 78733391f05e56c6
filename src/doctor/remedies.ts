/** Steps that more than one check proposes. Pure. */

import { join } from 'node:path';
import { type Remedy, type Step, asRoot, asUser, byHand, safely } from './types.ts';

export const RULES_FILE = '70-espd.rules';
/** Where a person puts rules; the files of packages lie elsewhere (udev(7)). */
export const ADMIN_RULES_FOLDER = '/etc/udev/rules.d';
export const UNIT_FILE = 'espd.service';
export const ADMIN_UNIT_FOLDER = '/etc/systemd/system';

/** udev reads its rules again and applies them to the ports that are there: nothing is opened. */
const APPLY_RULES: readonly Step[] = [
  asRoot('udevadm', 'control', '--reload'),
  asRoot('udevadm', 'trigger', '--subsystem-match=tty'),
];

export function applyRules(): Remedy {
  return safely(...APPLY_RULES);
}

/** What was there stays beside it as `70-espd.rules.~1~`, which udev does not read: a person may have changed it. */
export function installRules(packageFolder: string): Remedy {
  return safely(install(join(packageFolder, 'systemd/udev', RULES_FILE), ADMIN_RULES_FOLDER), ...APPLY_RULES);
}

export function installUnit(packageFolder: string): Remedy {
  const unit = join(packageFolder, 'systemd', UNIT_FILE);
  return safely(install(unit, ADMIN_UNIT_FOLDER), asRoot('systemctl', 'daemon-reload'));
}

function install(file: string, folder: string): Step {
  return asRoot('install', '-D', '-m', '644', '--backup=numbered', '-t', folder, file);
}

export function daemonReload(): Remedy {
  return safely(asRoot('systemctl', 'daemon-reload'));
}

/** A drop-in of ours for the service's unit, where there is none yet. @param settings of section [Service], a line each */
export function writeDropIn(path: string, settings: string): Remedy {
  return safely({ kind: 'write', path, text: `[Service]\n${settings}`, root: true }, ...daemonReload().steps);
}

/** What is in the unit already is a person's, who decides. */
export function editUnit(): Remedy {
  return byHand(asRoot('systemctl', 'edit', 'espd'));
}

/** Ends a job that is under way, so a person decides when. */
export function restartService(): Remedy {
  return byHand(asRoot('systemctl', 'restart', 'espd'));
}

/** A right that lasts: a person decides who gets it. */
export function joinGroup(group: string, user: string): Remedy {
  return byHand(asRoot('usermod', '-aG', group, user === '' ? 'USER' : user));
}

export function logInAgain(group: string): Remedy {
  return byHand(asUser('newgrp', group));
}

export function reinstallPackage(name: string): Remedy {
  return byHand(asRoot('apt-get', 'install', '--reinstall', name));
}
