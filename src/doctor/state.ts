/** One installation has one state: whether commands by hand keep it where the service does, and whether a second one is left. */

import { join } from 'node:path';
import { SYSTEM_ARCHIVE_PATH } from '../config/loader.ts';
import { EspdError } from '../errors.ts';
import type { Facts } from './facts.ts';
import { parseHomes, wordsOf } from './parse.ts';
import { type Finding, asRoot, byHand, note, problem } from './types.ts';

const ID = 'state';

/** Nothing where this is no installation with a service, and where all is well. */
export async function checkState(facts: Facts): Promise<Finding[]> {
  const { loaded } = facts;
  if (loaded instanceof EspdError) return [];
  const { statePath } = loaded.config.archive;
  const isServiceConfig = await facts.isServiceConfig();
  const service = await facts.service();
  if (isServiceConfig && service.known && !loaded.namesState) {
    const [names = ''] = wordsOf(service.properties, 'StateDirectory');
    const [name = ''] = names.split(':');
    const ofService = name === '' ? statePath : join('/var/lib', name);
    if (ofService !== statePath) return [otherThanService(statePath, ofService, loaded.path ?? '')];
  }
  if (!isServiceConfig && statePath !== SYSTEM_ARCHIVE_PATH) return [];
  return leftOvers(facts, statePath);
}

function otherThanService(statePath: string, ofService: string, config: string): Finding {
  const title = `Commands without the daemon keep another state than the service: ${statePath}, not ${ofService}`;
  const detail =
    'So this machine would be two stations in an object store, and neither would know which restores the other has ' +
    `begun. Write into ${config}, in the section archive: "statePath: ${ofService}"`;
  return problem(ID, title, { detail });
}

/** Of people by whom espd may have been called without the daemon, before all of them had one state. */
async function leftOvers({ outside }: Facts, statePath: string): Promise<Finding[]> {
  const passwd = await outside.read('/etc/passwd');
  const uids = new Set([0, outside.person.uid ?? 0]);
  const homes = passwd.found ? parseHomes(passwd.value.toString('utf8'), uids) : [];
  const findings: Finding[] = [];
  for (const folder of homes.map((home) => join(home, '.local/state/espd'))) {
    if (folder === statePath) continue;
    const has = async (name: string) => {
      const list = await outside.list(join(folder, name));
      return list.found && list.value.length > 0;
    };
    const [isStation, hasRestores] = [await has('replication'), await has('restores')];
    if (isStation || hasRestores) findings.push(leftOver(folder, statePath, { isStation, hasRestores }));
  }
  return findings;
}

function leftOver(
  folder: string,
  statePath: string,
  { isStation, hasRestores }: { readonly isStation: boolean; readonly hasRestores: boolean },
): Finding {
  const title = `Beside the state of this installation, ${statePath}, another one lies in ${folder}`;
  const why = isStation ? 'With it this machine is a second station in the object store. ' : '';
  // A board that is half restored would be forgotten with it.
  if (hasRestores) {
    return note(ID, title, { detail: `${why}It has notes of restores: see in ${folder}/restores what they say first` });
  }
  return note(ID, title, {
    detail: `${why}If no config of your own uses it, it can go: what it says is in the store`,
    remedy: byHand(asRoot('rm', '-r', folder)),
  });
}
