/** Secrets that the config only names: a file, or a variable of the environment. */

import { constants, open } from 'node:fs/promises';
import type { SecretConfig } from '../config/outbound.ts';
import { systemCode } from '../errors.ts';

/** So much of a file is read. */
const MAX_BYTES = 4096;
/** Bits of a mode by which everybody may read or write. */
const OTHERS = 0o006;

/**
 * For a header of HTTP. Read at each use, so that a changed file takes effect.
 * @throws Error with a reason for the log, which holds nothing of the secret
 */
export async function readSecret(secret: SecretConfig, env: NodeJS.ProcessEnv): Promise<string> {
  const text = await read(secret, env);
  if (!/^[\x21-\x7e]{1,1024}$/.test(text)) throw new Error('its secret is empty, or not one line of printable ASCII');
  return text;
}

/** As {@link readSecret}, of any letters. */
export async function readPassword(secret: SecretConfig, env: NodeJS.ProcessEnv): Promise<string> {
  const text = await read(secret, env);
  if (!/^\P{Cc}{1,1024}$/u.test(text)) throw new Error('its secret is empty, or not one line');
  return text;
}

const read = async ({ file, env: name }: SecretConfig, env: NodeJS.ProcessEnv) =>
  (file === undefined ? (env[name ?? ''] ?? '') : await readSmall(file)).trim();

async function readSmall(path: string): Promise<string> {
  let file;
  try {
    // A pipe that nobody writes to must not be waited for.
    file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    throw unreadable(error);
  }
  try {
    const facts = await file.stat();
    if (!facts.isFile()) throw new Error('the file of its secret is no file');
    // What everybody on the machine may read is none; group espd may, as the docs have it.
    if ((facts.mode & OTHERS) !== 0) {
      throw new Error('the file of its secret may be read or written by everybody: chmod o= on it');
    }
    const { bytesRead, buffer } = await file.read(Buffer.alloc(MAX_BYTES), 0, MAX_BYTES, 0).catch((error: unknown) => {
      throw unreadable(error);
    });
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await file.close().catch(() => undefined);
  }
}

function unreadable(error: unknown): Error {
  return new Error(`the file of its secret cannot be read (${systemCode(error) ?? 'unknown fault'})`, { cause: error });
}
