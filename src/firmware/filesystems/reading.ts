/** What the readers of file systems share: collecting files, folders and problems within bounds, whatever is on the flash. */

import { printable } from '../../printable.ts';
import type { FileContent, FileEntry, FileSystemReading } from './filesystem.ts';

/**
 * A partition of 64 MiB holds far fewer files than this unless somebody made it to fill memory: 4096-byte blocks with
 * four files each would be needed.
 */
const MAX_ENTRIES = 65_536;
/** Longer paths are those of folders nested without end; the file systems of boards limit a name to 255 bytes at most. */
const MAX_PATH_LENGTH = 1024;
const MAX_PROBLEMS = 50;
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

interface Kept {
  readonly entry: FileEntry;
  /** Undefined for a folder, and for what has a name that is not unique. */
  readonly read: (() => FileContent) | undefined;
}

/** A content that cannot be had, and why: one sentence fragment. */
export function unreadable(problem: string): FileContent {
  return { bytes: null, problem };
}

/** A name as text: UTF-8 where it is that, else one character a byte, so that different names stay different. */
export function decodeName(bytes: Uint8Array): string {
  try {
    return UTF8.decode(bytes);
  } catch {
    return Buffer.from(bytes).toString('latin1');
  }
}

/** Collects one file system. Every text that goes into a problem is made printable here or by the caller. */
export class ReadingBuilder {
  readonly #kind: FileSystemReading['kind'];
  readonly #kept = new Map<string, Kept>();
  readonly #problems = new Set<string>();
  #moreProblems = 0;

  constructor(kind: FileSystemReading['kind']) {
    this.#kind = kind;
  }

  /** Notes a sentence fragment, once; after 50 only how many more there are. */
  problem(text: string): void {
    if (this.#problems.has(text)) return;
    if (this.#problems.size < MAX_PROBLEMS) this.#problems.add(text);
    else this.#moreProblems++;
  }

  /** Whether no more files and folders are taken, which a reader need not look at then. */
  get isFull(): boolean {
    return this.#kept.size >= MAX_ENTRIES;
  }

  /** Adds a folder; false if it was refused, and then what is in it must not be read. */
  folder(path: string): boolean {
    return this.#add({ path, sizeBytes: 0, isFolder: true }, undefined);
  }

  /** Adds a file, whose content `read` gives when somebody wants it; false if it was refused. */
  file(path: string, sizeBytes: number, read: () => FileContent): boolean {
    return this.#add({ path, sizeBytes, isFolder: false }, read);
  }

  /** The reading; the builder must not be used afterwards. */
  build(): FileSystemReading {
    const kept = this.#kept;
    if (this.#moreProblems > 0) this.#problems.add(`${this.#moreProblems} more problems`);
    return {
      kind: this.#kind,
      entries: [...kept.values()]
        .map(({ entry }) => entry)
        .sort((one, other) => (one.path < other.path ? -1 : one.path > other.path ? 1 : 0)),
      problems: [...this.#problems],
      readFile(path) {
        const found = kept.get(path);
        if (found === undefined) return unreadable('there is no such file');
        if (found.entry.isFolder) return unreadable('it is a folder');
        return found.read?.() ?? unreadable('several files have this name');
      },
    };
  }

  #add(entry: FileEntry, read: Kept['read']): boolean {
    const { path } = entry;
    if (path.length > MAX_PATH_LENGTH) {
      this.problem(`a path is longer than ${MAX_PATH_LENGTH} characters: ${printable(path)}`);
      return false;
    }
    const other = this.#kept.get(path);
    if (other !== undefined) {
      this.problem(`several files or folders are called ${printable(path)}`);
      // Which of them is meant, nobody knows.
      if (!other.entry.isFolder) this.#kept.set(path, { entry: other.entry, read: undefined });
      return false;
    }
    if (this.isFull) {
      this.problem(`there are more than ${MAX_ENTRIES} files and folders; the others are not listed`);
      return false;
    }
    this.#kept.set(path, { entry, read });
    return true;
  }
}
