/**
 * What this station knows of a store, in a folder of its state: derived, but for the name of the station. If it is lost,
 * everything is compared with the store again.
 */

import { createHash, randomBytes } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { type Mac, parseMac } from '../mac.ts';
import type { StoreFacts } from '../store/probe.ts';
import type { Place } from './layout.ts';
import { appendLines, parseJson, readJson, replaceFile } from './state-file.ts';

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
  versions: z.literal(true).exactOptional(),
});

const uploadSchema = z.object({ key: z.string().max(1024), id: z.string().max(2048), etags: z.string().max(64) });
const doneSchema = z.object({
  mac: z.string(),
  id: z.string().max(64),
  place: z.enum(['shared', 'station']),
  gone: z.literal(true).exactOptional(),
});

export type KeptFacts = StoreFacts & { readonly at: string };
export type KeptUpload = z.output<typeof uploadSchema>;

export interface Done {
  readonly mac: Mac;
  readonly id: string;
  readonly place: Place;
}

/** A line of what was done. */
export interface DoneLine extends Done {
  /** It was found missing in the store, and may be put there again. */
  readonly isGone: boolean;
}

/** What is there by those lines, by {@link doneName}. */
export function doneOf(lines: readonly DoneLine[]): Map<string, Done> {
  const done = new Map<string, Done>();
  for (const line of lines) {
    if (line.isGone) done.delete(doneName(line));
    else done.set(doneName(line), line);
  }
  return done;
}

export const doneName = ({ mac, id }: Pick<Done, 'mac' | 'id'>) => `${mac} ${id}`;

/** Writes reject with `archive-unwritable`; what cannot be read or understood is as if it were not there. */
export class ReplicationState {
  readonly #root: string;
  readonly #folder: string;

  /** @param store names store and archive, as {@link stateName} does: one folder each */
  constructor(root: string, store: string) {
    this.#root = root;
    this.#folder = join(root, store);
  }

  /** For others that keep what they know of this store. */
  get folder(): string {
    return this.#folder;
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
    await replaceFile(file, JSON.stringify({ name, machine }));
    return name;
  }

  facts(): Promise<KeptFacts | undefined> {
    return readJson(join(this.#folder, 'store.json'), factsSchema);
  }

  keepFacts(facts: KeptFacts): Promise<void> {
    return replaceFile(join(this.#folder, 'store.json'), JSON.stringify(facts));
  }

  /** The store is to be tested again. */
  async forgetFacts(): Promise<void> {
    await rm(join(this.#folder, 'store.json'), { force: true }).catch(() => undefined);
  }

  /** The upload of this object that broke off. */
  upload(key: string): Promise<KeptUpload | undefined> {
    return readJson(this.#uploadFile(key), uploadSchema);
  }

  keepUpload(upload: KeptUpload): Promise<void> {
    return replaceFile(this.#uploadFile(upload.key), JSON.stringify(upload));
  }

  async forgetUpload(key: string): Promise<void> {
    await rm(this.#uploadFile(key), { force: true }).catch(() => undefined);
  }

  /**
   * What came safely there, and what of it was found missing later, in that order: {@link doneOf}. Lines that are cut off
   * count for nothing.
   */
  async done(): Promise<readonly DoneLine[]> {
    const text = await readFile(join(this.#folder, 'done.jsonl'), 'utf8').catch(() => '');
    return text.split('\n').flatMap((line) => {
      const done = parseJson(line, doneSchema);
      const mac = parseMac(done?.mac ?? '');
      if (done === undefined || mac === undefined) return [];
      return [{ mac, id: done.id, place: done.place, isGone: done.gone === true }];
    });
  }

  async addDone({ mac, id, place }: Done): Promise<void> {
    await appendLines(join(this.#folder, 'done.jsonl'), [JSON.stringify({ mac, id, place })]);
  }

  /** They are not there any more, and nobody has said that they should not be. */
  async addGone(gone: readonly Done[]): Promise<void> {
    if (gone.length === 0) return;
    const lines = gone.map(({ mac, id, place }) => JSON.stringify({ mac, id, place, gone: true }));
    await appendLines(join(this.#folder, 'done.jsonl'), lines);
  }

  #uploadFile(key: string): string {
    return join(this.#folder, `upload-${createHash('sha256').update(key).digest('hex').slice(0, 32)}.json`);
  }
}

/** Of a store and an archive: what one has of another is no business of a third. */
export function stateName(...parts: readonly string[]): string {
  return createHash('sha256').update(parts.join('\0')).digest('hex').slice(0, 16);
}
