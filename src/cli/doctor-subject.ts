/** What the doctor looks at, of a command or of the service: this machine, and what the config says. */

import { ApiClient } from '../client/api.ts';
import { systemClock } from '../clock.ts';
import { SYSTEM_SOCKET_PATH, commandSocket } from '../config/loader.ts';
import type { Outside } from '../doctor/outside.ts';
import { PACKAGE_FOLDER, type Subject } from '../doctor/subject.ts';
import type { EspdError } from '../errors.ts';
import { listPorts } from '../serial/listing.ts';
import { loadNativeModules } from '../serial/native-modules.ts';
import { PLAIN_CALL } from '../transfer/finish-command.ts';
import { VERSION } from '../version.ts';
import type { CommandContext } from './context.ts';
import { storeCheckOf } from './fleet/store-check.ts';

/** @param socketPath where the service itself listens; default: where commands look for it */
export function subjectOf(
  context: CommandContext,
  env: NodeJS.ProcessEnv,
  outside: Outside,
  socketPath = commandSocket(context.config, env) ?? SYSTEM_SOCKET_PATH,
): Subject {
  const { loaded, archive, lines, call } = context;
  return {
    ...{ ...machine(outside, socketPath), loaded, archive, lines, call },
    listPorts: () => context.listPorts(),
    checkStore: storeCheckOf(context, env),
  };
}

/** Where the config has a fault. */
export function subjectWithoutConfig(fault: EspdError, env: NodeJS.ProcessEnv, outside: Outside): Subject {
  const socketPath = env['ESPD_SOCKET'] || SYSTEM_SOCKET_PATH;
  const unknown = { loaded: fault, archive: null, lines: null, call: PLAIN_CALL, checkStore: null };
  return { ...machine(outside, socketPath), ...unknown, listPorts: () => listPorts() };
}

function machine(outside: Outside, socketPath: string) {
  return {
    ...{ outside, socketPath, version: VERSION, packageFolder: PACKAGE_FOLDER, clock: systemClock },
    stationPorts: async () => (await new ApiClient(socketPath, systemClock).status()).ports,
    loadModules: () => loadNativeModules(),
  };
}
