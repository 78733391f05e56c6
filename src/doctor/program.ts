/** espd itself on this machine: Node, and the packages with native code. */

import type { NativeModule } from '../serial/native-modules.ts';
import { EspdError } from '../errors.ts';
import type { Facts } from './facts.ts';
import { isAtLeast } from './parse.ts';
import { type Finding, asRoot, byHand, note, ok, problem } from './types.ts';

/** `engines` of package.json; a test compares. */
export const NODE_WANTED = [20, 19] as const;
/** zlib got zstd in 22.15 (https://nodejs.org/api/zlib.html, class zlib.ZstdCompress). */
const NODE_WITH_ZSTD = [22, 15] as const;

export async function checkProgram(facts: Facts): Promise<Finding[]> {
  const { loaded, outside, version } = facts;
  const wantsZstd = !(loaded instanceof EspdError) && loaded.config.archive.compression === 'zstd';
  return [...judgeNode(outside.nodeVersion, version, wantsZstd), ...judgeModules(await facts.loadModules(), version)];
}

export function judgeNode(nodeVersion: string, version: string, wantsZstd: boolean): Finding[] {
  const wanted = NODE_WANTED.join('.');
  const isEnough = isAtLeast(nodeVersion, NODE_WANTED);
  if (isEnough !== true) {
    const detail = 'Install a newer Node for the whole machine: the service does not reach one in a home folder';
    return [problem('node', `Node ${nodeVersion} is too old: espd needs ${wanted}`, { detail })];
  }
  const findings = [ok('node', `espd ${version} on Node ${nodeVersion}`)];
  if (wantsZstd && isAtLeast(nodeVersion, NODE_WITH_ZSTD) !== true) {
    const title = `archive.compression is zstd, which Node ${nodeVersion} cannot make: gzip is used`;
    findings.push(note('zstd', title, { detail: `Node ${NODE_WITH_ZSTD.join('.')} can` }));
  }
  return findings;
}

/** What espd does without a package. */
const WITHOUT = {
  serialport: 'No serial port can be opened',
  usb: 'New ports are noticed by /dev and by looking every 5 s, not by USB events',
  koffi: 'DTR and RTS of boards on their own USB may not be moved, and systemd is told by systemd-notify',
} as const;

export function judgeModules(modules: readonly NativeModule[], version: string): Finding[] {
  const faults = modules.filter(({ fault }) => fault !== null);
  if (faults.length === 0) return [ok('modules', `${modules.map(({ name }) => name).join(', ')}: all load`)];
  const tarball = `./espd-${version}.tgz`;
  const remedy = byHand(
    asRoot('npm', 'install', '--global', '--prefix', '/usr/local', '--omit=dev', '--ignore-scripts', tarball),
  );
  return faults.map(({ name, fault }) => {
    const say = name === 'serialport' ? problem : note;
    return say('modules', `The package ${name} does not load: ${fault ?? ''}`, {
      detail: `${WITHOUT[name]}. Install espd again on this machine:`,
      remedy,
    });
  });
}
