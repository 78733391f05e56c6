/**
 * Folders of backups in memory, some 250 bytes each: a bucket may have a hundred thousand. A list tells what is in a folder one
 * after the other, so what is gathered becomes compact with the next folder.
 */

import type { Mac } from '../../mac.ts';
import type { ObjectFacts } from '../../store/types.ts';
import { type FolderName, parseFolder } from '../layout.ts';
import type { StoredCopy, StoredFiles } from './stored-copy.ts';

export class CopyBook {
  readonly #copies = new Map<string, CompactCopy>();
  /** Almost all folders have the same names in them. */
  readonly #names = new Map<string, readonly string[]>();
  #folder = '';
  #files = new Map<string, number>();
  #firstMs: number | undefined;

  /** @param folder one that {@link parseFolder} knows */
  add(folder: string, file: string, { sizeBytes, writtenMs = 0 }: ObjectFacts): void {
    if (folder !== this.#folder) {
      this.#keep();
      // A list that does not come in order names it again.
      const known = this.#copies.get(folder);
      this.#folder = folder;
      this.#files = new Map(known?.files.entries());
      this.#firstMs = known?.firstMs;
    }
    this.#files.set(file, sizeBytes);
    this.#firstMs = Math.min(this.#firstMs ?? writtenMs, writtenMs);
  }

  /** By folder. */
  end(): ReadonlyMap<string, StoredCopy> {
    this.#keep();
    return this.#copies;
  }

  #keep(): void {
    if (this.#files.size === 0) return;
    const key = [...this.#files.keys()].join('/');
    const names = this.#names.get(key) ?? [...this.#files.keys()].map(alone);
    this.#names.set(key, names);
    const folder = alone(this.#folder);
    this.#copies.set(
      folder,
      new CompactCopy(folder, new CompactFiles(names, [...this.#files.values()]), this.#firstMs),
    );
    this.#files = new Map();
  }
}

class CompactCopy implements StoredCopy {
  readonly folder: string;
  readonly files: CompactFiles;
  readonly firstMs: number | undefined;

  constructor(folder: string, files: CompactFiles, firstMs: number | undefined) {
    this.folder = folder;
    this.files = files;
    this.firstMs = firstMs;
  }

  get mac(): Mac {
    return this.#name.mac;
  }

  get id(): string {
    return this.#name.id;
  }

  get #name(): FolderName {
    const name = parseFolder(this.folder);
    if (name === undefined) throw new Error(`${this.folder} is no folder of a backup`);
    return name;
  }
}

class CompactFiles implements StoredFiles {
  readonly #names: readonly string[];
  readonly #sizes: readonly number[];

  constructor(names: readonly string[], sizes: readonly number[]) {
    this.#names = names;
    this.#sizes = sizes;
  }

  has(name: string): boolean {
    return this.#names.includes(name);
  }

  get(name: string): { readonly sizeBytes: number } | undefined {
    const sizeBytes = this.#sizes[this.#names.indexOf(name)];
    return sizeBytes === undefined ? undefined : { sizeBytes };
  }

  keys(): Iterable<string> {
    return this.#names;
  }

  values(): Iterable<{ readonly sizeBytes: number }> {
    return this.#sizes.map((sizeBytes) => ({ sizeBytes }));
  }

  entries(): [string, number][] {
    return this.#names.map((name, index) => [name, this.#sizes[index] ?? 0]);
  }
}

/** A text that does not keep the answer of the store in memory out of which it was cut. */
function alone(text: string): string {
  return Buffer.from(text).toString();
}
