/** The daemon that the commands of the station ask: the one at the socket that every other command looks for. */

import { ApiClient } from '../../client/api.ts';
import { systemClock } from '../../clock.ts';
import { commandSocket, loadConfig } from '../../config/loader.ts';
import { EspdError } from '../../errors.ts';
import type { CommonOptions, Host } from '../host.ts';

/** @throws EspdError `daemon-absent` where config or `--no-daemon` says that there is none to ask; those of the config */
export async function daemonOf(options: CommonOptions, { env }: Host): Promise<ApiClient> {
  if (options.daemon === false) {
    throw new EspdError('usage', 'This command is about the daemon, and --no-daemon keeps it from asking one', {
      hint: 'Leave --no-daemon out',
    });
  }
  const { config } = await loadConfig({ path: options.config, env });
  const path = commandSocket(config, env);
  if (path === null) {
    throw new EspdError('daemon-absent', 'The config says that the daemon cannot be asked (api.socket: null)', {
      hint: 'Take api.socket out of the config, and start the daemon again',
    });
  }
  return new ApiClient(path, systemClock);
}
