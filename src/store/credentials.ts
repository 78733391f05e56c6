/** Whose keys requests are signed with: of the environment, a file that nobody else may read, or systemd. */

import { open } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { EspdError, systemCode } from '../errors.ts';

export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Of temporary credentials; null where they are not. */
  readonly sessionToken: string | null;
}

/** Null: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN of the environment. */
export type SecretPlace = { readonly file: string } | { readonly systemdCredential: string };

const MAX_SECRET_BYTES = 64 * 1024;

/**
 * Reads them anew at each call, so that a file that was changed takes effect.
 * @throws EspdError `store-credentials`
 */
export async function readCredentials(place: SecretPlace | null, env: NodeJS.ProcessEnv): Promise<Credentials> {
  if (place === null) {
    const from = (name: string) => env[name]?.trim() ?? '';
    return checked(from('AWS_ACCESS_KEY_ID'), from('AWS_SECRET_ACCESS_KEY'), from('AWS_SESSION_TOKEN'), {
      where: 'in the environment',
      hint: 'Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a file with store.credentials',
    });
  }
  const { path, text } = await readSecret(place, env, 'store-credentials');
  const keys = parseProfile(text);
  const from = (name: string) => keys.get(name) ?? '';
  return checked(from('aws_access_key_id'), from('aws_secret_access_key'), from('aws_session_token'), {
    where: `in ${path}`,
    hint: 'It wants the lines aws_access_key_id = ... and aws_secret_access_key = ...',
  });
}

/** What such a file is for, and what to do where it is missing. */
const SECRETS = {
  'store-credentials': {
    what: 'the credentials of the object store',
    remedy: (path: string) =>
      `Write it, mode 600, as AWS has it: aws_access_key_id = ... and aws_secret_access_key = ... in ${path}; or correct store.credentials`,
  },
  'store-key': {
    what: 'the key of the fleet (store.encryption)',
    remedy: (path: string) =>
      `Copy it from another station, mode 600. Only if this is the first one: (umask 077; openssl rand -hex 32 > ${path}), and keep a copy elsewhere`,
  },
} as const;

const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

/**
 * A small file that only its owner may read. Files of systemd's are its own matter: it gives them to the service alone.
 * @param code of what is thrown
 */
export async function readSecret(
  place: SecretPlace,
  env: NodeJS.ProcessEnv,
  code: 'store-credentials' | 'store-key',
): Promise<{ readonly path: string; readonly text: string }> {
  const path = pathOf(place, env, code);
  const { what, remedy } = SECRETS[code];
  try {
    const file = await open(path, 'r');
    try {
      const facts = await file.stat();
      if (!facts.isFile()) throw new EspdError(code, `The file with ${what}, ${path}, is no file`);
      if ('file' in place && (facts.mode & 0o077) !== 0) {
        throw new EspdError(
          code,
          `${capital(what)}: ${path} may be read by others (mode ${(facts.mode & 0o777).toString(8)})`,
          {
            hint: `Make it yours alone: chmod 600 ${path}`,
          },
        );
      }
      const buffer = Buffer.alloc(MAX_SECRET_BYTES + 1);
      const { bytesRead } = await file.read(buffer, 0, buffer.length, 0);
      if (bytesRead > MAX_SECRET_BYTES) throw new EspdError(code, `${path} is too long for ${what}`);
      return { path, text: buffer.toString('utf8', 0, bytesRead) };
    } finally {
      await file.close();
    }
  } catch (error) {
    if (error instanceof EspdError) throw error;
    const reason = systemCode(error);
    const file = `The file with ${what}, ${path},`;
    if (reason === 'ENOENT') throw new EspdError(code, `${file} does not exist`, { hint: remedy(path), cause: error });
    const problem = reason === 'EACCES' ? 'may not be read by this user' : `cannot be read (${reason})`;
    throw new EspdError(code, `${file} ${problem}`, { hint: `Look at it with: ls -l ${path}`, cause: error });
  }
}

function pathOf(place: SecretPlace, env: NodeJS.ProcessEnv, code: 'store-credentials' | 'store-key'): string {
  if ('file' in place) return place.file;
  const folder = env['CREDENTIALS_DIRECTORY'] ?? '';
  if (isAbsolute(folder)) return join(folder, place.systemdCredential);
  throw new EspdError(code, `The credential ${place.systemdCredential} is given by systemd, and to the service alone`, {
    hint: 'Add LoadCredential= to the unit of the service, and let the daemon do it',
  });
}

/** The profile `default` of a file as AWS's own programs have it, or of a file without any profile. */
function parseProfile(text: string): ReadonlyMap<string, string> {
  const keys = new Map<string, string>();
  let isDefault = true;
  for (const line of text.split(/\r?\n/)) {
    const profile = /^\s*\[\s*(.*?)\s*\]\s*$/.exec(line);
    if (profile !== null) isDefault = profile[1] === 'default';
    const pair = /^\s*([a-z_]+)\s*=\s*(.*?)\s*$/.exec(line);
    if (pair !== null && isDefault) keys.set(pair[1] ?? '', pair[2] ?? '');
  }
  return keys;
}

function checked(
  accessKeyId: string,
  secretAccessKey: string,
  sessionToken: string,
  { where, hint }: { readonly where: string; readonly hint: string },
): Credentials {
  const fits = [accessKeyId, secretAccessKey].every((text) => /^[\x21-\x7e]{1,1024}$/.test(text));
  if (!fits || !/^[\x21-\x7e]{0,16384}$/.test(sessionToken)) {
    throw new EspdError('store-credentials', `There are no usable credentials for the object store ${where}`, { hint });
  }
  return { accessKeyId, secretAccessKey, sessionToken: sessionToken === '' ? null : sessionToken };
}
