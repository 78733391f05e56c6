/** The folders that the service writes to: its unit lets it write nowhere else than a list says. */

import { isAbsolute, join, relative } from 'node:path';
import { EspdError } from '../errors.ts';
import type { Facts } from './facts.ts';
import { wordsOf } from './parse.ts';
import { editUnit, writeDropIn } from './remedies.ts';
import { type Finding, ok, problem, some } from './types.ts';

const DROP_IN = '/etc/systemd/system/espd.service.d/espd-archive.conf';
const DETAIL = 'Its unit closes them. Afterwards restart it when no board is worked on';

/** ProtectSystem=: what is read-only (systemd.exec(5)). */
const READ_ONLY: Readonly<Record<string, readonly string[]>> = {
  strict: ['/'],
  full: ['/usr', '/boot', '/efi', '/etc'],
  yes: ['/usr', '/boot', '/efi'],
};
/** ProtectHome= other than `no`: read-only, empty or closed. */
const HOMES = ['home', 'root', 'run/user'].map((tree) => join('/', tree));

export async function checkWritable(facts: Facts): Promise<Finding[]> {
  const service = await facts.service();
  const { loaded } = facts;
  // Of another config than the service's, and without a unit, nothing is known of it.
  if (!service.known || loaded instanceof EspdError || !(await facts.isServiceConfig())) return [];
  const { path, statePath } = loaded.config.archive;
  // One that is not named is that of StateDirectory=, for the service.
  return judgeWritable([...new Set([path, ...(loaded.namesState ? [statePath] : [])])], service.properties);
}

/**
 * @param folders absolute
 * @param properties of `systemctl show`: ProtectSystem, ProtectHome, ReadWritePaths, StateDirectory (systemd.exec(5))
 */
export function judgeWritable(folders: readonly string[], properties: ReadonlyMap<string, string>): Finding[] {
  const id = 'service-writable';
  const words = (key: string) => wordsOf(properties, key);
  // `-`: where it is not there, that is no fault; `+`: below RootDirectory=, which espd's unit does not have.
  const writable = [
    ...words('ReadWritePaths').map((path) => path.replace(/^[-+]+/, '')),
    // `NAME:LINK`: the folder, and a link to it.
    ...words('StateDirectory').flatMap((names) => names.split(':').map((name) => join('/var/lib', name))),
  ];
  const hidesHomes = !['', 'no'].includes(properties.get('ProtectHome') ?? '');
  const readOnly = READ_ONLY[properties.get('ProtectSystem') ?? ''] ?? [];
  const isInHome = (folder: string) => hidesHomes && HOMES.some((home) => isWithin(folder, home));
  const closed = folders.filter(
    (folder) =>
      isInHome(folder) ||
      (readOnly.some((tree) => isWithin(folder, tree)) && !writable.some((tree) => isWithin(folder, tree))),
  );
  if (closed.length === 0) return [ok(id, `The service may write to ${some(folders)}`)];
  const title = `The service may not write to ${some(closed)}`;
  const hasOurs = words('DropInPaths').includes(DROP_IN);
  // More than a folder is opened there, or somebody has written that file: a person decides.
  if (closed.some(isInHome) || hasOurs || !closed.every(isPlain)) {
    const lines = closed.some(isInHome) ? 'ReadWritePaths= and ProtectHome=no' : 'ReadWritePaths=';
    return [problem(id, title, { detail: `It wants ${lines} in a drop-in`, remedy: editUnit() })];
  }
  const remedy = writeDropIn(DROP_IN, `ReadWritePaths=${closed.join(' ')}\n`);
  return [problem(id, title, { detail: DETAIL, remedy })];
}

/** Needs no quoting in a unit file: blanks, quotes, `%` and the like have a meaning there. */
function isPlain(folder: string): boolean {
  return /^[\w./-]+$/.test(folder);
}

function isWithin(folder: string, tree: string): boolean {
  const way = relative(tree, folder);
  return way === '' || (way !== '..' && !way.startsWith('../') && !isAbsolute(way));
}
