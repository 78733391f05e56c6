/** `espd web set-password`: who may log in to the page that the daemon serves at `api.listen`. */

import type { Readable } from 'node:stream';
import { systemClock } from '../../clock.ts';
import { loadConfig } from '../../config/loader.ts';
import { EspdError } from '../../errors.ts';
import { type Credentials, CredentialsFile, hashPassword, newToken } from '../../front/credentials.ts';
import type { CommonOptions, Host } from '../host.ts';
import type { Output } from '../output.ts';

export interface SetPasswordOptions {
  /** A token for programs, in the place of a password. */
  readonly token: boolean;
  /** Neither is in force any more. */
  readonly remove: boolean;
}

/** @param input where the password comes from if nobody can be asked: its first line */
export async function setPassword(
  options: CommonOptions,
  host: Host,
  out: Output,
  { token, remove }: SetPasswordOptions,
  input: Readable,
): Promise<undefined> {
  if (token && remove) throw new EspdError('usage', '--token and --remove do not go together', { hint: 'Give one' });
  const { config } = await loadConfig({ path: options.config, env: host.env });
  const file = new CredentialsFile(config.archive.statePath);
  if (remove) {
    await file.write({ formatVersion: 1, password: null, token: null });
    out.line('Neither a password nor a token is in force: nobody can log in');
    out.document({ file: file.path, password: false, token: null });
    return undefined;
  }
  // One that is damaged is replaced, by the password that is set now.
  const before = await file.current().catch((): Credentials => ({ formatVersion: 1, password: null, token: null }));
  if (token) {
    const made = newToken(systemClock);
    await file.write({ ...before, token: made.kept });
    out.line(made.token);
    out.note('It is shown this once, and replaces the one before. Programs send it: Authorization: Bearer TOKEN');
    out.document({ file: file.path, password: before.password !== null, token: made.token });
    return undefined;
  }
  const password = await hashPassword(await readPassword(host, input));
  await file.write({ ...before, password });
  out.line('The password is in force; whoever was logged in with another one is not any more');
  if (config.api.listen === null) {
    out.note('No page is served yet: set api.listen in the config, such as 127.0.0.1:8266, and restart the daemon');
  }
  out.document({ file: file.path, password: true, token: null });
  return undefined;
}

async function readPassword({ terminal, signal }: Host, input: Readable): Promise<string> {
  const { ask } = terminal;
  if (ask === undefined) return firstLine(input, signal);
  const password = await ask('New password of the page: ', { hidden: true });
  const again = await ask('Once more: ', { hidden: true });
  if (password === again) return password;
  throw new EspdError('usage', 'The two passwords differ', { hint: 'Nothing was changed. Try again' });
}

/** Of a script: `espd web set-password < file`. */
async function firstLine(input: Readable, signal: AbortSignal): Promise<string> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of input as AsyncIterable<Buffer>) {
    signal.throwIfAborted();
    chunks.push(chunk);
    sizeBytes += chunk.length;
    if (chunk.includes(0x0a) || sizeBytes > 64 * 1024) break;
  }
  return Buffer.concat(chunks).toString('utf8').split(/\r?\n/, 1)[0] ?? '';
}
