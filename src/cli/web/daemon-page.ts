/** The page that the daemon serves by itself, at `api.listen`. */

import { isLoopback, parseListen } from '../../config/listen.ts';
import type { Control } from '../../control/control.ts';
import { EspdError, toEspdError } from '../../errors.ts';
import { CredentialsFile } from '../../front/credentials.ts';
import { Front } from '../../front/front.ts';
import { PasswordGate } from '../../front/gate.ts';
import { StaticFiles } from '../../front/static-files.ts';
import type { Logger } from '../../log.ts';
import type { CommandContext } from '../context.ts';
import { PAGE_FOLDER } from './page-folder.ts';

/**
 * Undefined where the config names no place, nobody could log in, or the place cannot be had: that is logged, and boards
 * are backed up all the same. Never rejects.
 * @param control answers what the page asks
 */
export async function openDaemonPage(
  { clock, config, log }: Pick<CommandContext, 'clock' | 'config'> & { readonly log: Logger },
  control: Pick<Control, 'serve'>,
): Promise<Pick<Front, 'close'> | undefined> {
  const place = config.api.listen === null ? undefined : parseListen(config.api.listen);
  if (place === undefined) return undefined;
  try {
    const file = new CredentialsFile(config.archive.statePath);
    const { password, token } = await file.current();
    if (password === null && token === null) {
      throw new EspdError('listen-refused', `api.listen is ${config.api.listen}, and no password is set for the page`, {
        hint: 'Set one, then restart the daemon: sudo espd web set-password',
      });
    }
    const front = new Front({
      ...{ clock, log, gate: new PasswordGate(file, clock) },
      backend: (request, response) => control.serve(request, response),
      files: await StaticFiles.read(PAGE_FOLDER),
      names: config.api.names.map((name) => name.toLowerCase()),
    });
    await front.listen(place.host, place.port);
    log.info('The page can be opened', { address: config.api.listen });
    if (!isLoopback(place.host)) {
      log.warn('The page is open to the network, and passwords cross it as they are: put a proxy with TLS before it');
    }
    return front;
  } catch (error) {
    const { code, hint, message } = toEspdError(error);
    log.error(message, { code, hint });
    return undefined;
  }
}
