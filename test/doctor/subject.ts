/** A subject for the doctor around a machine of tables. */

import { join } from 'node:path';
import { systemClock } from '../../src/clock.ts';
import { configSchema } from '../../src/config/schema.ts';
import type { Config, LoadedConfig } from '../../src/config/loader.ts';
import { type Facts, factsAbout } from '../../src/doctor/facts.ts';
import type { Subject } from '../../src/doctor/subject.ts';
import type { Finding } from '../../src/doctor/types.ts';
import { EspdError } from '../../src/errors.ts';
import { type Machine, machineOf } from './machine.ts';

export const PACKAGE = '/usr/local/lib/node_modules/espd';
/** The package of this checkout. */
export const ROOT = join(import.meta.dirname, '../..');
export const SERVICE_CONFIG = '/etc/espd/config.yaml';

export function loadedConfig(
  path: string | null = SERVICE_CONFIG,
  change: (config: Config) => Config = (x) => x,
): LoadedConfig {
  const file = configSchema.parse({});
  const config = {
    ...file,
    archive: { ...file.archive, path: '/var/lib/espd', statePath: '/var/lib/espd' },
  };
  return { path, namesArchive: false, namesState: false, config: change(config) };
}

export function subjectOf(machine: Machine, others: Partial<Subject> = {}): Subject {
  return {
    outside: machineOf(machine),
    clock: systemClock,
    loaded: loadedConfig(),
    archive: null,
    lines: null,
    listPorts: () => Promise.resolve([]),
    loadModules: () => Promise.resolve([{ name: 'serialport', fault: null }]),
    version: '0.1.0',
    packageFolder: PACKAGE,
    socketPath: '/run/espd/espd.sock',
    call: ['espd'],
    stationPorts: () => Promise.reject(new EspdError('daemon-absent', 'No daemon answers')),
    checkStore: null,
    ...others,
  };
}

export function factsOf(machine: Machine, others: Partial<Subject> = {}): Facts {
  return factsAbout(subjectOf(machine, others));
}

/** `problem port-rights: title`, one a line. */
export function said(findings: readonly Finding[]): string[] {
  return findings.map(({ status, id, title }) => `${status} ${id}: ${title}`);
}
