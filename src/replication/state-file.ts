/** Files of the state: replaced as a whole, or with lines added at their end; what cannot be understood is not there. */

import { randomBytes } from 'node:crypto';
import { open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { z } from 'zod';
import { giveFileToOwner, giveToOwner, makeStateFolder } from '../archive/state-owner.ts';
import { EspdError, systemCode } from '../errors.ts';

const MAX_STATE_BYTES = 1024 * 1024;

/** Undefined for what is missing, too long, or not of that form. */
export async function readJson<T>(
  file: string,
  schema: z.ZodType<T>,
  maxBytes = MAX_STATE_BYTES,
): Promise<T | undefined> {
  const text = await readFile(file, 'utf8').catch(() => '');
  return text.length > maxBytes ? undefined : parseJson(text, schema);
}

export function parseJson<T>(text: string, schema: z.ZodType<T>): T | undefined {
  try {
    return schema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** On the disk when it resolves, as the old content or the new one. @throws EspdError `archive-unwritable` */
export async function replaceFile(file: string, text: string): Promise<void> {
  await writing(file, async () => {
    // The loop of the daemon and its removal from the store may write one file at the same moment.
    const partial = `${file}.${process.pid}.${randomBytes(4).toString('hex')}.partial`;
    try {
      await writeFile(partial, text, { mode: 0o600, flush: true });
      await giveToOwner(partial);
      await rename(partial, file);
    } catch (error) {
      await rm(partial, { force: true }).catch(() => undefined);
      throw error;
    }
  });
}

/** On the disk when it resolves. @throws EspdError `archive-unwritable` */
export async function appendLines(file: string, lines: readonly string[]): Promise<void> {
  await writing(file, async () => {
    const handle = await open(file, 'a', 0o600);
    try {
      // A line that a crash cut off ends here.
      await handle.write(`\n${lines.join('\n')}\n`);
      await handle.sync();
      await giveFileToOwner(handle, file);
    } finally {
      await handle.close();
    }
  });
}

async function writing(file: string, work: () => Promise<void>): Promise<void> {
  try {
    await makeStateFolder(dirname(file));
    await work();
  } catch (error) {
    throw new EspdError('archive-unwritable', `${dirname(file)} cannot be written (${systemCode(error)})`, {
      hint: 'What espd knows of the object store is kept there (archive.statePath)',
      cause: error,
    });
  }
}
