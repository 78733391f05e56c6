/**
 * What every reader of a file system gives: names, sizes and contents of the files in one partition.
 *
 * The readers are pure functions on bytes that a stranger's board held. They never throw, and time and memory are bounded
 * on every input: damage comes back as problems, beside what could still be read.
 */

/** One file or folder. */
export interface FileEntry {
  /** As stored, with `/` in front and between the parts. Raw: it must pass `printable` before anybody sees it. */
  readonly path: string;
  /** Of the content, in bytes, as the file system states it; 0 for a folder. */
  readonly sizeBytes: number;
  readonly isFolder: boolean;
}

/** A file's whole content, or one sentence fragment that says why it cannot be had. A part of a file is never given. */
export type FileContent =
  { readonly bytes: Uint8Array; readonly problem: null } | { readonly bytes: null; readonly problem: string };

/** One partition as a file system that espd knows. */
export interface FileSystemReading {
  readonly kind: 'spiffs' | 'littlefs' | 'fat';
  /** Sorted by path, by code unit. */
  readonly entries: readonly FileEntry[];
  /**
   * Sentence fragments for a person, already printable. Where there are any, the file system is damaged or of a version
   * that espd cannot read: entries may be missing, and contents may be refused.
   */
  readonly problems: readonly string[];
  /** The content of the file at `path`, spelled as in {@link entries}. Folders and unknown paths are a problem. Never throws. */
  readFile(path: string): FileContent;
}
