/** The udev rules of espd: installed, the same as in this package, and applied to the ports that are there. */

import { join } from 'node:path';
import type { Facts } from './facts.ts';
import { whyNot } from './outside.ts';
import { ADMIN_RULES_FOLDER, RULES_FILE, applyRules, installRules, reinstallPackage } from './remedies.ts';
import { BRIDGES, ESPRESSIF_VENDOR } from '../serial/usb-ids.ts';
import { type Finding, asRoot, byHand, cannotCheck, note, ok, problem, some } from './types.ts';

/** udev(7), "Rules files": of files with one name the first of these folders wins. */
export const RULES_FOLDERS = [
  ADMIN_RULES_FOLDER,
  '/run/udev/rules.d',
  '/usr/local/lib/udev/rules.d',
  '/usr/lib/udev/rules.d',
  '/lib/udev/rules.d',
];

const WHAT = 'udev rules';

/** The file that udev reads; `bytes` empty = masked by an empty file or a link to /dev/null. */
export interface InstalledRules {
  readonly path: string;
  readonly bytes: Buffer;
}

export async function checkUdev(facts: Facts): Promise<Finding[]> {
  const { outside, packageFolder } = facts;
  if (outside.platform !== 'linux') return [cannotCheck('udev-rules', WHAT, `no udev on ${outside.platform}`)];
  const ran = await outside.run(['udevadm', '--version']);
  const why = whyNot('udevadm', ran);
  if (why !== null) return [cannotCheck('udev-rules', WHAT, why)];
  const ours = await outside.read(join(packageFolder, 'systemd/udev', RULES_FILE));
  if (!ours.found) return [cannotCheck('udev-rules', WHAT, `this package lacks them (${ours.code}): install it again`)];
  const found = await findRules(facts);
  if (typeof found === 'string') return [cannotCheck('udev-rules', WHAT, found)];
  const findings = judgeRules({ ours: ours.value, found, isInstalled: await facts.isInstalled(), packageFolder });
  if (findings.some(({ status }) => status !== 'ok')) return findings;
  return [...findings, ...(await checkApplied(facts))];
}

async function findRules({ outside }: Facts): Promise<InstalledRules | null | string> {
  for (const folder of RULES_FOLDERS) {
    const path = join(folder, RULES_FILE);
    const link = await outside.link(path);
    if (link.found && link.value === '/dev/null') return { path, bytes: Buffer.alloc(0) };
    const file = await outside.read(path);
    if (file.found) return { path, bytes: file.value };
    if (file.code !== 'ENOENT' && file.code !== 'ENOTDIR') return `${path} cannot be read (${file.code})`;
  }
  return null;
}

export function judgeRules(facts: {
  readonly ours: Buffer;
  readonly found: InstalledRules | null;
  readonly isInstalled: boolean;
  readonly packageFolder: string;
}): Finding[] {
  const { ours, found, packageFolder } = facts;
  const remedy = installRules(packageFolder);
  if (found === null) {
    const detail = 'They open the ports of ESP boards to group dialout and who sits here, and keep ModemManager away';
    // The service counts on them; a user with rights of another kind can do without.
    const say = facts.isInstalled ? problem : note;
    return [say('udev-rules', 'The udev rules of espd are not installed', { detail, remedy })];
  }
  if (found.bytes.equals(ours)) return [ok('udev-rules', `The udev rules are installed and current: ${found.path}`)];
  if (found.bytes.length === 0) {
    const detail = 'An empty file or a link to /dev/null takes their place. If nobody meant that:';
    return [
      note('udev-rules', `The udev rules are masked by ${found.path}`, {
        detail,
        remedy: byHand(asRoot('rm', found.path)),
      }),
    ];
  }
  const title = `The udev rules differ from those of this espd: ${found.path}`;
  if (!found.path.startsWith(`${ADMIN_RULES_FOLDER}/`)) {
    return [note('udev-rules', title, { detail: 'A package owns that file', remedy: reinstallPackage('espd') })];
  }
  const detail = 'They are of another version, or somebody changed them. The old file is kept beside the new one';
  return [note('udev-rules', title, { detail, remedy })];
}

/** Rules that were installed after a board was plugged in do nothing for its port until they are applied. */
async function checkApplied(facts: Facts): Promise<Finding[]> {
  const unmarked: string[] = [];
  for (const { address, usb } of await facts.devices()) {
    const udev = usb === null ? undefined : await facts.udev(address);
    // Ports that the config allows on top have other ids, and no rule.
    if (udev?.known === true && udev.properties.get('ID_ESPD') !== '1' && hasRule(usb)) unmarked.push(address);
  }
  if (unmarked.length === 0) return [];
  const title = `The udev rules are not applied to ${some(unmarked)}`;
  return [note('udev-applied', title, { detail: 'Plugged in before they were installed?', remedy: applyRules() })];
}

function hasRule(usb: { vendorId: string; productId: string } | null): boolean {
  if (usb === null) return false;
  return usb.vendorId === ESPRESSIF_VENDOR || BRIDGES.has(`${usb.vendorId}:${usb.productId}`);
}
