/** The page that the daemon is to serve (`api.listen`): whether anybody could log in. */

import { join } from 'node:path';
import { EspdError } from '../errors.ts';
import { CREDENTIALS_FILE } from '../front/credentials.ts';
import type { FileFacts, Look } from './outside.ts';
import type { Facts } from './facts.ts';
import { type Finding, asRoot, byHand, cannotCheck, ok, problem } from './types.ts';

export async function checkPage({ loaded, outside }: Facts): Promise<Finding[]> {
  if (loaded instanceof EspdError || loaded.config.api.listen === null) return [];
  const { api, archive } = loaded.config;
  const path = join(archive.statePath, CREDENTIALS_FILE);
  return judgePage({ listen: api.listen ?? '', path, file: await outside.stat(path) });
}

export function judgePage(facts: {
  readonly listen: string;
  /** Of the password's file. */
  readonly path: string;
  readonly file: Look<FileFacts>;
}): Finding[] {
  const { listen, path, file } = facts;
  const id = 'page-password';
  const set = byHand(asRoot('espd', 'web', 'set-password'));
  if (!file.found) {
    if (file.code !== 'ENOENT') return [cannotCheck(id, 'The password of the page', `${path} (${file.code})`)];
    const detail = 'Afterwards restart the daemon: until then it serves no page';
    return [problem(id, `No password is set for the page at ${listen}`, { detail, remedy: set })];
  }
  if ((file.value.mode & 0o077) === 0) return [ok(id, `A password or token is set for the page at ${listen}`)];
  const detail = `The daemon does not use ${path} like this. Who could read it may know the password:`;
  return [problem(id, 'The password of the page may be read by others', { detail, remedy: set })];
}
