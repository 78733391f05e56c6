/**
 * The password of the page, and tokens for programs, as they are kept: the one as scrypt (RFC 7914), the others, which
 * are random, as SHA-256. The file belongs to the daemon's user, mode 0600.
 */

import { createHash, randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import { chown, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import type { Clock } from '../clock.ts';
import { EspdError, systemCode } from '../errors.ts';

/** In the folder `archive.statePath` of the loaded config. */
export const CREDENTIALS_FILE = 'web-login.json';
const MIN_PASSWORD = 8;
const MAX_PASSWORD = 1024;

/** OWASP's first choice for scrypt needs 128 MB a login; this is its fourth, of 16 MB, for small machines. */
const SCRYPT = { N: 2 ** 14, r: 8, p: 5 } as const;
const KEY_BYTES = 32;
const MAX_FILE_BYTES = 64 * 1024;
/** A file from elsewhere may not ask for more work than ours. */
const MAX_WORK = 2 ** 22;

const base64 = z.string().regex(/^[A-Za-z0-9+/]{22,200}={0,2}$/);
const credentialsSchema = z.object({
  formatVersion: z.literal(1),
  password: z
    .object({
      salt: base64,
      hash: base64,
      N: z
        .int()
        .min(2 ** 14)
        .max(2 ** 20),
      r: z.int().min(1).max(32),
      p: z.int().min(1).max(16),
    })
    .refine(({ N, r, p }) => N * r * p <= MAX_WORK && Math.log2(N) % 1 === 0)
    .nullable(),
  token: z.object({ sha256: z.string().regex(/^[0-9a-f]{64}$/), madeAt: z.iso.datetime() }).nullable(),
});
export type Credentials = z.output<typeof credentialsSchema>;

const NOTHING: Credentials = { formatVersion: 1, password: null, token: null };

/** @throws EspdError `usage` */
export async function hashPassword(password: string): Promise<NonNullable<Credentials['password']>> {
  const normal = password.normalize('NFC');
  if (normal.length < MIN_PASSWORD || normal.length > MAX_PASSWORD) {
    throw new EspdError('usage', `The password has ${normal.length} characters`, {
      hint: `It wants ${MIN_PASSWORD} or more: four random words are easy to type and hard to guess`,
    });
  }
  const salt = randomBytes(16);
  const hash = await derive(normal, salt, SCRYPT);
  return { salt: salt.toString('base64'), hash: hash.toString('base64'), ...SCRYPT };
}

export async function isPassword({ salt, hash, N, r, p }: NonNullable<Credentials['password']>, text: string) {
  const wanted = Buffer.from(hash, 'base64');
  const found = await derive(text.normalize('NFC').slice(0, MAX_PASSWORD), Buffer.from(salt, 'base64'), { N, r, p });
  return wanted.length === found.length && timingSafeEqual(wanted, found);
}

function derive(text: string, salt: Buffer, cost: { N: number; r: number; p: number }): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    scrypt(text, salt, KEY_BYTES, { ...cost, maxmem: 256 * cost.N * cost.r }, (error, key) =>
      error === null ? resolve(key) : reject(error),
    );
  });
}

/** A new token, and what is kept of it. */
export function newToken(clock: Clock): { readonly token: string; readonly kept: NonNullable<Credentials['token']> } {
  const token = `espd_${randomBytes(32).toString('base64url')}`;
  return { token, kept: { sha256: sha256Of(token), madeAt: clock.date().toISOString() } };
}

export function isToken({ sha256 }: NonNullable<Credentials['token']>, text: string): boolean {
  return timingSafeEqual(Buffer.from(sha256, 'hex'), Buffer.from(sha256Of(text), 'hex'));
}

function sha256Of(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

export class CredentialsFile {
  readonly path: string;
  #read: { readonly mark: string; readonly credentials: Credentials } | undefined;

  /** @param folder `archive.statePath` of the loaded config */
  constructor(folder: string) {
    this.path = join(folder, CREDENTIALS_FILE);
  }

  /**
   * What is in force now; the file is read again once it has changed.
   * @throws EspdError `listen-refused` where it cannot be read, is not understood, or others may read it
   */
  async current(): Promise<Credentials> {
    const facts = await stat(this.path).catch((error: unknown) => {
      if (systemCode(error) === 'ENOENT') return undefined;
      throw this.#unusable(`cannot be read (${systemCode(error) ?? 'unknown fault'})`);
    });
    if (facts === undefined) return NOTHING;
    if (process.platform !== 'win32' && (facts.mode & 0o077) !== 0) throw this.#unusable('may be read by others');
    const mark = `${facts.ino} ${facts.mtimeMs} ${facts.size}`;
    if (this.#read?.mark !== mark) this.#read = { mark, credentials: await this.#parse(facts.size) };
    return this.#read.credentials;
  }

  /** @throws EspdError `listen-refused` where the file cannot be written */
  async write(credentials: Credentials): Promise<void> {
    const folder = dirname(this.path);
    const temporary = `${this.path}.${process.pid}`;
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      const file = await open(temporary, 'wx', 0o600);
      try {
        await file.writeFile(`${JSON.stringify(credentials)}\n`);
        await file.sync();
      } finally {
        await file.close();
      }
      // Root sets the password of the service, which must be able to read it.
      const { uid, gid } = await stat(folder);
      if (process.getuid?.() === 0) await chown(temporary, uid, gid);
      await rename(temporary, this.path);
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => undefined);
      const code = systemCode(error);
      throw new EspdError('listen-refused', `${this.path} cannot be written (${code ?? 'unknown fault'})`, {
        hint:
          code === 'EACCES' || code === 'EPERM'
            ? 'It belongs to the service: sudo espd web set-password'
            : 'archive.statePath of the config names its folder',
        cause: error,
      });
    }
  }

  async #parse(sizeBytes: number): Promise<Credentials> {
    if (sizeBytes > MAX_FILE_BYTES) throw this.#unusable('is too long');
    try {
      return credentialsSchema.parse(JSON.parse(await readFile(this.path, 'utf8')));
    } catch (error) {
      const code = systemCode(error);
      throw this.#unusable(code === undefined ? 'is not understood' : `cannot be read (${code})`);
    }
  }

  #unusable(what: string): EspdError {
    return new EspdError('listen-refused', `The file of the page's password ${this.path} ${what}`, {
      hint: 'Set the password again: sudo espd web set-password',
    });
  }
}
