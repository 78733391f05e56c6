/**
 * What is still to be delivered, in a folder: a file each, bounded in number and bytes, there again after a restart.
 * Names sort in the order of the events. Without a folder, or where the disk refuses, it is in memory only.
 */

import { mkdir, readFile, readdir, rename, stat, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Logger } from '../log.ts';

export const MAX_SPOOLED = 1000;
export const MAX_SPOOLED_BYTES = 4 * 1024 * 1024;
const NAME = /^\d{15}-\d{6}\.json$/;
/** The largest event is far below. */
const MAX_FILE_BYTES = 64 * 1024;

const deliverySchema = z.strictObject({
  /** The webhook that it is for: a digest, since its URL may be a secret. */
  webhook: z.string().max(64),
  id: z.string().max(128),
  /** When it happened, ms since 1970. */
  atMs: z.number(),
  path: z.string().max(64),
  query: z.string().max(256),
  headers: z.record(z.string(), z.string()),
  body: z.string(),
});

export type Delivery = z.output<typeof deliverySchema>;

export interface Spooled {
  readonly name: string;
  readonly bytes: number;
  readonly delivery: Delivery;
}

export class Spool {
  readonly #folder: string | null;
  readonly #log: Logger;
  readonly #entries: Spooled[] = [];
  #bytes = 0;
  #count = 0;
  #hasToldFault = false;
  /** File operations, one after another. */
  #disk: Promise<void> = Promise.resolve();

  constructor(folder: string | null, log: Logger) {
    this.#folder = folder;
    this.#log = log;
  }

  /** Oldest first. */
  get entries(): readonly Spooled[] {
    return this.#entries;
  }

  /** What is there from before, in front of what has come meanwhile. Files that are no deliveries are left alone. */
  async load(): Promise<void> {
    const folder = this.#folder;
    if (folder === null) return;
    const names = await readdir(folder).catch(() => []);
    const found: Spooled[] = [];
    for (const name of names
      .filter((each) => NAME.test(each))
      .sort()
      .slice(-MAX_SPOOLED)) {
      const path = join(folder, name);
      try {
        const facts = await stat(path);
        if (!facts.isFile() || facts.size > MAX_FILE_BYTES) continue;
        const json = await readFile(path, 'utf8');
        found.push({ name, bytes: json.length, delivery: deliverySchema.parse(JSON.parse(json)) });
      } catch {
        this.#log.debug('A spooled webhook cannot be read, and is left where it is', { name });
      }
    }
    const own = new Set(this.#entries.map(({ name }) => name));
    const old = found.filter(({ name }) => !own.has(name));
    this.#entries.unshift(...old);
    this.#bytes += old.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** Keeps one more. @returns those that had to make room: the oldest ones */
  add(delivery: Delivery): Spooled[] {
    const json = JSON.stringify(delivery);
    const name = `${String(Math.max(0, Math.trunc(delivery.atMs))).padStart(15, '0')}-${String(this.#count++ % 1e6).padStart(6, '0')}.json`;
    const entry = { name, bytes: json.length, delivery };
    this.#entries.push(entry);
    this.#bytes += entry.bytes;
    this.#enqueue(async (folder) => {
      if (!this.#entries.includes(entry)) return;
      await mkdir(folder, { recursive: true, mode: 0o700 });
      const partial = join(folder, `${name}.partial`);
      await writeFile(partial, json, { mode: 0o600, flush: true });
      await rename(partial, join(folder, name));
    });
    const dropped: Spooled[] = [];
    while (this.#entries.length > MAX_SPOOLED || (this.#bytes > MAX_SPOOLED_BYTES && this.#entries.length > 1)) {
      const [oldest] = this.#entries;
      if (oldest === undefined) break;
      this.remove(oldest);
      dropped.push(oldest);
    }
    return dropped;
  }

  remove(entry: Spooled): void {
    const index = this.#entries.indexOf(entry);
    if (index === -1) return;
    this.#entries.splice(index, 1);
    this.#bytes -= entry.bytes;
    this.#enqueue(async (folder) => {
      await unlink(join(folder, entry.name)).catch(() => undefined);
    });
  }

  /** Everything is on the disk, or has been refused by it. */
  async settled(): Promise<void> {
    await this.#disk;
  }

  #enqueue(work: (folder: string) => Promise<void>): void {
    const folder = this.#folder;
    if (folder === null) return;
    this.#disk = this.#disk
      .then(() => work(folder))
      .catch((error: unknown) => {
        if (this.#hasToldFault) return;
        this.#hasToldFault = true;
        const facts = { folder, reason: String(error) };
        this.#log.warn('Webhooks cannot be kept on the disk: what is not delivered before a restart is lost', facts);
      });
  }
}
