/**
 * Files of the person's, outside of the archive: images for other flashers, what is exported, dumps to import. A command
 * reaches them through this one seam, because it may be done by a daemon that has no right to them.
 */

/** What stands at a path. */
export interface FileFacts {
  readonly kind: 'file' | 'folder' | 'pipe' | 'socket' | 'device';
  readonly sizeBytes: number;
  /** Milliseconds since 1970, with the fractions that the file system keeps. */
  readonly modifiedAtMs: number;
}

export interface FolderEntry {
  readonly name: string;
  readonly isFolder: boolean;
}

/** A file open for reading; failures are those of the system, with its code (ENOENT). */
export interface OpenFile {
  stat(): Promise<FileFacts>;
  /** Fewer bytes than asked for only at the end of the file. */
  read(offset: number, length: number): Promise<Buffer>;
  close(): Promise<void>;
}

/** Relative paths are relative to the person's working folder. */
export interface PersonFiles {
  /** To be asked before anything is done for a new file. @throws EspdError `output-exists`, `output-unwritable` */
  checkNewFile(path: string): Promise<void>;
  /**
   * Writes a file that only its owner may read. It has another name until all of it is on the disk, so that no crash
   * leaves a part of an image that looks like one; what fails leaves nothing. Nothing is overwritten.
   *
   * @throws EspdError `output-exists`, `output-unwritable`; what `content` throws
   */
  writeNewFile(path: string, content: AsyncIterable<Uint8Array | string>): Promise<void>;
  /**
   * Opens whatever stands there, without waiting for the writer of a pipe.
   * @throws an error of the system: ELOOP for a link that is not to be followed
   */
  open(path: string, options: { readonly followLinks: boolean }): Promise<OpenFile>;
  /** What is in a folder, in no order. @throws an error of the system: ENOTDIR where it is none */
  list(path: string): Promise<readonly FolderEntry[]>;
}

/** How much of a file is read in one go. */
const CHUNK_BYTES = 256 * 1024;

/** The bytes of a file from its beginning to its end. */
export async function* chunksOf(file: OpenFile, signal?: AbortSignal): AsyncGenerator<Buffer> {
  for (let offset = 0; ;) {
    signal?.throwIfAborted();
    const chunk = await file.read(offset, CHUNK_BYTES);
    if (chunk.length > 0) yield chunk;
    // A short one is the end only where nothing comes behind it: the system may give less than was asked for.
    if (chunk.length === 0) return;
    offset += chunk.length;
  }
}
