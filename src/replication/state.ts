/**
 * What this station knows of a store, in a folder of its state: derived, but for the name of the station. If it is lost,
 * everything is compared with the store again.
 */

import { createHash, randomBytes } from 'node:crypto';
import { open, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { EspdError, systemCode } from '../errors.ts';
import { type Mac, parseMac } from '../mac.ts';
import type { StoreFacts } from '../store/probe.ts';
import type { Place } from './layout.ts';

const MAX_STATE_BYTES = 1024 * 1024;
const MACHINE_ID = '/etc/machine-id';

const stationSchema = z.object({
  name: z.string().regex(/^[A-Za-z0-9_-]{1,63}-[0-9a-f]{12}$/),
  machine: z.string().max(64),
});

const factsSchema = z.object({
  at: z.iso.datetime(),
  conditions: z.enum(['honoured', 'ignored', 'racing', 'refused']),
  multipart: z.boolean(),
  lists: z.boolean(),
  removes: z.boolean(),
});

const uploadSchema = z.object({ key: z.string().max(1024), id: z.string().max(2048), etags: z.string().max(64) });
const doneSchema = z.object({ mac: z.string(), id: z.string().max(64), place: z.enum(['shared', 'station']) });

export type KeptFacts = StoreFacts & { readonly at: string };
export type KeptUpload = z.output<typeof uploadSchema>;

export interface Done {
  readonly mac: Mac;
  readonly id: string;
  readonly place: Place;
}

/** Writes reject with `archive-unwritable`; what cannot be read or understood is as if it were not there. */
export class ReplicationState {
  readonly #root: string;
  readonly #folder: string;

  /** @param store names store and archive, as {@link stateName} does: one folder each */
  constructor(root: string, store: string) {
    this.#root = root;
    this.#folder = join(root, store);
  }

  /**
   * The name that no other station has: host, and random digits. A state that was copied with its machine's disk, but for
   * the machine's own id, gets a new one.
   */
  async station(): Promise<string> {
    const machine = await readFile(MACHINE_ID, 'utf8').then(
      (text) => createHash('sha256').update(`espd station ${text.trim()}`).digest('hex').slice(0, 16),
      () => '',
    );
    const file = join(this.#root, 'station.json');
    const known = await readJson(file, stationSchema);
    if (known !== undefined && known.machine === machine) return known.name;
    const host =
      hostname()
        .replace(/[^A-Za-z0-9_-]/g, '_')
        .slice(0, 40) || 'station';
    const name = `${host}-${randomBytes(6).toString('hex')}`;
    await this.#write(file, JSON.stringify({ name, machine }));
    return name;
  }

  facts(): Promise<KeptFacts | undefined> {
    return readJson(join(this.#folder, 'store.json'), factsSchema);
  }

  keepFacts(facts: KeptFacts): Promise<void> {
    return this.#write(join(this.#folder, 'store.json'), JSON.stringify(facts));
  }

  /** The upload of this object that broke off. */
  upload(key: string): Promise<KeptUpload | undefined> {
    return readJson(this.#uploadFile(key), uploadSchema);
  }

  keepUpload(upload: KeptUpload): Promise<void> {
    return this.#write(this.#uploadFile(upload.key), JSON.stringify(upload));
  }

  async forgetUpload(key: string): Promise<void> {
    await rm(this.#uploadFile(key), { force: true }).catch(() => undefined);
  }

  /** What is safely there, in the order in which it came there. Lines that are cut off count for nothing. */
  async done(): Promise<readonly Done[]> {
    const text = await readFile(join(this.#folder, 'done.jsonl'), 'utf8').catch(() => '');
    return text.split('\n').flatMap((line) => {
      const { mac, ...done } = parsed(line, doneSchema) ?? { mac: '' };
      const board = parseMac(mac);
      return board === undefined || !('id' in done) ? [] : [{ ...done, mac: board }];
    });
  }

  async addDone({ mac, id, place }: Done): Promise<void> {
    await this.#try(async () => {
      await mkdir(this.#folder, { recursive: true, mode: 0o700 });
      const file = await open(join(this.#folder, 'done.jsonl'), 'a', 0o600);
      try {
        // A line that a crash cut off ends here.
        await file.write(`\n${JSON.stringify({ mac, id, place })}\n`);
        await file.sync();
      } finally {
        await file.close();
      }
    });
  }

  #uploadFile(key: string): string {
    return join(this.#folder, `upload-${createHash('sha256').update(key).digest('hex').slice(0, 32)}.json`);
  }

  async #write(file: string, text: string): Promise<void> {
    await this.#try(async () => {
      await mkdir(this.#folder, { recursive: true, mode: 0o700 });
      const partial = `${file}.${process.pid}.partial`;
      await writeFile(partial, text, { mode: 0o600, flush: true });
      await rename(partial, file);
    });
  }

  async #try(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      throw new EspdError('archive-unwritable', `${this.#folder} cannot be written (${systemCode(error)})`, {
        hint: 'What espd knows of the object store is kept there (archive.statePath)',
        cause: error,
      });
    }
  }
}

/** Of a store and an archive: what one has of another is no business of a third. */
export function stateName(...parts: readonly string[]): string {
  return createHash('sha256').update(parts.join('\0')).digest('hex').slice(0, 16);
}

async function readJson<T>(file: string, schema: z.ZodType<T>): Promise<T | undefined> {
  const text = await readFile(file, 'utf8').catch(() => '');
  return text.length > MAX_STATE_BYTES ? undefined : parsed(text, schema);
}

function parsed<T>(text: string, schema: z.ZodType<T>): T | undefined {
  try {
    return schema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
