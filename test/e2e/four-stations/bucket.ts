/** The bucket of the stations as it is, seen past everything that disturbs them. */

import { createHash } from 'node:crypto';
import { parseFolder } from '../../../src/replication/layout.ts';
import type { ObjectStore } from '../../../src/store/types.ts';
import { clientOf } from '../../store/support.ts';

/** Files of a backup by name. */
export type Files = ReadonlyMap<string, Buffer>;

export interface StoredFolder {
  readonly mac: string;
  readonly id: string;
  /** Key behind the prefix, with a slash at its end. */
  readonly folder: string;
  readonly files: Files;
}

export const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

export class DirectBucket {
  readonly #client: ReturnType<typeof clientOf>;
  readonly #prefix: string;

  constructor(endpoint: string, prefix: string) {
    this.#client = clientOf(endpoint);
    this.#prefix = `${prefix}/`;
  }

  get #store(): ObjectStore {
    return this.#client.store;
  }

  async create(): Promise<void> {
    const { status, body } = await this.#client.http.send({ method: 'PUT', key: '', signal: undefined });
    if (status !== 200) throw new Error(`no bucket: ${body.toString()}`);
  }

  close(): void {
    this.#client.close();
  }

  /** All keys behind the prefix. */
  async names(): Promise<string[]> {
    const names: string[] = [];
    for (let from: string | null = null; ;) {
      const page = await this.#store.list({ prefix: this.#prefix, from });
      names.push(...page.objects.map(({ key }) => key.slice(this.#prefix.length)));
      from = page.next;
      if (from === null) return names;
    }
  }

  async read(name: string): Promise<{ readonly bytes: Buffer; readonly etag: string } | undefined> {
    return this.#store.get(this.#prefix + name);
  }

  /** Whether a backup of this name is complete there, in whichever folder. */
  async holds(mac: string, id: string, names?: readonly string[]): Promise<boolean> {
    const of = (name: string) => /^(.*\/)SHA256SUMS$/.exec(name)?.[1] ?? '';
    return (names ?? (await this.names())).some((name) => {
      const folder = parseFolder(of(name));
      return folder?.mac === mac && folder.id === id && !name.startsWith('removals/');
    });
  }

  /** Complete backups with all their bytes, and the names of whatever else lies there. */
  async everything(): Promise<{ readonly folders: readonly StoredFolder[]; readonly others: readonly string[] }> {
    const names = await this.names();
    const folders: StoredFolder[] = [];
    const others = new Set(names);
    for (const name of names) {
      const folder = name.endsWith('/SHA256SUMS') ? name.slice(0, -'SHA256SUMS'.length) : '';
      const parsed = parseFolder(folder);
      if (parsed === undefined) continue;
      const files = new Map<string, Buffer>();
      for (const each of names.filter((other) => other.startsWith(folder))) {
        others.delete(each);
        files.set(each.slice(folder.length), (await this.read(each))?.bytes ?? Buffer.alloc(0));
      }
      folders.push({ mac: parsed.mac, id: parsed.id, folder, files });
    }
    return { folders, others: [...others].sort() };
  }

  /** What the journals say of removals: `MAC ID` each. */
  async removed(): Promise<ReadonlySet<string>> {
    const removed = new Set<string>();
    for (const name of (await this.names()).filter((each) => each.startsWith('journal/'))) {
      for (const line of (await this.read(name))?.bytes.toString().split('\n') ?? []) {
        if (line === '') continue;
        const { kind, mac, id } = JSON.parse(line) as { kind: string; mac?: string; id?: string };
        if (kind === 'removed') removed.add(`${mac ?? ''} ${id ?? ''}`);
      }
    }
    return removed;
  }
}

/** What SHA256SUMS says of the files beside it, as `sha256sum --check` would judge it. */
export function isSound(files: Files): boolean {
  const lines = [...(files.get('SHA256SUMS')?.toString() ?? '').matchAll(/^(\w{64}) {2}(.*)$/gm)];
  return (
    lines.length === 2 && lines.every(([, digest, name]) => sha256(files.get(name ?? '') ?? Buffer.alloc(0)) === digest)
  );
}
